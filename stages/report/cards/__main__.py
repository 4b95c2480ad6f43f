"""Makes a data card: `python -m stages.report.cards --dataset D` → reports/data/D.md, D.png and D.svg."""

from pathlib import Path

from stages.common.files import write_text
from stages.common.settings import root
from stages.common.stage import begin
from stages.report.cards.card import card, markdown

READS = root("source")


def main():
    given, params = begin(__doc__, READS, "dataset")
    from stages.report.cards.figure import draw  # its libraries take longer to load than the rest

    data_card, folder = card(given.dataset, params.source), Path("reports/data")
    draw(data_card, folder / f"{given.dataset}.png")
    write_text(folder / f"{given.dataset}.md", markdown(data_card))


if __name__ == "__main__":
    main()

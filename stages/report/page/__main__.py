"""Writes the page: `python -m stages.report.page` → reports/index.html.

It shows all of params.yaml, and needs the data cards.
"""

from pathlib import Path

from stages.common.files import write_text
from stages.common.params import read
from stages.common.stage import begin
from stages.report.page.page import render
from stages.report.page.sections import sections
from stages.report.statistics.grid import READS
from stages.report.tables.contents import contents

CARDS = Path("reports/data")


def main():
    _, params = begin(__doc__, READS)
    shown = contents(params)
    write_text("reports/index.html", render(shown, read(), sections(shown), CARDS))


if __name__ == "__main__":
    main()

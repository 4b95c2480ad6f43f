"""Runs one parameter at several values: `python -m ablations horizon 1 3 5 7` → results/ablations/horizon.csv, with its
table and figure.

PARAM is any key of params.yaml, `section.key` included; values are those that `dvc exp run -S` takes. `--set seeds=3`
changes further parameters for all values. After an interruption the same command resumes. With `--from FOLDER` nothing
runs: FOLDER/VALUE holds params.yaml and results/ of a run made elsewhere, and FOLDER/README.md says what they share.
"""

import argparse
from pathlib import Path

from ablations.experiments import run
from ablations.finished import Folder
from ablations.table import frame
from stages.report.figures.ablations import draw
from stages.report.revisions import git
from stages.report.style.words import plural
from stages.report.tables.ablations import Ablation, save, tables
from stages.report.tables.table import markdown, write


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("param")
    parser.add_argument("values", nargs="+")
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", dest="settings")
    parser.add_argument("--from", type=Path, metavar="FOLDER", dest="folder")
    given = parser.parse_args()
    values = list(dict.fromkeys(given.values))
    if given.folder:
        if missing := [value for value in values if not (given.folder / value).is_dir()]:
            parser.error(f"{given.folder} has no folder {', '.join(missing)}")
        finished = [Folder(value, given.folder / value) for value in values]
        origin = f"Runs in {given.folder}"
        others = "whose README says what they share"
    else:
        finished = [experiment for value in values if (experiment := run(given.param, value, given.settings))]
        origin = f"Commit {git('rev-parse', '--short', 'HEAD').strip()}"
        others = f"with {', '.join(given.settings)}" if given.settings else "all other parameters as in params.yaml"
    if not finished:
        raise SystemExit(f"ablation of {given.param}: every value failed")
    rows = frame(finished)
    about = [f"{origin}, {plural(finished[0].params['seeds'], 'seed')}, {others}."]
    if failed := [value for value in values if value not in set(rows["value"])]:
        about.append(f"Left out: {', '.join(failed)}, whose run failed.")
    ablation = Ablation(given.param, about, rows)
    save(ablation)
    for table in tables(ablation):
        write(table, Path("reports/tables"))
        print(markdown(table))
    draw(rows, given.param, Path("reports/figures") / f"{ablation.title}.png")


if __name__ == "__main__":
    main()

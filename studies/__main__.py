"""Draws a study from its results, without training: `python -m studies nine-tasks` → studies/nine-tasks/reports/.

`studies/NAME/params.yaml` is the study's whole grid, `studies/NAME/results/` what has been run of it; tables, figures
and page show the data sets of which all cells are there. With `--run` the cells that are missing are run before, in the
grid's order, data set by data set and method by method; each result is kept as soon as it is there, and nothing that is
there is trained again. For that the project's params.yaml must be the study's.
"""

import argparse
from pathlib import Path

from stages.common.params import read
from studies.draw import draw
from studies.run import run

STUDIES = Path("studies")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(path.parent.name for path in STUDIES.glob("*/params.yaml")))
    parser.add_argument("--run", action="store_true", help="run what is missing first")
    given = parser.parse_args()
    folder = STUDIES / given.name
    params = read(folder / "params.yaml")
    if given.run:
        run(folder, params)
    draw(folder, params)


if __name__ == "__main__":
    main()

"""Draws a study from its results, without training: `python -m studies nine-tasks` → studies/nine-tasks/reports/.

`studies/NAME/params.yaml` is the study's whole grid, `studies/NAME/results/` what has been run of it; tables, figures
and page show that, and say which cells are missing. With `--run` those are run before, in the grid's order, data set by
data set and method by method; each result is kept as soon as it is there, and nothing that is there is trained again.
For that the project's params.yaml must be the study's. Several machines can share a study: each runs some of the data
sets or methods in a clone of its own, and commits what it adds to `studies/NAME/results/`.
"""

import argparse
import shlex
from pathlib import Path

from stages.common.params import read
from studies.draw import draw
from studies.run import run

STUDIES = Path("studies")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(path.parent.name for path in STUDIES.glob("*/params.yaml")))
    parser.add_argument("--run", action="store_true", help="run what is missing first")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="run these alone")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="run these alone")
    parser.add_argument(
        "--cluster", metavar="OPTIONS", help='run on Ray, with these options of python -m cluster: --cluster="--jobs 4"'
    )
    given = parser.parse_args()
    folder = STUDIES / given.name
    params = read(folder / "params.yaml")
    chosen = {}
    for key in ("datasets", "methods"):
        chosen[key] = getattr(given, key) or params[key]
        if unknown := set(chosen[key]) - set(params[key]):
            parser.error(f"not in the study: {', '.join(sorted(unknown))}; choose from {', '.join(params[key])}")
    if given.run:
        run(folder, params, **chosen, cluster=None if given.cluster is None else shlex.split(given.cluster))
    draw(folder, params)


if __name__ == "__main__":
    main()

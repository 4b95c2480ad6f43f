"""One parameter at several values: `python -m ablations horizon 1 3 5 7` → results/ablations/horizon.csv, and what the
report makes of it.

Any key of params.yaml will do, `section.key` included, and any value that `dvc exp run -S` takes. `--set seeds=3`
changes more for all values. The same command goes on after an interruption.
"""

import argparse

from ablations.experiments import git, run
from ablations.table import frame
from stages.report.ablations import Ablation, save, show
from stages.report.table import markdown
from stages.report.words import plural


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("param")
    parser.add_argument("values", nargs="+")
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", dest="settings")
    given = parser.parse_args()
    values = list(dict.fromkeys(given.values))
    found = [experiment for value in values if (experiment := run(given.param, value, given.settings))]
    if not found:
        raise SystemExit(f"ablation of {given.param}: no value came to its end")
    table = frame(found)
    seeds, commit = found[0].params["seeds"], git("rev-parse", "--short", "HEAD").strip()
    about = [
        f"From commit {commit}, {plural(seeds, 'seed')}"
        + (f", with {', '.join(given.settings)}." if given.settings else ", all else as in params.yaml.")
    ]
    if failed := [value for value in values if value not in set(table["value"])]:
        about.append(f"Without {', '.join(failed)}, which failed.")
    ablation = Ablation(given.param, about, table)
    save(ablation)
    print(markdown(show(ablation)), end="")


if __name__ == "__main__":
    main()

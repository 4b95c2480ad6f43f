"""One parameter at several values: `python -m ablations horizon 1 3 5 7` → reports/ablations/horizon.{csv,png,md}.

Any key of params.yaml will do, `section.key` included, and any value that `dvc exp run -S` takes. `--set seeds=3`
changes more for all values. The same command goes on after an interruption.
"""

import argparse

from ablations.experiments import folder, git, run
from ablations.figure import draw
from ablations.table import frame, markdown
from stages.common.files import write_text
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
    table, path = frame(found), folder(given.param)
    seeds, commit = found[0].params["seeds"], git("rev-parse", "--short", "HEAD").strip()
    about = [
        f"From commit {commit}, {plural(seeds, 'seed')}"
        + (f", with {', '.join(given.settings)}." if given.settings else ", all else as in params.yaml.")
    ]
    if failed := [value for value in values if value not in set(table["value"])]:
        about.append(f"Without {', '.join(failed)}, which failed.")
    write_text(f"{path}.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    draw(table, given.param, path.parent / f"{path.name}.png")
    text = markdown(table, given.param, [*about, "", f"![{given.param}]({path.name}.png)"])
    write_text(f"{path}.md", text)
    print(text, end="")


if __name__ == "__main__":
    main()

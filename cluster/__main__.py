"""Runs the pipeline on Ray: `python -m cluster --jobs 4`, or `--address auto` on a running Ray cluster.

It leaves what `dvc repro` leaves. After an interruption the same command goes on.
"""

import argparse
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="stages that are wanted, as dvc repro takes them; default: all")
    parser.add_argument("--jobs", type=int, help="stages at a time; default: as many as the CPUs allow")
    parser.add_argument(
        "--address", help="of a running Ray cluster, or auto; without it Ray starts on this machine alone"
    )
    parser.add_argument("--remote", action="store_true", help="machines share no cache: use DVC's default remote")
    parser.add_argument("--shared", help="folder that all machines see, for checkpoints and timings")
    parser.add_argument("--scratch", help="folder for the clones on each machine; default: .cluster")
    parser.add_argument("--queue", action="store_true", help="run the experiments that dvc exp run --queue collected")
    given = parser.parse_args()
    if given.queue and given.targets:
        parser.error("--queue runs whole experiments, so it takes no targets")
    try:
        from cluster.driver import drive
    except ModuleNotFoundError as error:
        sys.exit(f"cluster: {error.name} is not installed; run: pip install -r requirements-cluster.txt")
    sys.exit(drive(**vars(given)))


if __name__ == "__main__":
    main()

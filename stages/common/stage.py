"""The start of every stage: its command-line arguments and the parameters that it reads."""

import argparse
from argparse import Namespace
from typing import Any

from stages.common.params import Selected, load


def begin(description: str, reads: dict[str, Any], *names: str) -> tuple[Namespace, Selected]:
    """Parses a required `--name` for each of `names`, and loads the parameters in `reads`.

    Arguments:
        description: the module's docstring, shown by `--help`.
        reads: key of params.yaml → its type, see `params.load`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in names:
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args(), load(reads)

"""params.yaml as checked, typed records. Python holds no default: the file is the whole truth of a run.

A stage calls `load(*READS)` and gets those keys alone; `tests/test_pipeline.py` holds each stage's READS to the
`params:` that dvc.yaml declares for it, so no stage can depend on a key that DVC does not watch.
"""

from pathlib import Path
from types import SimpleNamespace

import yaml
from pydantic import ValidationError

from stages.common.algorithm_settings import Section
from stages.common.files import write_text
from stages.common.schema import Params
from stages.common.world_model_settings import shared


class BadParameters(SystemExit):
    """Ends the stage before any work, with one line for each key that is wrong."""


def check(path: Path = Path("params.yaml")) -> Params:
    """All parameters, checked.

    Raises:
        BadParameters: naming the file, the key, the value found and what is allowed.
    """
    try:
        return Params.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise BadParameters(f"{path}: not found; run from the project's root") from None
    except yaml.YAMLError as error:
        raise BadParameters(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"]) or "(the file)"
            found = "" if fault["type"] == "missing" or not fault["loc"] else f" = {fault['input']!r:.80}"
            lines.append(f"{path}: {key}{found}: {fault['msg'].removeprefix('Value error, ')}")
        raise BadParameters("\n".join(lines)) from None


def load(*keys: str) -> SimpleNamespace:
    """The named keys of params.yaml, `section` or `section.key`, and no others; the whole file is checked first.

    With `budget` among them, what the named sections leave to it is filled in; without it, they keep "shared".
    """
    params, seen = check(), SimpleNamespace()
    for key in keys:
        section, _, inner = key.partition(".")
        value = getattr(params, section)
        if "budget" in keys and isinstance(value, Section):
            value = shared(value, params.budget)
        if inner:
            value = SimpleNamespace(**vars(getattr(seen, section, SimpleNamespace())), **{inner: getattr(value, inner)})
        setattr(seen, section, value)
    return seen


if __name__ == "__main__":  # the pipeline's first stage
    check()
    write_text("data/checked", "params.yaml is valid\n")

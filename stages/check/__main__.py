"""The pipeline's first stage: `python -m stages.check` → data/checked and data/settings/<dataset>/<algorithm>.json.

The content of data/checked never changes, so it never causes a stage to run again. A settings file changes only with
the settings of its algorithm on its data set, so an edit elsewhere in params.yaml retrains no policy.
"""

import shutil
from pathlib import Path

from stages.check.algorithms import resolved
from stages.check.schema import Params
from stages.common.files import write_json, write_text
from stages.common.params import read, validate

SETTINGS = Path("data/settings")


def main():
    params = validate(Params, read())
    shutil.rmtree(SETTINGS, ignore_errors=True)  # files of an earlier grid would stay in the output
    for (dataset, algorithm), settings in resolved(params).items():
        write_json(SETTINGS / dataset / f"{algorithm}.json", settings)
    write_text("data/checked", "params.yaml is valid\n")


if __name__ == "__main__":
    main()

"""Ships snapshots of a training as behaviours, from the first to the one that is called medium.

    python -m stages.data.behaviours.select hopper raw/hopper --medium 210000

D4RL's hopper-medium averages 44 on its scale. SAC passes that level for moments before it stays there, so the medium
snapshot is chosen by hand from curve.csv, and what each shipped one scores is measured here and kept in index.json.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from stages.common.files import write_json
from stages.common.rng import numpy_stream
from stages.common.tasks import TASKS
from stages.data.local import BEHAVIOURS, Behaviour, rollouts

REPLAY = 20
STEPS = 20_000


def average_return(environment: str, path: Path) -> float:
    """Mean undiscounted return of the whole episodes in STEPS stochastic steps."""
    rows = list(rollouts(environment, Behaviour(path), STEPS, 1.0, numpy_stream("select", path.stem)))
    ends = [k for k, row in enumerate(rows) if row[4] == 0 or row[5]][:-1]
    rewards = np.cumsum([row[2] for row in rows])
    return float(np.mean(np.diff(rewards[ends], prepend=0)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("raw", type=Path, help="the folder that train.py wrote")
    parser.add_argument("--medium", type=int, required=True, help="training step of the medium snapshot")
    arguments = parser.parse_args()
    task = TASKS[arguments.task]

    every = min(int(path.stem) for path in arguments.raw.glob("*.safetensors"))
    replay = sorted({max(round(arguments.medium * k / REPLAY / every), 1) * every for k in range(1, REPLAY + 1)})
    names = [f"{step}.safetensors" for step in replay]
    folder = BEHAVIOURS / arguments.task
    folder.mkdir(exist_ok=True)
    for name in [*names, "curve.csv"]:
        shutil.copy(arguments.raw / name, folder / name)
    scores = {name: round(float(task.score(average_return(task.environment, folder / name))), 1) for name in names}
    tiers = {"medium": names[-1:], "medium-replay": names}
    write_json(folder / "index.json", {"environment": task.environment, "scores": scores, "tiers": tiers})


if __name__ == "__main__":
    main()

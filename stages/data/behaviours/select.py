"""Chooses which snapshots of a training are shipped as behaviours.

    python -m stages.data.behaviours.select hopper raw/hopper

The medium snapshot is the first whose stochastic rollouts average at least MEDIUM on D4RL's scale, up to the tolerance;
the replay tier is snapshots at equal strides of training up to and with it. Copies them with the training curve and
index.json.
"""

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np

from stages.common.files import write_json
from stages.common.rng import numpy_stream
from stages.common.tasks import TASKS
from stages.data.local import BEHAVIOURS, Behaviour, rollouts

MEDIUM, TOLERANCE = 44.0, 4.0  # D4RL's hopper-medium averages 44.3
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
    arguments = parser.parse_args()
    task, raw = TASKS[arguments.task], arguments.raw

    curve = {int(row["step"]): float(row["return"]) for row in csv.DictReader((raw / "curve.csv").open())}
    promising = [step for step in sorted(curve) if task.score(curve[step]) > MEDIUM - 4 * TOLERANCE]
    for medium in promising:
        score = float(task.score(average_return(task.environment, raw / f"{medium}.safetensors")))
        print(f"step {medium}: {score:.1f}")
        if abs(score - MEDIUM) <= TOLERANCE:
            break
    else:
        raise SystemExit(f"{raw}: no snapshot within {TOLERANCE} of {MEDIUM}")

    every = min(curve)
    replay = sorted({round(medium * k / REPLAY / every) * every for k in range(1, REPLAY + 1)} - {0})
    folder = BEHAVIOURS / arguments.task
    folder.mkdir(exist_ok=True)
    for step in replay:
        shutil.copy(raw / f"{step}.safetensors", folder / f"{step}.safetensors")
    shutil.copy(raw / "curve.csv", folder / "curve.csv")
    tiers = {"medium": [f"{medium}.safetensors"], "medium-replay": [f"{step}.safetensors" for step in replay]}
    write_json(
        folder / "index.json", {"environment": task.environment, "medium_score": round(score, 1), "tiers": tiers}
    )


if __name__ == "__main__":
    main()

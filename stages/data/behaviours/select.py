"""Selects snapshots of a SAC training as behaviour policies, copies them here and measures their scores.

    python -m stages.data.behaviours.select walker2d run0 raw/walker2d --medium 700000 --expert 1600000

The snapshots are chosen by hand from curve.csv. D4RL's medium data have a mean return of 1422 (hopper), 2852 (walker2d)
and 4770 (halfcheetah), and SAC's return jumps beyond these values before it settles there. `medium-replay` gets evenly
spaced snapshots up to the medium one. A tier that the command does not name keeps its snapshots, so the tiers may come
from different runs. Hopper's replay extends to step 210,000, past its medium snapshot: step 210,000 was first chosen as
medium, but its return turned out 23% above D4RL's mean over 100,000 steps.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from stages.common.files import write_json
from stages.common.rng import numpy_stream
from stages.data.local import BEHAVIOURS, Behaviour, rollouts
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.tasks import RETURN_SCALES, gym_mujoco

REPLAY = 20
STEPS = 10_000


def average_return(environment: dict, path: Path) -> float:
    """Mean undiscounted return of the complete episodes within STEPS stochastic steps."""
    rows = list(rollouts(environment, Behaviour(path), STEPS, 1.0, numpy_stream("select", path.stem)))
    ends = [k for k, row in enumerate(rows) if row[4] == 0 or row[5]]
    ends = ends[:-1] or ends
    rewards = np.cumsum([row[2] for row in rows])
    return float(np.mean(np.diff(rewards[ends], prepend=0)))


def evenly(medium: int, every: int) -> list[int]:
    """Training steps of REPLAY evenly spaced snapshots, up to the medium one."""
    return sorted({max(round(medium * k / REPLAY / every), 1) * every for k in range(1, REPLAY + 1)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=RETURN_SCALES)
    parser.add_argument("run", help="name of the training, a folder of the task")
    parser.add_argument("raw", type=Path, help="the folder that train.py wrote")
    parser.add_argument("--medium", type=int, help="training step of the medium snapshot")
    parser.add_argument("--expert", type=int, help="training step of the expert snapshot")
    arguments = parser.parse_args()

    folder = BEHAVIOURS / arguments.task
    (folder / arguments.run).mkdir(parents=True, exist_ok=True)
    shutil.copy(arguments.raw / "curve.csv", folder / arguments.run / "curve.csv")
    every = min(int(path.stem) for path in arguments.raw.glob("*.safetensors"))
    steps = {}
    if arguments.medium:
        steps |= {"medium": [arguments.medium], "medium-replay": evenly(arguments.medium, every)}
    if arguments.expert:
        steps |= {"expert": [arguments.expert]}

    index = folder / "index.json"
    shipped = json.loads(index.read_text()) if index.exists() else {"scores": {}, "tiers": {}}
    for tier, chosen in steps.items():
        shipped["tiers"][tier] = [f"{arguments.run}/{step}.safetensors" for step in chosen]
        for step, name in zip(chosen, shipped["tiers"][tier], strict=True):
            shutil.copy(arguments.raw / f"{step}.safetensors", folder / name)
            average = average_return(ENVIRONMENTS[arguments.task], folder / name)
            shipped["scores"][name] = round(float(gym_mujoco(arguments.task).score(average)), 1)
            print(f"{arguments.task} {tier} {name}: return {average:.0f}, score {shipped['scores'][name]}", flush=True)
    used = {name for names in shipped["tiers"].values() for name in names}
    shipped["scores"] = {name: score for name, score in shipped["scores"].items() if name in used}
    write_json(index, shipped)


if __name__ == "__main__":
    main()

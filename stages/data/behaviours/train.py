"""Trains a SAC agent and saves its actor at regular intervals, from which `select.py` chooses behaviour policies.

    python -m venv .behaviours && .behaviours/bin/pip install -r stages/data/behaviours/requirements.txt
    .behaviours/bin/python stages/data/behaviours/train.py Hopper-v4 --steps 1000000 --out raw/hopper

This script is not part of the pipeline and has its own requirements; the pipeline reads only the selected snapshots.
SAC is sbx's (Stable-Baselines3 in JAX) with its defaults, those of Haarnoja et al. 2018, except for changes that
shorten a run on one CPU core: two hidden layers of 128 units instead of 256 (a snapshot is 80 KB), four parallel
environments with one update for every two of their steps, and a learning rate of 7.3e-4. hopper has two runs: run1 with
--seed 1, and run0 with --environments 1 --interval 1 --updates 1 --learning-rate 3e-4 --every 5000. With
OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0, one core makes about 420 steps/s.
"""

import argparse
import csv
from pathlib import Path

import gymnasium as gym
import numpy as np
from safetensors.numpy import save_file
from sbx import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

LAYERS = ("hidden0", "hidden1", "mean", "log_std")  # Dense_0 … Dense_3 of sbx's actor


def actor_weights(parameters: dict) -> dict[str, np.ndarray]:
    """The actor's layers as `<layer>.weight` (in, out) and `<layer>.bias` (out,)."""
    dense = parameters["params"]
    return {
        f"{layer}.{name}": np.asarray(dense[f"Dense_{i}"][key], dtype=np.float32)
        for i, layer in enumerate(LAYERS)
        for key, name in (("kernel", "weight"), ("bias", "bias"))
    }


class Snapshots(BaseCallback):
    """Saves the actor and a row of the training curve every `every` steps."""

    def __init__(self, folder: Path, every: int):
        super().__init__()
        self.folder, self.every = folder, every
        self.curve = folder / "curve.csv"

    def _on_training_start(self):
        with self.curve.open("w", newline="") as file:
            csv.writer(file).writerow(["step", "episodes", "return", "length"])

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            save_file(
                actor_weights(self.model.policy.actor_state.params), self.folder / f"{self.num_timesteps}.safetensors"
            )
            recent = list(self.model.ep_info_buffer)[-10:]
            row = [
                self.num_timesteps,
                len(recent),
                round(float(np.mean([episode["r"] for episode in recent])), 3),
                round(float(np.mean([episode["l"] for episode in recent])), 1),
            ]
            with self.curve.open("a", newline="") as file:
                csv.writer(file).writerow(row)
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", help="Gymnasium id, e.g. Hopper-v4")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=10_000, help="steps between snapshots")
    parser.add_argument("--environments", type=int, default=4, help="environments in parallel")
    parser.add_argument("--interval", type=int, default=8, help="steps of each environment between updates")
    parser.add_argument("--updates", type=int, default=16, help="gradient updates at a time")
    parser.add_argument("--learning-rate", type=float, default=7.3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the snapshots and curve.csv")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    agent = SAC(
        "MlpPolicy",
        DummyVecEnv([lambda: Monitor(gym.make(arguments.environment))] * arguments.environments),
        learning_starts=10_000,
        learning_rate=arguments.learning_rate,
        train_freq=arguments.interval,
        gradient_steps=arguments.updates,
        policy_kwargs={"net_arch": [128, 128]},
        seed=arguments.seed,
    )
    agent.learn(arguments.steps, callback=Snapshots(arguments.out, arguments.every))


if __name__ == "__main__":
    main()

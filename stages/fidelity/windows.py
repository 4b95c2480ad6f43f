"""Imagined windows beside the simulator's continuation from the same state and actions, as stick figures.

For Hopper, Walker2d and HalfCheetah, which move in a plane: each part of the robot is a capsule, drawn as a thick line.
"""

import mujoco
import numpy as np

from stages.common.transitions import Transitions
from stages.tasks.environments import name_of
from stages.tasks.physics import Physics

PLANAR = ("Hopper", "Walker2d", "HalfCheetah")
COUNT = 500  # windows of which the best, the median and the worst are shown
DIGITS = 3  # of coordinates, in metres


def planar(environment: dict) -> bool:
    return name_of(environment).startswith(PLANAR)


def whole_windows(data: Transitions) -> np.ndarray:
    """(W, H) rows of the windows that have all their steps; without steps in the data, each row is a window."""
    if data.step is None:
        return np.arange(len(data))[:, None]
    horizon = int(data.step.max()) + 1
    starts = np.flatnonzero(data.step[: len(data) - horizon + 1] == 0)
    rows = starts[:, None] + np.arange(horizon)
    return rows[(data.step[rows] == np.arange(horizon)).all(1)]


def continued(physics: Physics, states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps the simulator from states (N, S) with actions (N, H, A).

    Returns:
        its positions (N, H + 1, Q), the root's place along the track included, which begins at 0; and its observations
        (N, H + 1, S).
    """
    env, held = physics.env, physics.env.model.nq - 1
    positions, observed = [], []
    for state, sequence in zip(states.astype(np.float64), actions.astype(np.float64), strict=True):
        mujoco.mj_resetData(env.model, env.data)
        env.set_state(np.concatenate([[0.0], state[:held]]), state[held:])
        path, seen = [env.data.qpos.copy()], [state]
        for action in sequence:
            seen.append(env.step(action)[0].copy())
            path.append(env.data.qpos.copy())
        positions.append(path)
        observed.append(seen)
    return np.array(positions), np.array(observed)


def positions_of(physics: Physics, states: np.ndarray) -> np.ndarray:
    """Positions (H + 1, Q) of a robot that is observed in states (H + 1, S), which do not tell its place on the track.

    The place is the sum of the velocities, averaged over each step's begin and end.
    """
    held = physics.env.model.nq - 1
    velocity = states[:, held].astype(np.float64)
    travelled = np.concatenate([[0.0], np.cumsum((velocity[1:] + velocity[:-1]) / 2) * physics.env.dt])
    return np.concatenate([travelled[:, None], states[:, :held]], axis=1)


def capsules(physics: Physics) -> np.ndarray:
    """The indices of the robot's parts among the simulator's geometries; the floor is none of them."""
    return np.flatnonzero(physics.env.model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE)


def figure(physics: Physics, positions: np.ndarray) -> list[list[float]]:
    """Positions (F, Q) → for each of F frames x and height of both ends of every part, 4 numbers for each part."""
    env, parts, frames = physics.env, capsules(physics), []
    half = env.model.geom_size[parts, 1][:, None]
    for place in positions:
        env.set_state(place, np.zeros(env.model.nv))
        middle, axis = env.data.geom_xpos[parts][:, [0, 2]], env.data.geom_xmat[parts].reshape(-1, 3, 3)[:, [0, 2], 2]
        ends = np.concatenate([middle - half * axis, middle + half * axis], axis=1)
        frames.append((ends.ravel().round(DIGITS) + 0.0).tolist())
    return frames


def imagined(data: Transitions, real: Transitions, physics: Physics, rng: np.random.Generator) -> dict | None:
    """The best, the median and the worst of up to `COUNT` whole windows.

    A window's error is the mean, over steps and dimensions, of the distance between imagined and simulated state, in
    standard deviations of the real data. Windows that start from a clipped velocity are left out.

    Returns:
        {"windows": their number, "seconds": of one step, "radius": of each part in m, "best", "median", "worst": each
        {"error", "imagined", "simulated": from `figure`}}, or None if no window is whole.
    """
    rows = whole_windows(data)
    rows = rows[~physics.cut(data.observations[rows[:, 0]])]
    if not len(rows):
        return None
    rows = rows[np.sort(rng.choice(len(rows), min(COUNT, len(rows)), replace=False))]
    first = data.observations[rows[:, 0]]
    states = np.concatenate([first[:, None], data.next_observations[rows]], axis=1)
    positions, observed = continued(physics, first, data.actions[rows])
    scale = real.observations.std(0).clip(1e-6)
    errors = (np.abs(states - observed) / scale)[:, 1:].mean((1, 2))
    ranked = np.argsort(errors, kind="stable")
    chosen = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
    return {
        "windows": len(rows),
        "seconds": physics.env.dt,
        "radius": physics.env.model.geom_size[capsules(physics), 0].tolist(),
        **{
            name: {
                "error": float(errors[row]),
                "imagined": figure(physics, positions_of(physics, states[row])),
                "simulated": figure(physics, positions[row]),
            }
            for name, row in chosen.items()
        },
    }

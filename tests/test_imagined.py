"""Stick figures of imagined windows: whose parts are where the simulator has them, and what best and worst mean."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from stages.common.rng import numpy_stream
from stages.common.transitions import Transitions
from stages.data.local import collect
from stages.fidelity.windows import capsules, continued, figure, imagined, planar, positions_of, whole_windows
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.physics import Physics

TASKS = ("hopper", "walker2d", "halfcheetah")


@pytest.fixture(scope="module", params=TASKS)
def robot(request) -> tuple[Physics, Transitions]:
    return Physics(ENVIRONMENTS[request.param]), collect(f"{request.param}-medium-replay", 1000, 0.99, 1)


def as_windows(data: Transitions, horizon: int = 4) -> Transitions:
    """The real transitions as windows, without those that cross from one episode to the next."""
    rows = np.arange(0, len(data) - horizon, horizon)[:, None] + np.arange(horizon)
    rows = rows[data.episode[rows[:, 0]] == data.episode[rows[:, -1]]].ravel()
    step = np.tile(np.arange(horizon, dtype=np.int16), len(rows) // horizon)
    names = ("observations", "actions", "rewards", "next_observations", "discounts")
    return Transitions(**{name: getattr(data, name)[rows] for name in names}, step=step)


def test_the_ends_of_all_parts_are_where_the_simulator_has_them(robot):
    physics, _ = robot
    env = physics.env
    place = env.init_qpos + np.linspace(-0.3, 0.3, env.model.nq)
    (drawn,) = figure(physics, place[None])
    env.set_state(place, np.zeros(env.model.nv))
    for part, ends in zip(capsules(physics), np.reshape(drawn, (-1, 2, 2)), strict=True):
        middle, rotation = env.data.geom_xpos[part], env.data.geom_xmat[part].reshape(3, 3)
        assert abs(rotation[1, 2]) < 1e-6  # the axis of every part lies in the plane
        for sign, end in zip((-1, 1), ends, strict=True):
            np.testing.assert_allclose(
                end, (middle + sign * env.model.geom_size[part, 1] * rotation[:, 2])[[0, 2]], atol=6e-4
            )
    assert len(capsules(physics)) == env.model.ngeom - 1  # all but the floor
    assert env.model.geom_type[0] == mujoco.mjtGeom.mjGEOM_PLANE


def test_the_simulator_continues_real_windows_as_they_were_recorded(robot):
    physics, data = robot
    windows = as_windows(data)
    rows = whole_windows(windows)
    rows = rows[[not physics.cut(windows.observations[each]).any() for each in rows]]
    _, observed = continued(physics, windows.observations[rows[:, 0]], windows.actions[rows])
    np.testing.assert_allclose(observed[:, 1:], windows.next_observations[rows], atol=2e-3)


def variation(physics: Physics, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """(H,) total variation of the root's forward velocity in each step, over the simulator's own smaller steps."""
    env, held, changes = physics.env, physics.env.model.nq - 1, []
    mujoco.mj_resetData(env.model, env.data)
    env.set_state(np.concatenate([[0.0], state[:held]]), state[held:])
    for action in actions:
        env.data.ctrl[:] = action
        velocities = [env.data.qvel[0]]
        for _ in range(env.frame_skip):
            mujoco.mj_step(env.model, env.data)
            velocities.append(env.data.qvel[0])
        changes.append(np.abs(np.diff(velocities)).sum())
    return np.array(changes)


def test_the_place_on_the_track_is_the_simulator_s_within_the_error_of_the_trapezoidal_rule(robot):
    """Over a step of length dt that error is at most dt / 2 times the velocity's total variation: at every time t,
    |2 v(t) − v(0) − v(dt)| ≤ |v(t) − v(0)| + |v(dt) − v(t)|. All other positions are observed.
    """
    physics, data = robot
    windows = as_windows(data)
    rows = whole_windows(windows)
    states, actions = windows.observations[rows[:, 0]].astype(np.float64), windows.actions[rows].astype(np.float64)
    positions, observed = continued(physics, states, actions)
    uncut = [row for row, seen in enumerate(observed) if not physics.cut(seen).any()]
    assert len(uncut) > len(rows) / 3
    for row in uncut:
        drawn = positions_of(physics, observed[row])
        np.testing.assert_allclose(drawn[:, 1:], positions[row][:, 1:], atol=1e-12)
        error = np.abs(np.diff(drawn[:, 0] - positions[row][:, 0]))
        assert (error <= physics.env.dt / 2 * variation(physics, states[row], actions[row]) + 1e-9).all()


def test_the_worst_window_is_the_one_that_was_made_wrong_and_the_best_has_no_error(robot):
    physics, data = robot
    windows = as_windows(data)
    rows = whole_windows(windows)
    wrong = next(row for row in rows if not physics.cut(windows.observations[row[:1]]).any())
    states = windows.next_observations.copy()
    states[wrong, 0] += 3 * data.observations[:, 0].std()
    record = imagined(replace(windows, next_observations=states), data, physics, numpy_stream("a"))
    assert record["best"]["error"] < record["median"]["error"] < record["worst"]["error"]
    expected = 3 / data.observations.shape[1]
    assert record["worst"]["error"] == pytest.approx(expected, rel=0.2)
    assert record["median"]["error"] < 0.05
    assert len(record["radius"]) == len(capsules(physics))
    for name in ("best", "median", "worst"):
        for kind in ("imagined", "simulated"):
            assert np.shape(record[name][kind]) == (5, 4 * len(record["radius"]))
        assert record[name]["imagined"][0] == record[name]["simulated"][0]
    moved = np.abs(np.subtract(record["worst"]["imagined"], record["worst"]["simulated"]))
    assert moved[1:].max() > 10 * moved[0].max()
    assert imagined(replace(windows, step=windows.step + 1), data, physics, numpy_stream("a")) is None


def test_windows_that_lack_a_step_are_left_out():
    step = np.array([0, 1, 2, 0, 1, 0, 1, 2, 0], dtype=np.int16)
    columns = [np.zeros((9, size), dtype=np.float32) for size in (2, 1, 1, 2, 1)]
    columns[2], columns[4] = columns[2][:, 0], columns[4][:, 0]
    data = Transitions(*columns, step=step)
    assert whole_windows(data).tolist() == [[0, 1, 2], [5, 6, 7]]
    assert whole_windows(replace(data, step=None)).tolist() == [[row] for row in range(9)]


def test_robots_that_move_in_a_plane_are_known():
    assert all(planar(ENVIRONMENTS[name]) for name in TASKS)
    assert not planar(ENVIRONMENTS["maze2d-umaze"])

"""Where policies are evaluated: for each task an environment, and how its observations become those of the data.

An entry, as `simulator.make` takes it and `data/<dataset>/task.json` keeps it:

    id                 of Gymnasium, with the module that registers it
    max_episode_steps  D4RL's time limit
    kwargs             of the environment
    keys               parts of a Dict observation that are used, in the order of their names
    columns            entries of the flattened observation that are used
    offset             added to these entries
    data_columns       number of leading entries of D4RL's observations that are used; the others are constant

D4RL's own environments need mujoco-py, which is no longer maintained. Hopper, Walker2d, HalfCheetah and Ant are in
Gymnasium; the others have close successors in Gymnasium-Robotics. AntMaze and Maze2D get D4RL's maze and coordinates
here. Their goals count as reached within 0.45, D4RL's within 0.5; Maze2D's goal lies near the middle of its cell,
D4RL's 0.28 beside it. Adroit's rewards have been revised since D4RL. Kitchen's observation is reduced to joints and
objects, without D4RL's constant goal.
"""

import json


def maze(rows: str, scale: float, transposed: bool, origin: float) -> tuple[list, list[float]]:
    """Converts a D4RL maze to Gymnasium-Robotics' form, with the offset from its coordinates to D4RL's.

    D4RL counts cells from a corner, upwards; Gymnasium-Robotics from the middle, with its rows downwards.

    Arguments:
        rows: the maze from D4RL's first row to its last, "#" a wall, "r" a start, "g" the goal, "." free.
        transposed: D4RL's rows lie along x (Maze2D) instead of y (AntMaze).
        origin: D4RL's coordinate of the middle of cell 0, in cells.
    """
    lines = rows.split()
    along_y = list(zip(*lines, strict=True)) if transposed else lines  # its first index is y now, the second x
    cells = [[{"#": 1, ".": 0}.get(cell, cell) for cell in line] for line in reversed(along_y)]
    return cells, [scale * (size / 2 - 0.5 + origin) for size in (len(along_y[0]), len(along_y))]


def ant_maze(rows: str, limit: int) -> dict:
    cells, offset = maze(rows, 4.0, transposed=False, origin=-1)  # the start, in cell (1, 1), is D4RL's (0, 0)
    return {
        "id": "gymnasium_robotics:AntMaze_UMaze-v4",
        "max_episode_steps": limit,
        "kwargs": {"maze_map": cells, "continuing_task": False},
        "keys": ["achieved_goal", "observation"],
        "offset": [*offset, *[0.0] * 27],
    }


def maze_2d(rows: str, limit: int, reward: str) -> dict:
    cells, offset = maze(rows, 1.0, transposed=True, origin=-0.2)
    return {
        "id": "gymnasium_robotics:PointMaze_UMaze-v3",
        "max_episode_steps": limit,
        "kwargs": {"maze_map": cells, "reward_type": reward, "reset_target": False},
        "keys": ["observation"],
        "offset": [*offset, 0.0, 0.0],
    }


def kitchen(*tasks: str) -> dict:
    return {
        "id": "gymnasium_robotics:FrankaKitchen-v1",
        "max_episode_steps": 280,
        "kwargs": {"tasks_to_complete": list(tasks)},
        "keys": ["observation"],
        "columns": [*range(9), *range(18, 39)],
        "data_columns": 30,
    }


MAZES_2D = {  # (rows, time limit)
    "open": ("####### #rrrrr# #rrgrr# #rrrrr# #######", 150),
    "umaze": ("##### #grr# ###r# #rrr# #####", 300),
    "medium": ("######## #rr##rr# #rr#rrr# ##rrr### #rr#rrr# #r#rr#r# #rrr#rg# ########", 600),
    "large": (
        "############ #rrrr#rrrrr# #r##r#r#r#r# #rrrrrr#rrr# #r####r###r# #rr#r#rrrrr# ##r#r#r#r### #rr#rrr#rgr#"
        " ############",
        800,
    ),
}

ENVIRONMENTS = {
    "hopper": {"id": "Hopper-v4"},
    "walker2d": {"id": "Walker2d-v4"},
    "halfcheetah": {"id": "HalfCheetah-v4"},
    "ant": {"id": "Ant-v4", "data_columns": 27},  # D4RL's contact forces are all 0
    "antmaze-umaze": ant_maze("##### #r..# ###.# #g..# #####", 700),
    "antmaze-medium": ant_maze("######## #r.##..# #..#...# ##...### #..#...# #.#..#.# #...#.g# ########", 1000),
    "antmaze-large": ant_maze(
        "############ #r...#.....# #.##.#.#.#.# #......#...# #.####.###.# #..#.#.....# ##.#.#.#.### #..#...#.g.#"
        " ############",
        1000,
    ),
    "pen": {"id": "gymnasium_robotics:AdroitHandPen-v1", "max_episode_steps": 100},
    **{
        task: {"id": f"gymnasium_robotics:AdroitHand{task.title()}-v1", "max_episode_steps": 200}
        for task in ("hammer", "door", "relocate")
    },
    "kitchen-complete": kitchen("microwave", "kettle", "light switch", "slide cabinet"),
    "kitchen-mixed": kitchen("microwave", "kettle", "bottom burner", "light switch"),
    **{f"maze2d-{size}": maze_2d(rows, limit, "sparse") for size, (rows, limit) in MAZES_2D.items()},
    **{f"maze2d-{size}-dense": maze_2d(rows, limit, "dense") for size, (rows, limit) in MAZES_2D.items()},
}


def name_of(environment: dict) -> str:
    """The environment's Gymnasium id, without the module that registers it."""
    name = json.loads(environment["spec"])["id"] if "spec" in environment else environment["id"]
    return name.rpartition(":")[2]


RESETTABLE = ("Hopper", "Walker2d", "HalfCheetah")


def resettable(environment: dict) -> bool:
    """Whether an observation holds all of the simulator's state, except the x position, which changes nothing."""
    return name_of(environment).partition("-")[0] in RESETTABLE

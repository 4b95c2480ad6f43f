"""How long a study takes on two cores, from speeds measured in it and in the default run."""

UPDATES = {"td3bc": 150.0, "iql": 105.0}  # a second, of five seeds with the small preset's networks
SLOW = 80.0  # where nothing was measured
EVALUATION = 7.0  # seconds for a cell
MAKING = {  # seconds for the transitions of one generator, training of its networks included, at 4,000 updates
    **{"dawm": 130.0, "corrected": 20.0, "oracle": 10.0, "synther": 75.0, "dwm": 65.0, "joint": 95.0, "onestep": 135.0},
    **{"gta": 10.0, "reverse": 135.0, "bidirectional": 95.0, "pgd": 10.0},
}


def hours(params: dict, lacking: list[tuple[str, list[str]]]) -> float:
    """Hours for the cells that a study lacks on two cores like those.

    Arguments:
        lacking: (method, algorithms whose cells are missing), for each data set.
    """
    updates, seconds = params["policy"]["steps"] * params["seeds"] / 5, 0.0
    for method, algorithms in lacking:
        seconds += MAKING.get(method, 0.0) * params["generators"] * params["budget"]["steps"] / 4000
        seconds += sum(updates / UPDATES.get(name, SLOW) + EVALUATION for name in algorithms)
    return seconds / 3600

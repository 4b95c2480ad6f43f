"""Tasks and environments: facts about each data set, D4RL's table of files, and the simulator.

Read `tasks.py` first; `environments.py` lists the environments for evaluation, `physics.py` steps from any observation.
"""

"""Control: DAWM's imagined states and inferred actions with the simulator's own next states, rewards and terminals.

It shows what a world model without error would give: if it scores like DAWM, the model's errors are not what limits
DAWM. It needs an environment whose observation contains the simulator's state.
"""

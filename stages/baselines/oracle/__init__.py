"""Control: DAWM's imagined states and inferred actions, but what follows is the simulator's own.

It tells what perfect fidelity would give. Where it scores as DAWM does, DAWM's errors are not what holds it back. Only
for environments whose observation holds the simulator's state.
"""

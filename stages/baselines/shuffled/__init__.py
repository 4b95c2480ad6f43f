"""Control: DAWM's imagined states and rewards, but with the data's actions drawn at random in the place of inferred
ones.

It tells whether the inverse dynamics model matters: where it scores as DAWM does, the actions between imagined states
do not.
"""

"""Control: DAWM's imagined states and rewards with random actions of the data in place of the inferred ones.

It shows whether the inverse dynamics model matters: if it scores like DAWM, the actions between imagined states do not.
"""

"""Forward dynamics learned from the data: (state, action) → (reward, next state, end of the task), by an ensemble.

Read `model.py` first. `onestep.py` adds a behaviour policy to it; `stages/baselines/onestep/` rolls both out, and
`stages/baselines/reverse/` does so backwards in time. `stages/baselines/corrected/` corrects DAWM's windows with it.
"""

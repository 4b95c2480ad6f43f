"""Forward dynamics learned from the data: (state, action) → (reward, next state, end of the task), by an ensemble.

Read `model.py` first. `stages/baselines/onestep/` rolls it out, `stages/baselines/corrected/` corrects DAWM's windows
with it.
"""

"""Shared steps of every synthetic training set: plausibility filter, one-step transitions, joining, cost record.

`bounds.py` decides which values are plausible, `terminals.py` where tasks end. `complete.py` turns windows into
transitions, `generate.py` repeats that until there are enough, `join.py` joins the generators' transitions into one
set, and `cost.py` records what they cost.
"""

"""The hall that every room shares: parameters, tasks, the transition record, random streams, files, progress.

Read `transitions.py` first: it is the contract between rooms. A change here re-runs everything, so it stays small.
"""

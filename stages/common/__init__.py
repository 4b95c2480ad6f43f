"""What every stage shares: parameters, the transition record, random streams, files, checkpoints, progress.

Read `transitions.py` first: it is the contract between stages. A change here re-runs everything, so it stays small.
"""

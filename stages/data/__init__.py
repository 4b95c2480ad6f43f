"""Room 1: recorded data. Out comes `data/<dataset>/real.npz`. Read `local.py` first; one file for each source."""

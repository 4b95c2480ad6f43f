"""Recorded data: writes `data/<dataset>/real.npz`. Read `local.py` first; there is one file for each source."""

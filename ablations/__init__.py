"""Ablations: one parameter at several values, each a DVC experiment; `make ablation PARAM=horizon VALUES="1 3 5 7"`."""

"""Generates DAWM's training set, `data/<dataset>/dawm.npz`: windows of the world model with inferred actions."""

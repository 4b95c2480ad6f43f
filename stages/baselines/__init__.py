"""The shelf of baselines, rows of the results table beside DAWM: a folder each, with its own dvc.yaml, found by its
name.
"""

"""Estimates and their intervals: bootstrap, aggregates over data sets, and the scores of every cell.

`grid.py` reads the collected results, `scores.py` estimates from them. Read `bootstrap.py` first.
"""

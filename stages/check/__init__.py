"""Checks the whole of params.yaml before any work, and resolves each algorithm's settings for each data set.

`schema.py` joins the records of all sections, `consistency.py` rejects contradictory values, `algorithms.py` resolves
the settings.
"""

"""Room 6: the policies in the simulator. `results/<dataset>/<method>-<algorithm>.json` holds every seed's every
episode.
"""

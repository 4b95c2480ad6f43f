"""Evaluates policies in the simulator: `results/<dataset>/<method>-<algorithm>.json` holds each seed's episodes."""

"""Trains policies: one cell is a data set, a method's training set and an algorithm, with all seeds trained together.

Training sets come in; `models/<dataset>/<method>-<algorithm>.safetensors` goes out. Read an algorithm first
(`stages/algorithms/td3bc.py`), then `trainer.py`, which runs it, and `batches.py`, which supplies its data.
"""

"""Room 5: policies. Training sets in, `models/<dataset>/<method>-<algorithm>.safetensors` out, all seeds stacked.

Read an algorithm first (`stages/algorithms/td3bc.py`), then `trainer.py`, which runs it, and `batches.py`, which feeds
it.
"""

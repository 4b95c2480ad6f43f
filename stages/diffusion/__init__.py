"""The parts that all generators share: noise process, samplers, guidance, normalisers and training loop.

Read `process.py` first. `stages/world_model/` and the baselines build their models from these.
"""

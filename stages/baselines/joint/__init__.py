"""DAWM's ablation without an inverse model: one diffusion model imagines states, rewards and actions together.

It is DAWM's world model (`stages/world_model/`) with the actions among the imagined quantities. Network, budget, data,
sampler and target return are DAWM's (the sections `diffusion`, `sampler` and `augment`). As in DAWM the first action is
given; the model's own copy of it is discarded.

No difference from the paper (arXiv 2509.19538) is known; it publishes no settings of its ablation.
"""

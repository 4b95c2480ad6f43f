"""The world model, p(next states, rewards | state, action, return-to-go) over a window of H transitions.

This stage reads real transitions and writes `models/<dataset>/diffusion.safetensors`. Read `model.py` first: it joins a
network (`mlp.py`, `unet.py`) to the noise process, sampler and guidance of `stages/diffusion/`.
"""

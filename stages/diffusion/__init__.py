"""Room 2: the world model, p(next states, rewards | state, action, return-to-go) over a window of H transitions.

Real transitions come in; `models/<dataset>/diffusion.safetensors` goes out. Read `world_model.py` first: it joins a
network (`mlp.py`, `unet.py`) to a noising process (`process.py`), a sampler (`samplers.py`) and guidance
(`guidance.py`).
"""

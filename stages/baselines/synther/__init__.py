"""SynthER (Lu et al. 2023, arXiv 2303.06614): an unconditional diffusion model of single transitions.

A transition is (s, a, r, s', whether the task ends). The generated transitions replace the real data. `model.py` holds
the denoiser, `train.py` and `sample.py` are the two stages.

Differences from the paper: the embedding of the noise level uses fixed octaves instead of random frequencies.
Transitions outside the data's range are dropped and counted, as for every method here. With `terminals: rule` the
environment's own rule overrides the model's terminal output. The small preset has a narrower network, a larger learning
rate, and DPM-Solver++ with few steps instead of 128 stochastic Heun steps; presets/paper.yaml has the paper's values.
"""

"""SynthER (Lu et al. 2023, arXiv 2303.06614): a diffusion model of single transitions (s, a, r, s', whether the task
ends).

It imagines without any condition, and what it imagines takes the place of the real data. `model.py` is the denoiser,
`train.py` and `sample.py` are the two stages.

Differs from the paper in the noise label's embedding, whose frequencies are fixed octaves instead of random ones, and
in that transitions outside the data's bounds are dropped and counted, as for every method here. The small preset has a
narrower network, a larger learning rate and DPM-Solver++ with few steps in the place of 128 stochastic Heun steps;
presets/paper.yaml has the paper's.
"""

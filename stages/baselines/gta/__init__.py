"""GTA (Lee et al. 2024, arXiv 2405.16907): real windows, noised part of the way and denoised towards a larger return.

The model is `joint`'s, which imagines states, rewards and actions together; nothing is trained here. A real window gets
noise of level `gta.noise` and is denoised for `gta.amplification` times its own return-to-go.

Differences from the paper: the first state and action of a window stay as they are, since `joint` is conditioned on
them; the noise level is given as a ratio to the standardised data, and its default is that of half of GTA's 128 steps
(2.4); the environment's rule says where tasks end (GTA copies the ends of the real windows, and its rewards hold -100
where a task ended); half of a batch is real by default, like the other methods'; GTA chose noise and amplification for
each task, here they are the same for all.
"""

"""The ablation that DAWM's paper argues against: one diffusion model over states, rewards and actions, no inverse
model.

It is DAWM's world model with the actions among what it imagines: the same network, steps, data, sampler and
return-to-go (the sections `diffusion`, `sampler` and `augment`), under the same name in `stages/diffusion/`. The first
action is given, as DAWM's is; the window's copy of it is imagined and thrown away.

Differs from the paper in nothing known: it gives no settings of its ablation.
"""

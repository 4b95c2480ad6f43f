"""The shelf of algorithms, the columns of the results table: one file each, found by its name.

A file holds a `Learner(state, action, streams, config, settings, data, device)` with an `actor` (see
`policy/networks.py`) and `update(batch, normals, step) → {loss name: (learners,) tensor}`. Losses are means over the
batch, summed over learners, so that no learner's gradient mixes with another's.
"""

"""The shelf of algorithms, the columns of the results table: one file each, found by its name.

A file holds a `Learner(state, action, streams, settings, device)` that trains all learners of a cell at once:

- `actor`: see `policy/networks.py`; what is kept and evaluated.
- `update(batch, normals, phase) → {name: (learners,) tensor}`: one update, and its losses; "q" is the mean size of Q,
  the targets' or the target network's. It reads nothing that changes from update to update but tensors and `phase`, the
  number of updates before it modulo `period`, so that each phase can be captured as a CUDA graph.
- `period`: after how many updates the kinds of update repeat.
- `compiled`: names of the methods, functions of tensors, that are worth `torch.compile`.
- `next_actions`: true where batches need the action that the data took next.

Losses are means over the batch, summed over learners, so that no learner's gradient mixes with another's. The file may
hold `select(real, settings) → Transitions` as well: the real transitions that it learns from.
"""

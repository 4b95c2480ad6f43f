"""The algorithms, one file each, found by its name; they are the columns of the results table.

A file must hold two classes:

- `Settings(Section)`: the record of its section in params.yaml; `stages/check/algorithms.py` executes this class and
  what it uses without the rest of the file.
- `Learner(state, action, streams, settings, device)`: trains all learners of a cell at once.

It may hold `select(real, settings) → Transitions` as well: the real transitions that it learns from, by default all.

A learner must have:

- `actor`: an `Actor` of `policy/networks.py`; its weights are kept, and evaluated as a deterministic policy.
- `update(batch, normals, phase) → {name: (learners,) tensor}`: makes one update and returns its losses; "q", if there,
  is the mean size of Q, the targets' or the target network's, and shows divergence. `batch` is a `Batch` of
  `policy/batches.py`, `normals` standard normal noise, (learners, batch, A). The update reads nothing that changes from
  update to update but tensors and `phase`, the number of updates before it modulo `period`, so that each phase can be
  captured as a CUDA graph.
- `period`: number of updates after which the schedule repeats.
- `compiled`: names of the methods, functions of tensors, that are worth `torch.compile`.
- `next_actions`: whether batches need the data's next action.

It may have `dropout`, (rate, widths of the hidden layers with dropout). If the rate is above 0, `update` gets a fourth
argument, `dropout_masks`: for each of those layers a (learners, batch, width) bool tensor, true where a unit is kept.

Networks, optimisers and tensors that change must be attributes of the learner, since checkpoints hold those. Losses are
means over the batch, summed over learners, so that no learner's gradient mixes with another's.
"""

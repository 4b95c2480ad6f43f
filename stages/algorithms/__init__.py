"""The algorithms, one file each, found by its name; they are the columns of the results table.

A file must hold two classes:

- `Settings(Section)`: the record of its section in params.yaml; `stages/check/algorithms.py` executes this class and
  what it uses without the rest of the file.
- `Learner(state, action, streams, settings, device)`: trains all learners of a cell at once.

It may hold as well:

- `select(real, settings) → Transitions`: the real transitions that it learns from, by default all.
- `columns(real, settings)`: what batches hold beside the transitions, see `Batches` (`rebrac.py`). If it has
  `constants`, the learner finds them in its attribute `constants`, and its `Policy` in the saved weights.
- `REAL_ONLY`: why it learns from `real` alone, a text of `policy/settings.py`; with other methods its cells are n/a
  (`rsp.py`, `mopo.py`). If its settings have a `horizon`, batches hold windows of so many transitions (`dd.py`).
- `Policy`: how it acts, if not by a deterministic `Actor` of `policy/networks.py`; see `policy/acting.py` (`fql.py`).
  It has `noise` and `passes`: how many random numbers and how many network passes an action takes.

A learner must have:

- `update(batch, noise, phase) → {name: (learners,) tensor}`: makes one update and returns its losses; "q", if there,
  is the mean size of Q, the targets' or the target network's, and shows divergence. `batch` is a `Batch` of
  `policy/batches.py`; `noise` holds the random numbers of this update, name → (learners, batch, width). The update
  reads nothing that changes from update to update but tensors and `phase`, so that each phase can be captured as a CUDA
  graph.
- `phases`: how many kinds of updates there are. They take turns, unless the learner has a method `phase(done)`, which
  says which one follows so many updates.
- `compiled`: names of the methods, functions of tensors, that are worth `torch.compile`.
- `actor`, the network that acts; or `acts`, {name: network}, if there are several. Their weights are kept.

It may have:

- `draws`, {name: `Draw`}: the random numbers that an update takes (`policy/draws.py`); without it `noise` holds
  "normals", (learners, batch, A) standard normals.
- `begin(batches, healthy)`: is called once, before the first update, with the `Batches` and the environment's rule of
  where tasks go on, or None if ends must be learned (`policy/imagination.py`).
- `refreshes(done) → bool` and `refresh(streams)`: what the learner does outside its updates, and before which of them.
  `streams` are new random streams, one for each learner. A refresh runs eagerly, so it may take NumPy and any shapes,
  but must write what updates read into tensors that stay where they are.

Networks, optimisers and tensors that change must be attributes of the learner, since checkpoints hold those. Losses are
means over the batch, summed over learners, so that no learner's gradient mixes with another's.
"""

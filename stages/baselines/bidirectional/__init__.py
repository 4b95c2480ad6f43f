"""Imagination in both directions, after BiTrajDiff (arXiv 2506.05762): the states after real ones, and those before.

One half of the set are DAWM's windows, which begin in real states. The other half end in real states: a second world
model, trained on the episodes turned round, imagines ever earlier states and the rewards between them, and DAWM's
inverse model infers the actions. As DAWM's model is conditioned on the return that follows, this one is on the return
that came before, discounted in the same way, and is asked for the same. Of the windows of each batch the better ones by
the sum of their rewards are kept (`bidirectional.best`), BiTrajDiff's greedy filter.

Differences from BiTrajDiff, whose code and settings are not public: the first action forwards is the real one, as in
DAWM, and so is the first one backwards; rewards are imagined by the world models (BiTrajDiff has a model of rewards);
forward and backward windows need not share a state, since policies learn from single transitions; the suite's
plausibility filter takes the place of its isolation forest. `train.py` trains the backward model, `__main__.py` makes
the set.
"""

"""DAWM corrected by a forward model: its states and inferred actions, with consequences learned from the real data.

DAWM imagines states and infers the actions between them, so an error of either leaves a transition whose next state
does not follow from its action. Here a forward model, (s, a) → (r, s'), trained on the real data alone, replaces next
states and rewards, and ends where they have to be learned. It is the learned twin of the control `oracle`, which asks
the simulator. It is not part of the DAWM paper.

`train.py` trains the forward model, `__main__.py` corrects DAWM's training set. With `corrected.rollout` whole windows
are corrected: each predicted state becomes the state of the next step, while DAWM's actions stay. With `corrected.kept`
the set is filtered; with `corrected.replaced: nothing` that is all that happens to it.
"""

"""One-step dynamics in the manner of MOPO (Yu et al. 2020, arXiv 2005.13239): an ensemble of Gaussian models, each step
fed on the last.

From a real state and the data's action a rollout of `horizon` steps goes on with actions of a behaviour-cloned policy;
at each step one of the ensemble's best members, drawn at random, says what follows. With `onestep.penalty` above 0 the
reward is lowered by that times the largest deviation that any of them admits to. `dynamics.py` has the models,
`train.py` and `rollout.py` are the two stages.

Differs from MOPO in the policy that rolls out, which is the behaviour's, cloned once, instead of the one being learned:
a method is a training set here. Differs from the one-step model in DWM's paper (arXiv 2402.03570), a single network, in
the ensemble.
"""

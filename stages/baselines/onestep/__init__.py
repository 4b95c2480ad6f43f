"""One-step dynamics in the manner of MOPO (Yu et al. 2020, arXiv 2005.13239): rollouts in an ensemble of Gaussian
models.

A rollout starts with a real state and the data's action, and continues for `horizon` steps with actions of a
behaviour-cloned policy. At each step a random elite of the ensemble predicts the reward and the next state from the
last one. `onestep.penalty` times the largest standard deviation among all members, elite or not, is subtracted from the
reward. The models are in `stages/forward_model/onestep.py`; `train.py` and `rollout.py` are the two stages.

With `onestep.advantage_temperature` the behaviour policy is an advantage-weighted clone, after MABE (Cang et al. 2021,
arXiv 2106.09119), whose settings are not public: rows weigh exp(A / temperature), A being the return-to-go less its
mean in similar states. MABE then learns by model-based policy optimisation; here the rollouts are a training set.

Difference from MOPO: the rollout policy is the behaviour policy, cloned once, instead of the policy being learned,
because a method is a training set here. Difference from the one-step model in DWM's paper (arXiv 2402.03570), a single
network: the ensemble.
"""

"""Reverse imagination (ROMI, Wang et al. 2021, arXiv 2110.00188): rollouts backwards in time, which end in real states.

A reverse model of the real data predicts, from a state and the action that led to it, the state before and the reward;
a reverse policy proposes such actions. A rollout starts in a real next state and goes back `horizon` steps, so that
imagined paths lead to where the data are and cannot lead away from them. It is `onestep`'s ensemble, trained on the
transitions turned round; `onestep` itself is the forward control, with equal networks and budget.

Differences from ROMI: the reverse policy is a Gaussian clone (ROMI's is a conditional VAE, or uniform, which
`reverse.policy: uniform` is); half of a batch is real by default, like the other methods' (ROMI: nine tenths);
`augment.starts: return-weighted` weighs the states that rollouts end in, while ROMI weighs the real batches as well;
rollouts are as long as the other methods' (ROMI: 1 or 5 steps, chosen for each task). A rollout stops before an
imagined state in which the task would have ended, since no path leads on from there.
"""

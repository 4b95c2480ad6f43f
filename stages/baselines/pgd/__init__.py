"""Policy-guided diffusion with one refresh, after Jackson et al. 2024 (arXiv 2404.06356).

`joint`'s model, which imagines states, rewards and actions together, learned how the data's policies behave. Here its
sampling is guided towards the actions of a policy that was trained on real data, the cell `real` of the algorithm
`pgd.algorithm`, so that windows come from p(τ) Π π(aₕ | sₕ)^λ with a Gaussian π around the policy's action: near to the
policy, but not far from the data. States and rewards follow, since the model imagines all together. Each window is
guided by the policy of one seed, in turn. Nothing is trained here.

In coordinates of σ the clean estimate of an action, a₀, becomes a₀ + w (π(s₀) - a₀) with w = λ v / (1 + λ v) and
v = σ² / (1 + σ²), which is the exact posterior mean if actions are standard normal and π does not depend on the state.
PGD adds λ ∇ₐ log π to the score instead, times a schedule of its own that keeps it bounded.

Differences from the paper: PGD samples anew every 10,000 updates of the policy, with the policy as it then is; here
it samples once. Windows start with a real state and action and are as long as the other methods' (PGD: 32 steps, all
imagined). The model is conditioned on no return, like PGD's. Guidance of 1 is the density of the definition with π as
wide as the data's actions; the paper's values are not known. Half of a batch is real (PGD: 16 of 256).
"""

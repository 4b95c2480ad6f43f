"""DWM (Ding et al. 2024, arXiv 2402.03570): the world model as value expansion, without any imagined action.

Every state and action of the data starts several imagined futures of H steps; each becomes one transition of n steps,
with the discounted sum of its rewards and the state that it ends in. `value_expansion.py` does that; the README here
says what else differs from the paper, with figures.

Differs from the paper in that the futures are imagined once, before the policies train, instead of anew at each update;
in that the λ-return is met in expectation, by drawing n, instead of in each target; and in the score, which is of one
horizon and target return instead of the best of many.
"""

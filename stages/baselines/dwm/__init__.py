"""DWM (Ding et al. 2024, arXiv 2402.03570): value expansion with DAWM's world model, without imagined actions.

Several futures of H steps are imagined from every real state and action. `value_expansion.py` turns each into one
n-step transition: the discounted sum of its rewards and the state in which it ends. The README in this folder lists all
differences from the paper, with figures.

The main ones: futures are imagined once before policy training, instead of anew at each update. The λ-return holds in
expectation, because n is drawn at random, instead of in each target. The score is of one horizon and one target return,
instead of the best of many.
"""

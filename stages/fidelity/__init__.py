"""Accuracy of a method's synthetic transitions, measured with the simulator, the inverse model and the real data.

In: any `data/<dataset>/<method>.npz`; the real data themselves give the floor. Out:
`results/<dataset>/fidelity-<method>.json`. `python -m stages.fidelity.steering` measures whether DAWM's world model
follows the return-to-go that it is conditioned on. Read `errors.py` first.
"""

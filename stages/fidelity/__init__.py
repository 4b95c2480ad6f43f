"""Room 7: is what a method made true? Synthetic transitions against the simulator, the inverse model and the real data.

Any `data/<dataset>/<method>.npz` comes in, the real data's too, which gives the floor; `results/<dataset>/fidelity-
<method>.json` goes out. `python -m stages.fidelity.steering` asks DAWM's world model for more and less return, and sees
what it gets. Read `physics.py` first.
"""

"""The benchmark's phases, one folder each; `dvc.yaml` says how they follow one another."""

import os

# Before torch is loaded: its threads wait for each other by spinning, and where another program wants the same cores,
# long spins slow it many times over (measured on two cores with one busy: an update took 144 ms, with this 15 ms;
# undisturbed 7 and 9).
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

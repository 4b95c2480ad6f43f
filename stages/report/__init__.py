"""The report, which turns every episode's score into tables, figures and one page.

In: `results/<dataset>/*.json`, gathered by `collect.py`, and `results/ablations/`. Out: `scores.csv`, `curves.csv` and
`summary.json` in `results/`; tables, figures, data cards and `index.html` in `reports/`. `compare.py` compares two
runs.
"""

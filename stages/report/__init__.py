"""Room 8: from every episode's score to tables, figures and one page to show.

In: `results/<dataset>/*.json`, gathered by `collect.py`, and the whole of params.yaml. Out: `scores.csv`, `curves.csv`
and `summary.json` in `results/`; tables, figures and `index.html` in `reports/`. Read `statistics.py` first, then
`scores.py`. `published_scores.csv` holds others' numbers, shown beside those measured on D4RL's own files.
"""

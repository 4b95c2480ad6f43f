"""Room 8: from every episode's score to tables, figures and one page to show.

In: `results/<dataset>/*.json`, gathered by `collect.py`, `results/ablations/`, and the whole of params.yaml. Out:
`scores.csv`, `curves.csv` and `summary.json` in `results/`; tables, figures and `index.html` in `reports/`.

Numbers: `statistics.py` and `aggregates.py`, then `scores.py`. Tables: `table.py` is their form, `tables.py`,
`aggregate_tables.py`, `costs.py`, `fidelity.py`, `published.py` and `ablations.py` make them. Figures: `style.py`, then
`*figures.py`. The page: `sections.py` is its order, `panels.py` what its charts show and `charts.py` how,
`provenance.py` where its numbers are from. `published_scores.csv` holds others' numbers, shown beside those measured on
D4RL's own files. `compare.py` sets two runs side by side.
"""

"""The report's page, reports/index.html.

`sections.py` sets the order; `overview.py`, `panels.py` and `ablations.py` what its charts show, `charts.py` and
`vega.py` how; `provenance.py` where its numbers come from; `page.css`, `page.js` and `page.html.jinja` are its look.
"""

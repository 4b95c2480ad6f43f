"""The report's page, reports/index.html.

`sections.py` sets the order, `panels.py` what its charts show and `charts.py` how, `provenance.py` where its numbers
come from; `page.css`, `page.js` and `page.html.jinja` are its look.
"""

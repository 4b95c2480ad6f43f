"""Grids too long for one sitting, with their results; `python -m studies NAME` draws one, `--run` continues it."""

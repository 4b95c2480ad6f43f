"""The report's tables: `table.py` is their format, `contents.py` computes all of them, other files make one each."""

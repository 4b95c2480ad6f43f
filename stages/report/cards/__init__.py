"""The data card of each data set: what was recorded, as text and figure."""

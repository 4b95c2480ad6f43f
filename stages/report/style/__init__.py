"""Words, numbers, colours and the look of figures, everywhere in the report."""

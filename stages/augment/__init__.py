"""Room 4: DAWM's training set. Imagined windows and inferred actions in, `data/<dataset>/dawm.npz` out."""

"""The baselines: methods compared with DAWM, each a folder with its own dvc.yaml, named after its method."""

"""The same pipeline on many cores and machines: DVC says what a stage is, Ray where and when it runs.

`graph.py` reads the stages that a grid needs, `order.py` says which goes next, `worker.py` runs one in a clone, and
`driver.py` hands them to Ray and restores the results in the workspace.
"""

"""The same pipeline on many cores and machines: DVC says what a stage is, Ray where and when it runs.

`graph.py` reads the stages that a grid needs, `grid.py` what each is made from, `order.py` says which goes next,
`schedule.py` hands it to Ray, `worker.py` runs it in a clone, and `driver.py` restores the results in the workspace.
"""

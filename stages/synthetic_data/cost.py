"""Cost record of a training set: the models, parameters and network evaluations behind it, stored in the set."""

import json

import numpy as np

from stages.common.timing import digest


def parameter_count(*modules) -> int:
    """The number of trainable parameters, total over the given modules."""
    return sum(weight.numel() for module in modules for weight in module.parameters())


def cost_record(trained: list[str], parameters: int, evaluations: float, counts: dict) -> np.ndarray:
    """The cost record for `Transitions.cost`: () str array, JSON of the arguments.

    Arguments:
        trained: paths of the models that generated the transitions. The record holds their md5, with which
            `timing.seconds` looks up their training time.
        parameters: trainable parameters of one generator's networks.
        evaluations: average number of network evaluations for one transition; a batch counts once for each row.
        counts: transitions kept and dropped.
    """
    record = {
        "trained": [digest(path) for path in trained],
        "source": None,
        "parameters": parameters,
        "evaluations": round(evaluations, 3),
        "counts": counts,
    }
    return np.array(json.dumps(record))


def derived_cost_record(path: str, cost: np.ndarray) -> np.ndarray:
    """The cost record of a set that was derived from another synthetic set without a network of its own.

    Arguments:
        path: the other set's file, whose md5 becomes the source.
        cost: the other set's cost record.
    """
    return np.array(json.dumps({**json.loads(str(cost)), "source": digest(path)}))

"""Cost record of a training set: the models, parameters and network evaluations behind it, stored in the set."""

import json
from collections.abc import Sequence

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


def derived_cost_record(
    path: str, cost: np.ndarray, trained: Sequence[str] = (), parameters: int = 0, evaluations: float = 0.0, counts=None
) -> np.ndarray:
    """The cost record of a set that was derived from another synthetic set.

    Arguments:
        path: the other set's file, whose md5 becomes the source.
        cost: the other set's cost record.
        trained, parameters, evaluations: as in `cost_record`, of further networks; they are added to the other set's.
        counts: of the derived set, if it does not have all rows of the other.
    """
    record = json.loads(str(cost))
    record["source"] = digest(path)
    record["trained"] += [digest(path) for path in trained]
    record["parameters"] += parameters
    record["evaluations"] = round(record["evaluations"] + evaluations, 3)
    record["counts"] = counts or record["counts"]
    return np.array(json.dumps(record))

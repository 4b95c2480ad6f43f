"""Rejects values that are individually valid but inconsistent with each other or this machine."""

import os
import shutil
import sys

from stages.check.algorithms import real_only, resolved
from stages.tasks.environments import resettable
from stages.tasks.tasks import environment_of


def sampler_steps(params):
    levels, steps = params.diffusion.ddpm.levels, params.sampler.steps
    if params.diffusion.process == "ddpm" and steps > levels:
        raise ValueError(f"sampler.steps = {steps} exceeds diffusion.ddpm.levels = {levels}")


def churn_levels(params):
    for key, sampler in (("sampler", params.sampler), ("synther.sampler", params.synther.sampler)):
        if sampler.churn.low > sampler.churn.high:
            raise ValueError(
                f"{key}.churn.low = {sampler.churn.low:g} exceeds {key}.churn.high = {sampler.churn.high:g}"
            )


def lambda_returns(params):
    """DWM makes transitions for the λ in `dwm.lambda_returns` only; each algorithm's `lambda_return` must be there."""
    available = params.dwm.lambda_returns
    for (dataset, algorithm), settings in resolved(params).items() if "dwm" in params.methods else ():
        if settings["lambda_return"] not in available and not real_only(algorithm):
            raise ValueError(
                f"lambda_return = {settings['lambda_return']:g} of {algorithm} on {dataset}"
                f" is not among dwm.lambda_returns = {available}"
            )


def real_data(params):
    """Some algorithms learn from the real data alone: a grid needs those, or an algorithm that takes any data."""
    if "real" not in params.methods and all(map(real_only, params.algorithms)):
        raise ValueError(
            f"methods = {params.methods}: algorithms = {params.algorithms} learn from real data alone, so no cell is"
            " applicable; add real to methods"
        )


def guiding_policy(params):
    """`pgd` is guided by a policy of the same grid."""
    algorithm = params.pgd.algorithm
    if "pgd" in params.methods and not ("real" in params.methods and algorithm in params.algorithms):
        raise ValueError(f"methods: pgd is guided by the policy of {algorithm} on real data; add both to the grid")
    if "pgd" in params.methods and real_only(algorithm):
        raise ValueError(f"pgd.algorithm = {algorithm!r} does not learn from single transitions, which it would guide")


def oracle_environments(params):
    """The control `oracle` steps the simulator from observations, so they must hold the simulator's full state."""
    for dataset in params.datasets if "oracle" in params.methods else ():
        environment = environment_of(dataset, params.source)  # None for Minari: known only after reading
        if environment is not None and not resettable(environment):
            raise ValueError(
                f"methods: oracle cannot run on {dataset}, whose observations do not hold the simulator's full state"
            )


def device_exists(params):
    if params.device == "cuda":
        import torch  # slow to import, and nothing else here needs it

        if not torch.cuda.is_available():
            raise ValueError("device = 'cuda': no CUDA device here; allowed: auto, cpu")


def compiled(settings: dict, prefix: str = ""):
    """Yields the keys `compile` that are true, those of inner sections included."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from compiled(value, f"{prefix}{name}.")
        elif name == "compile" and value is True:
            yield f"{prefix}{name}"


def compiler_exists(params):
    """On a CPU `torch.compile` needs a C++ compiler; torch looks for the one named here."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    key = next(compiled(params.model_dump()), None)
    if key and params.device != "cuda" and not shutil.which(compiler):
        import torch

        if params.device == "cpu" or not torch.cuda.is_available():
            raise ValueError(f"{key} = true: needs a C++ compiler, and {compiler} is not here; allowed: auto, false")


def fidelity_neighbours(params):
    """Neighbours are sought among `fidelity.transitions` sampled rows, at most, and among parts of the real data."""
    neighbours, sample = params.fidelity.neighbours, params.fidelity.transitions
    if neighbours > sample:
        raise ValueError(f"fidelity.neighbours = {neighbours} exceeds fidelity.transitions = {sample}")
    for dataset in params.datasets if params.source == "local" else ():
        if neighbours > (rows := params.local.count(dataset)) / 4:
            raise ValueError(
                f"fidelity.neighbours = {neighbours} exceeds a quarter of {dataset}'s {rows} (local.transitions)"
            )


def check(params):
    """Raises ValueError for the first contradiction, naming the keys."""
    for rule in (
        sampler_steps,
        churn_levels,
        lambda_returns,
        guiding_policy,
        real_data,
        oracle_environments,
        fidelity_neighbours,
        device_exists,
        compiler_exists,
    ):
        rule(params)

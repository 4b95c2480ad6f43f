"""Records of the section `policy` of params.yaml, which holds settings of every algorithm.

Each algorithm's file adds its own record `Settings`. `stages/check` merges both with the exceptions for each data set
and writes the result to data/settings/<dataset>/<algorithm>.json, which training reads.
"""

from typing import Literal

from stages.common.settings import Fraction, NonNegative, Positive, Probability, Rate, Section, Widths


class Learning(Section):
    """Settings that an algorithm's own section may override."""

    hidden: Widths
    batch: Positive
    learning_rate: Rate
    normalize_states: bool
    reward_scale: Rate | Literal["returns"]
    reward_shift: float
    lambda_return: Fraction


class Policy(Learning):
    """The section `policy`: `Learning`, and settings that are the same for every algorithm."""

    steps: Positive
    snapshot_every: Positive
    compile: Literal["auto"] | bool
    max_q: Rate


class Levels(Section):
    """EDM's noise levels (Karras et al. 2022, arXiv 2206.00364), of an algorithm whose policy is a diffusion model."""

    sigma_min: Rate
    sigma_max: Rate
    sigma_data: Rate
    rho: Rate


class Planner(Levels):
    """What all planners have, see `stages/policy/planning.py`.

    Attributes:
        horizon: transitions in a plan; execute: how many of a plan's actions are taken before the next plan.
        width, blocks: of the residual networks.
        log_mean, log_std: of the noise levels in training.
        ema: of the diffusion models' weights.
        discount: of the returns that plans aim at; the learners' own TD targets have none.
        sampler_steps: noise levels at which a plan is denoised; temperature: scale of the noise that it begins with.
        first_weight: of a window's first step in the loss.
    """

    horizon: Positive
    execute: Positive
    width: Positive
    blocks: Positive
    log_mean: float
    log_std: Rate
    ema: Probability
    discount: Fraction
    sampler_steps: Positive
    temperature: NonNegative
    first_weight: NonNegative

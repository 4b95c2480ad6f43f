"""Records of the section `policy` of params.yaml, which holds settings of every algorithm.

Each algorithm's file adds its own record `Settings`. `stages/check` merges both with the exceptions for each data set
and writes the result to data/settings/<dataset>/<algorithm>.json, which training reads.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.common.settings import Fraction, NonNegative, Positive, Probability, Rate, Section, Widths

# Why an algorithm learns from the real data alone: its `REAL_ONLY`, see `stages/algorithms/__init__.py`.
WHOLE_EPISODES = "the algorithm learns from whole episodes, which synthetic transitions do not form"
OWN_TRANSITIONS = "the algorithm imagines its own transitions, in a model of the real data"


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


class ModelBased(Section):
    """What algorithms with a model of their own have, see `stages/policy/imagination.py`.

    Attributes:
        members, elites: how many one-step models each learner has, and how many of them count.
        model_hidden, model_learning_rate, weight_decay: of these models.
        model_share: of `policy.steps`, which trains the models; the rest trains the policy.
        held_out: share of episodes that select the elites.
        rollouts, rollout_length: start states of a refresh, and steps from each.
        rollout_every: updates of the policy between two refreshes; kept_refreshes: how many of them the buffer holds.
        real_fraction: of the policy's batches.
        actor_learning_rate: of the actor; `learning_rate` is the critics'.
        entropy_weight: fixed, or adapted to a target entropy from 1 on, with `entropy_learning_rate`.
        soft_target: whether the critics' target includes the entropy.
    """

    members: Positive
    elites: Positive
    model_hidden: Widths
    model_learning_rate: Rate
    weight_decay: NonNegative
    model_share: Annotated[Fraction, Field(gt=0, lt=1)]
    held_out: Annotated[float, Field(gt=0, lt=1)]
    rollouts: Positive
    rollout_length: Positive
    rollout_every: Positive
    kept_refreshes: Positive
    real_fraction: Fraction
    penalty: NonNegative
    actor_learning_rate: Rate
    entropy_learning_rate: Rate
    entropy_weight: Literal["auto"] | Rate
    soft_target: bool
    tau: Fraction

    @model_validator(mode="after")
    def elites_within_members(self):
        if self.elites > self.members:
            raise ValueError(f"elites = {self.elites} exceeds members = {self.members}")
        return self

"""Records of the section `policy` of params.yaml, which holds settings of every algorithm.

Each algorithm's file adds its own record `Settings`. `stages/check` merges both with the exceptions for each data set
and writes the result to data/settings/<dataset>/<algorithm>.json, which training reads.
"""

from typing import Literal

from stages.common.settings import Fraction, Positive, Rate, Section, Widths


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

"""Record of the section `evaluate` of params.yaml."""

from stages.common.settings import Count, Positive, Section


class Evaluate(Section):
    """Numbers of episodes: of each seed's last snapshot, and of each earlier one for the learning curve."""

    episodes: Positive
    curve_episodes: Count

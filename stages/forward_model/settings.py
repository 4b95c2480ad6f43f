"""Settings of a forward model and its training."""

from stages.common.settings import NonNegative, Positive, Widths
from stages.diffusion.settings import Trained


class Ensemble(Trained):
    """Size of the ensemble, and how it is trained."""

    members: Positive
    hidden: Widths
    weight_decay: NonNegative

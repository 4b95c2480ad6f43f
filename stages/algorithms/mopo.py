"""MOPO (Yu et al. 2020, arXiv 2005.13239): SAC in a learned model, with rewards reduced by the model's uncertainty."""

from stages.policy.imagination import HeldOut, Imagining
from stages.policy.settings import OWN_TRANSITIONS, ModelBased

REAL_ONLY = OWN_TRANSITIONS
columns = HeldOut


class Settings(ModelBased):
    """The settings that the section `mopo` of params.yaml adds to those of `policy`."""


class Learner(Imagining):
    """Ensembles, then SAC on real and imagined transitions. An imagined step has the reward

        r̃(s, a) = r̂(s, a) - λ u(s, a),  u = max over members i of ‖σ_i(s, a)‖        section 4.3 of the paper

    with r̂ and s' drawn from a random elite, σ_i the standard deviations of reward and state in the data's units, and λ
    = `penalty`. For the ensemble's loss see `Ensemble.losses`, for SAC's `Sac`, for the rollouts `Imagining`.

    Follows the authors' code and OfflineRL-Kit, whose settings for D4RL's version 2 are the paper preset's, with these
    differences: the models' targets are normalised; one weight decay for all layers, where OfflineRL-Kit's rises from
    2.5e-5 to 1e-4; elites are selected on whole episodes, and a share of `policy.steps` trains the models, where they
    train until the held-out error stays; the actor's cosine advances at every update, theirs every 1,000.
    """

    def __init__(self, state: int, action: int, streams, settings, device):
        super().__init__(state, action, streams, settings, device)
        self.penalty = settings.penalty

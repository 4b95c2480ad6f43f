"""Samples GTA's training set: `python -m stages.baselines.gta --dataset D` → data/D/gta.npz."""

import torch

from stages.baselines.gta.settings import Settings
from stages.common.progress import progress
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.settings import Sampler
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, real_share, total
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import ended, rule_of
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model.model import WorldModel
from stages.world_model.windows import Windows

READS = root("discount", "real_fraction", "terminals", "device", "threads") | budget("transitions")
READS |= {"sampler": Sampler, "augment": Augment, "gta": Settings}


def amplified(returns: torch.Tensor, factor: float) -> torch.Tensor:
    """Returns-to-go `factor` times as good: R · factor, or R · (2 - factor) where R is negative."""
    return returns * torch.where(returns >= 0, factor, 2 - factor)


def levels(model: WorldModel, sampler, noise: float) -> int:
    """The number of noise levels at which a window is denoised: `noise` and the sampler's below it."""
    return int((model.process.sigmas(sampler.steps) < noise).sum())  # their last, 0, counts in place of `noise`


def window_sampler(data: Transitions, task: Task, model: WorldModel, params, stream: torch.Generator):
    """The `sample_windows` function of `generate`: rows of the data → windows made from the real ones.

    A window that its episode's end would cut short begins earlier, where the episode is long enough; steps that then
    are still beyond the end have no finite reward, so that the filter drops them.

    Arguments:
        params: has `discount`, `terminals`, `sampler` and `gta`.
    """
    horizon, terminal = model.sizes["horizon"], model.sizes["terminal"]
    windows = Windows(data, horizon, params.discount, task.return_scale, terminal, stream.device, joint=True)
    healthy = rule_of(task, params.terminals)
    episode = torch.from_numpy(data.episode).to(stream.device)

    def sample_windows(starts):
        earlier = (starts - (horizon - windows.left[starts]).clamp(min=0)).clamp(min=0)
        starts = torch.where(episode[earlier] == episode[starts], earlier, starts)
        steps, exists = windows(starts)
        states, actions = windows.states[starts], windows.actions[starts]
        returns = amplified(windows.returns[starts], params.gta.amplification)
        made = model.sample(states, actions, returns, params.sampler, stream, (steps, params.gta.noise))
        path = torch.cat([states[:, None], made.states], dim=1).cpu().numpy()
        actions = torch.cat([actions[:, None], made.actions[:, 1:]], dim=1).cpu().numpy()
        learned = None if made.terminals is None else made.terminals.cpu().numpy()
        rewards = made.rewards.where(exists, torch.nan).cpu().numpy()
        return path, actions, rewards, ended(path[:, 1:], healthy, learned)

    return sample_windows


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/gta.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained, sampled = f"models/{dataset}/joint.safetensors", []
        models = world_model.load(trained, device)
        for k, model in enumerate(progress(models, f"gta {dataset}", unit="generator")):
            stream = torch_stream("gta", dataset, k, "windows", device=device)
            sample_windows = window_sampler(data, task, model, params, stream)
            sampled.append(generate(data, sample_windows, params, f"gta {dataset} generator {k}", stream))
        parts, counts = zip(*sampled, strict=True)
        summed = total(counts)
        steps = levels(models[0], params.sampler, params.gta.noise)
        passes = summed["windows"] * evaluations(params.sampler.model_copy(update={"steps": steps})) / summed["kept"]
        cost = cost_record([trained], parameter_count(models[0].network), passes, summed)
        joined(parts, real_share(params.gta.real_fraction, params), cost).save(f"data/{dataset}/gta.npz")


if __name__ == "__main__":
    main()

"""Testing a network on fresh episodes of a task, with its plasticity and without."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_at_least
from plastic_rl.modules.ablation import ablated, ablations_of
from plastic_rl.seeds import FRESH
from plastic_rl.tasks import Task
from plastic_rl.text import table

Results = dict[tuple[str, str], dict[str, float]]  # by ablation and part of the data, "" where there is none
PARTS = {
    "": "", "train": " on training data", "heldout": " on held-out data", "within_alphabet": " within one alphabet",
}  # fmt: skip
SHARES = ("wrong", "accuracy")  # measures that begin so are printed in percent


@contextmanager
def testing(network: nn.Module) -> Iterator[None]:
    """Put a network into ``eval`` mode without gradients, and afterwards back as it was."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def measure(
    task: Task, network: nn.Module, episodes: int, seed: int, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Test a network on episodes, without gradients.

    Args:
        task: draws the episodes and scores the answers.
        network: from ``task.network``, or any that ``task.run`` can drive.
        episodes: their number.
        seed: of the episodes.
        batch_size: episodes that are tested together; None: as many as the task says.

    Returns:
        ``(episodes,)`` values of each metric, by name, and of ``loss``, which is the mean of those tested together.

    Raises:
        ValueError: episodes is below 1, or a metric is not one value for each episode.
    """
    check_at_least("episodes", episodes, 1)
    batch_size = batch_size or task.tested_together
    generator = torch.Generator(next(network.parameters()).device).manual_seed(seed)
    values: dict[str, list[Tensor]] = {}
    with testing(network):
        for first in range(0, episodes, batch_size):
            count = min(batch_size, episodes - first)
            batch = task.sample(count, generator)
            prediction = task.run(network, batch)
            found = {"loss": task.loss(prediction, batch).expand(count), **task.metrics(prediction, batch)}
            for name, value in found.items():
                if value.shape != (count,):
                    raise ValueError(f"the task's metric {name} has shape {tuple(value.shape)}: expected ({count},)")
                values.setdefault(name, []).append(value.float().cpu())
    return {name: torch.cat(parts) for name, parts in values.items()}


def assess(task: Task, network: nn.Module, episodes: int, seed: int, batch_size: int | None = None) -> dict[str, float]:
    """Test a network as ``measure`` does; return the mean loss and what the task's ``digest`` makes of the metrics."""
    values = measure(task, network, episodes, seed, batch_size)
    return {"loss": values.pop("loss").double().mean().item(), **task.digest(values)}


def assess_parts(task: Task, network: nn.Module, episodes: int, seed: int, ablation: str = "") -> Results:
    """Test a network on fresh episodes of every part of the task's data; ``ablation`` only names the results."""
    parts = task.tests().items()
    return {(ablation, part): assess(one, network, episodes, FRESH + seed) for part, one in parts}


def assess_ablated(task: Task, network: nn.Module, episodes: int, seed: int) -> Results:
    """Test a network as ``assess_parts`` does, first as it is and then without each part of its plasticity."""
    results = assess_parts(task, network, episodes, seed)
    for ablation in ablations_of(network):
        with ablated(network, ablation):
            results |= assess_parts(task, network, episodes, seed, ablation)
    return results


def flat(results: Results) -> dict[str, float]:
    """Return results under one name each, as summary.json has them: metric, ablation and part, joined by "_"."""
    return {
        "_".join(filter(None, (name, *key))): value for key, values in results.items() for name, value in values.items()
    }


def as_table(results: Results) -> str:
    """Return results as a table, one row for each ablation and part; accuracies and error rates in percent."""
    names = list(next(iter(results.values())))
    rows = [["", *(name.replace("_", " ") for name in names)]]
    for (ablation, part), values in results.items():
        title = (f"with its {ablation.replace('_', ' at ')}" if ablation else "this network") + PARTS[part]
        cells = (f"{values[name]:.2%}" if name.startswith(SHARES) else f"{values[name]:.4g}" for name in names)
        rows.append([title, *cells])
    return table(rows)


def draw_episodes(path: Path, task: Task, network: nn.Module, seed: int) -> None:
    """Draw a network's answers in fresh episodes, of held-out data where there is some."""
    task = task.held_out()
    generator = torch.Generator(next(network.parameters()).device).manual_seed(FRESH + seed)
    with testing(network):
        episodes = task.sample(task.pictured, generator)
        prediction = task.run(network, episodes)
    task.draw(path, prediction.cpu(), type(episodes)(*(part.cpu() for part in episodes)))

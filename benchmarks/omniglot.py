"""Episodes per second of few-shot training: ``python benchmarks/omniglot.py``.

This times the paper's network, 5-way 1-shot, with one query: forward, backward and a step of Adam. Three ways take
turns: batches of episodes, whose images are embedded in one call; single episodes, whose six images are embedded in one
call; and single episodes whose images are embedded one by one as they are shown, as in the paper, in PyTorch's default
memory layout. Losses and gradients are compared first. At the end, the share of each part in a batch's time is
printed. The characters are those of the stand-in, which needs no download: speed does not depend on the drawings.
"""

import argparse
import platform
import statistics
import sys
import time

import torch
from ops import cpu_name
from torch import nn

import plastic_rl
from plastic_rl.data import glyph_characters, split_characters
from plastic_rl.tasks import CoreSettings, FewShotClassification, FewShotEpisodes, FewShotNetwork
from plastic_rl.text import table
from plastic_rl.training.machine import keep_freed_memory

TOLERANCE = 1e-4  # of losses and gradients, relative to the largest
WAYS = ("in a batch", "one by one, images together", "one by one, image by image")


TASK = FewShotClassification(split_characters(glyph_characters(), "glyphs"))


def network_of(way: str) -> FewShotNetwork:
    """Return the paper's network, always with the same weights."""
    torch.manual_seed(0)
    network = TASK.network(CoreSettings(rule="oja", alpha="shared"))
    return network.to(memory_format=torch.contiguous_format) if way == WAYS[2] else network


def single(episodes: FewShotEpisodes, b: int) -> FewShotEpisodes:
    """Return one episode of a batch."""
    return FewShotEpisodes(
        support=episodes.support[:, b : b + 1],
        label=episodes.label[:, b : b + 1],
        order=episodes.order[:, b : b + 1],
        query=episodes.query[:, b : b + 1],
        target=episodes.target[b : b + 1],
    )


def image_by_image(network: FewShotNetwork, episode: FewShotEpisodes) -> torch.Tensor:
    """Return the logits of an episode whose images are embedded as they are shown."""
    trace = None
    for t in episode.order[:, 0].tolist():
        clamp = torch.eye(TASK.way)[episode.label[t]]
        _, trace = network.output(network.convolutions(episode.support[t : t + 1])[None], trace, clamp=clamp[None])
    return network.output.net_input(network.convolutions(episode.query)[None], trace).transpose(0, 1)


def losses(network: FewShotNetwork, episodes: FewShotEpisodes, way: str) -> list[torch.Tensor]:
    """Return the loss of a batch, or the losses of its episodes."""
    if way == WAYS[0]:
        return [TASK.loss(TASK.run(network, episodes), episodes)]
    run = image_by_image if way == WAYS[2] else TASK.run
    alone = [single(episodes, b) for b in range(len(episodes.target))]
    return [TASK.loss(run(network, episode), episode) for episode in alone]


def agree(batch: int) -> bool:
    """Return whether all ways give the same loss and gradients, up to rounding."""
    episodes = TASK.sample(batch, torch.Generator().manual_seed(0))
    found = []
    for way in WAYS:
        network = network_of(way)
        loss = torch.stack(losses(network, episodes, way)).mean()
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in network.parameters())])
    return all(
        (a - b).abs().max() <= TOLERANCE * a.abs().max()
        for other in found[1:]
        for a, b in zip(found[0], other, strict=True)
    )


def seconds_per_episode(network: nn.Module, adam: torch.optim.Adam, batch: int, way: str, count: int) -> float:
    """Time updates on ``count`` episodes in total; return the seconds per episode."""
    generator = torch.Generator().manual_seed(0)
    size = batch if way == WAYS[0] else 1
    began = time.perf_counter()
    for _ in range(count // size):
        episodes = TASK.sample(size, generator)
        adam.zero_grad()
        losses(network, episodes, way)[0].backward()
        adam.step()
    return (time.perf_counter() - began) / (count // size * size)


def shares(batch: int, updates: int) -> dict[str, float]:
    """Return the share of each part in an update's time."""
    network, generator = network_of(WAYS[0]), torch.Generator().manual_seed(0)
    adam, found = torch.optim.Adam(network.parameters()), dict.fromkeys(
        ("sampling", "convolutions", "plastic layer", "backward", "Adam"), 0.0
    )  # fmt: skip
    for _ in range(updates):
        marks = [time.perf_counter()]
        episodes = TASK.sample(batch, generator)
        marks.append(time.perf_counter())
        features = network.embed(torch.cat([episodes.support, episodes.query]))
        marks.append(time.perf_counter())
        shown = features[: TASK.way].gather(0, episodes.order[..., None].expand(-1, -1, features.shape[-1]))
        _, trace = network.output(shown, clamp=torch.eye(TASK.way)[episodes.label.gather(0, episodes.order)])
        loss = TASK.loss(network.output.net_input(features[TASK.way :], trace).transpose(0, 1), episodes)
        marks.append(time.perf_counter())
        adam.zero_grad()
        loss.backward()
        marks.append(time.perf_counter())
        adam.step()
        marks.append(time.perf_counter())
        for name, first, last in zip(found, marks, marks[1:], strict=False):
            found[name] += last - first
    total = sum(found.values())
    return {name: value / total for name, value in found.items()}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=32, help="episodes in a batch (default: 32)")
    options = parser.parse_args()
    if min(options.threads, options.repeats, options.batch) < 1:
        parser.error("--threads, --repeats and --batch must be at least 1")
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    if not agree(6):
        print("The ways disagree, so no speed is shown", file=sys.stderr)
        return 1
    print(
        f"{cpu_name()}, {options.threads} threads; Python {platform.python_version()}, torch {torch.__version__}, "
        f"plastic-rl {plastic_rl.__version__}\nloss and gradients of all ways agree: checked\n"
    )
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    networks = {way: network_of(way) for way in WAYS}
    adams = {way: torch.optim.Adam(network.parameters()) for way, network in networks.items()}
    for turn in range(options.repeats + 1):
        for way, found in seconds.items():
            count = 8 * options.batch if way == WAYS[0] else 2 * options.batch
            value = seconds_per_episode(networks[way], adams[way], options.batch, way, count)
            if turn:  # the first one warms up
                found.append(value)
    rows = [[f"{options.batch} episodes", "episodes/s", "of that, the batch is"]]
    for way, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(found, seconds[WAYS[0]], strict=True))
        rows.append([way, f"{1 / statistics.median(found):,.0f}", f"{ratio:.1f} times"])
    print(table(rows))
    parts = ", ".join(f"{name} {share:.1%}" for name, share in shares(options.batch, 20).items())
    print(f"\nof a batch's time: {parts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

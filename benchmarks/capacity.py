"""How many patterns a trained memory holds: ``python benchmarks/capacity.py``.

For each number of patterns, new networks are trained with each of two rules, and with one plasticity coefficient per
connection or one for all connections. They are tested on fresh episodes. Each episode presents all patterns once, for
thirty steps each, and then half of the bits of one pattern for ten steps. (The first step of a presentation associates
a pattern with the previous one; the more steps follow, the less this counts.) A Hopfield network with computed weights
(Hopfield, 1982: the sum of the patterns' outer products, without self-connections) answers the same queries for
comparison, in as many steps and with the shown bits clamped. Its known capacity is 0.138 patterns per neuron.

The benchmark prints a table, and writes all results to capacity.csv and a figure to capacity.png.
"""

import argparse
import contextlib
import csv
import io
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plastic_rl.evaluation.networks import assess
from plastic_rl.figures.style import COLOURS, FAINT, INK, dress, new_figure, save
from plastic_rl.ops import set_num_threads
from plastic_rl.tasks import CompletionEpisodes, CoreSettings, PatternCompletion
from plastic_rl.text import duration, table
from plastic_rl.training.trainer import Trainer

PATTERNS = (5, 10, 15, 20, 30, 40, 50, 70, 100)
MEMORIES = [(rule, alpha) for rule in ("hebb", "oja") for alpha in ("connection", "shared")]
HOPFIELD = "Hopfield"
LEVEL = 0.01  # share of wrong bits at which capacities are compared
SHOWN = 30  # steps of a presentation
ETA = 1e-4  # so small that no presentation overwrites another
BATCH, TESTED, FRESH = 8, 200, 1_000_000


def task_of(patterns: int, bits: int) -> PatternCompletion:
    """Return the task with ``patterns`` patterns, each presented once."""
    return PatternCompletion(patterns, bits, SHOWN, blank_steps=0, cycles=1, test_steps=10)


def trained(task: PatternCompletion, rule: str, alpha: str, seed: int, episodes: int) -> float:
    """Train a network and return its share of wrong bits on fresh episodes."""
    torch.manual_seed(seed)
    # The initial network is close to a Hopfield network: half of a pattern's bits give the others a net input of +-1.5.
    # Eta is not trained: a larger eta makes outputs larger and the squared error smaller, but forgets early patterns.
    core = CoreSettings(
        rule=rule, alpha=alpha, eta=ETA, learn_eta=False, init_scale=0.001, init_alpha=3 / (task.size * ETA * SHOWN)
    )
    network = task.network(core)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = Trainer(task, network, Path(folder), batch_size=BATCH, learning_rate=3e-3, max_grad_norm=10.0,
                          decay_episodes=episodes, seed=seed, checkpoint_every=1e9)  # fmt: skip
        trainer.train(episodes)
    return assess(task, network, TESTED, FRESH + seed)["wrong_bits"]


def hopfield(task: PatternCompletion, seed: int) -> float:
    """Return a Hopfield network's share of wrong bits on the same fresh episodes."""
    wrong = []
    generator = torch.Generator().manual_seed(FRESH + seed)
    for _ in range(0, TESTED, 10):
        episodes = task.sample(10, generator)
        wrong.append(task.metrics(recalled(episodes, task.test_steps), episodes)["wrong_bits"].mean().item())
    return float(np.mean(wrong))


def recalled(episodes: CompletionEpisodes, steps: int) -> Tensor:
    """Return a Hopfield network's completion of the last cue, ``(B, n)``."""
    weights = episodes.items.mT @ episodes.items
    weights.diagonal(dim1=1, dim2=2).zero_()
    x = episodes.target.masked_fill(episodes.erased, 0.0)
    for _ in range(steps):
        x = torch.where(episodes.erased, (x.unsqueeze(1) @ weights).squeeze(1).sign(), episodes.target)
    return x


def capacity(wrong: list[float]) -> float | None:
    """Return the number of patterns with 1 % wrong bits, interpolated; None if it is outside those tried."""
    for (p, a), (q, b) in itertools.pairwise(zip(PATTERNS, wrong, strict=True)):
        if a < LEVEL <= b:
            return p + (q - p) * (LEVEL - a) / (b - a)
    return None


def draw(path: Path, medians: dict[str, list[float]], bits: int) -> None:
    """Draw the share of wrong bits against the number of patterns."""
    figure = new_figure(7.2, 4.4)
    axes = figure.add_subplot()
    for (name, wrong), color, width in zip(medians.items(), (*COLOURS[:4], INK), (10, 7, 4, 1.5, 2), strict=True):
        dashes = "--" if name == HOPFIELD else "-"  # the other lines may coincide
        axes.plot(PATTERNS, [100 * w for w in wrong], dashes, color=color, linewidth=width, label=name)
    axes.axhline(100 * LEVEL, color=FAINT, linewidth=1, linestyle=":")
    axes.axvline(0.138 * bits, color=FAINT, linewidth=1, linestyle=":")
    across, along = axes.get_xaxis_transform(), axes.get_yaxis_transform()
    text = {"textcoords": "offset points", "color": FAINT, "fontsize": 9}
    axes.annotate("0.138 N: Hopfield (1982)", (0.138 * bits, 0.6), (4, 0), across, **text)
    axes.annotate("1 %", (1, 100 * LEVEL), (-2, 2), along, ha="right", **text)
    dress(axes, PATTERNS[-1], ("patterns in an episode", "wrong bits, % (chance: 25)"))
    axes.set_title(f"What {bits} neurons hold after one presentation", color=INK, fontsize=11, loc="left")
    axes.legend(frameon=False, labelcolor=INK)
    save(figure, path)


def main() -> int:
    """Train, test, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, default=200, help="bits in a pattern (default: 200)")
    parser.add_argument("--episodes", type=int, default=400, help="episodes of each training (default: 400)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/capacity"), help="folder (default: runs/capacity)")
    options = parser.parse_args()
    if min(options.episodes, options.seeds, options.threads) < 1 or options.bits < 2:
        parser.error("numbers must be at least 1, and --bits at least 2")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    set_num_threads(options.threads)
    began, found = time.perf_counter(), {}
    names = [f"{rule}, alpha {alpha}" for rule, alpha in MEMORIES]
    with open(options.out / "capacity.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["memory", "patterns", "seed", "wrong_bits"])
        for seed, patterns in itertools.product(range(options.seeds), PATTERNS):
            task = task_of(patterns, options.bits)
            results = {
                name: trained(task, *kind, seed, options.episodes) for name, kind in zip(names, MEMORIES, strict=True)
            }
            results[HOPFIELD] = hopfield(task, seed)
            for name, wrong in results.items():
                found.setdefault((name, patterns), []).append(wrong)
                writer.writerow([name, patterns, seed, f"{wrong:.6f}"])
            file.flush()
            print(
                f"seed {seed}, {patterns} patterns: {duration(time.perf_counter() - began)}",
                file=sys.stderr,
                flush=True,
            )
    medians = {name: [float(np.median(found[name, p])) for p in PATTERNS] for name in (*names, HOPFIELD)}
    rows = [["wrong bits, %", *(f"{p}" for p in PATTERNS), "patterns at 1 %", "per neuron"]]
    for name, wrong in medians.items():
        held = capacity(wrong)
        cells = ["-", "-"] if held is None else [f"{held:.1f}", f"{held / options.bits:.3f}"]
        rows.append([name, *(f"{100 * w:.2f}" for w in wrong), *cells])
    print(table(rows))
    draw(options.out / "capacity.png", medians, options.bits)
    return 0


if __name__ == "__main__":
    sys.exit(main())

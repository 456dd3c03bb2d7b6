"""When is a plastic network the better choice? ``python benchmarks/load.py``.

Performance against the load on memory: how much must be remembered from within the lifetime. There are three sweeps:

cues       CueAction-v0 with 2 to 32 random cues of 20 bits, each of which asks for one of 4 actions
maps       RandomMaze-v0 from 7 x 7 to 21 x 21 cells: a new map in each lifetime
patterns   memorize: 20 to 320 bits (bits x patterns), seen once each, of which one pattern is to be completed

Each kind of network has as many parameters as a plastic network of ``--hidden-size`` neurons, and as many steps or
episodes to learn. Agents are trained with the tuned preset of ``cue-action`` and ``maze``.

The benchmark is a folder of runs: give the same command again to continue it. It prints a table, and writes load.csv
and load.png.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from plastic_rl.commands.compare import hidden_sizes, job_of, look
from plastic_rl.commands.jobs import Job, check_finished, train_all
from plastic_rl.errors import UsageError, UserError
from plastic_rl.figures.style import COLOURS, FAINT, INK, dress, new_figure, save
from plastic_rl.files import write_csv
from plastic_rl.modules import matching_hidden_size
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import AGENTS, COMPARISONS, Memorize
from plastic_rl.tasks import CoreSettings
from plastic_rl.tasks.networks import CLAMPED_CORES, completion_network
from plastic_rl.text import table
from plastic_rl.training.machine import cores

KINDS = ("clip", "simple", "plastic-lstm", "lstm", "gru", "rnn-wide")
CUES = (2, 4, 8, 16, 32)
SIZES = (7, 11, 15, 21)
PATTERNS = ((10, 2), (20, 2), (20, 4), (40, 4), (40, 8))  # bits and patterns
STEPS = {"cues": 5_000_000, "maps": 10_000_000}
LEARNING = {"episodes": 40_000, "batch_size": 16, "decay_episodes": 40_000, "eval_episodes": 2000}  # of patterns
INITIAL = {"eta": 0.03, "init_alpha": 0.1, "learn_eta": True}
RATES = {"clip": 1e-3, "simple": 1e-3, "plastic-lstm": 3e-3, "lstm": 3e-3, "gru": 3e-3, "rnn-wide": 1e-3}
LABELS = {
    "cues": "cues, each with its action",
    "maps": "cells along a side of the maze",
    "patterns": "bits of all patterns",
}


class Point(NamedTuple):
    """What one training is to tell: how well a kind of network does at a load."""

    sweep: str
    load: int
    kind: str
    job: Job[Any]

    def row(self) -> "Row":
        """Return the row of load.csv."""
        config, summary = self.job.config, self.job.run.summary()
        measured = (summary["parameters"], round(performance(self.job), 4), round(summary["train_seconds"], 1))
        return Row(self.sweep, self.load, self.kind, config.seed, config.hidden_size, *measured)


class Row(NamedTuple):
    """A row of load.csv."""

    sweep: str
    load: int
    kind: str
    seed: int
    neurons: int
    parameters: int
    performance: float
    seconds: float


def performance(job: Job[Any]) -> float:
    """Return the share of what is possible that a finished training reached, 0 at chance and 1 at best."""
    summary = job.run.summary()
    if job.config.command == Memorize.command:
        return 1 - 2 * summary["wrong_erased_bits"]
    chance, best = summary["random_return"], summary["oracle_return"]
    return (summary["return_mean"] - chance) / (best - chance)


def agents(sweep: str, options: argparse.Namespace) -> Iterator[Point]:
    """Yield the trainings of agents."""
    task: Any
    task, values, name = ("cue-action", CUES, "cues") if sweep == "cues" else ("maze", SIZES, "size")
    env: dict[str, Any] = {} if sweep == "cues" else {"env": "PlasticRL/RandomMaze-v0"}
    for value in values:
        comparison = COMPARISONS[task](
            task=task, out=options.out / sweep / f"{value}", match_parameters=True, hidden_size=options.hidden_size,
            steps=options.steps or STEPS[sweep], **env | {name: value},
        )  # fmt: skip
        features, _ = look(comparison)
        sizes = hidden_sizes(comparison, features)
        for kind in options.kinds:
            for seed in range(options.seeds):
                yield point(sweep, value, kind, job_of(comparison, kind, seed, sizes[kind]))


def networks(options: argparse.Namespace) -> Iterator[Point]:
    """Yield the trainings of networks on patterns."""
    for bits, patterns in PATTERNS:
        load = bits * patterns
        for kind in options.kinds:
            size = matching_size(bits, kind, options.hidden_size)
            initial = INITIAL if core_of(kind) == "plastic" else {}
            for seed in range(options.seeds):
                config = Memorize.from_preset(
                    "comparison", **AGENTS[kind], patterns=patterns, bits=bits, hidden_size=size, seed=seed, threads=1,
                    learning_rate=RATES[kind], **initial, **LEARNING,
                )  # fmt: skip
                run = RunFolder(options.out / "patterns" / f"{load}" / kind / f"seed-{seed}")
                yield point("patterns", load, kind, Job(kind, config, run))


def core_of(kind: str) -> Any:
    """Return the core of a kind of network."""
    return AGENTS[kind].get("core", "plastic")


def matching_size(bits: int, kind: str, hidden_size: int) -> int:
    """Return the size of a network for patterns that has as many parameters as a plastic one of ``hidden_size``."""

    def build(core: Any, size: int) -> torch.nn.Module:
        settings = CoreSettings(core=core, hidden_size=size)
        # A network whose neurons are clamped has no other weights than its core, which can be of any size.
        return settings.build(0) if core in CLAMPED_CORES else completion_network(settings, bits)

    return matching_hidden_size(build("plastic", hidden_size), partial(build, core_of(kind)))


def point(sweep: str, load: int, kind: str, job: Job[Any]) -> Point:
    """Return a training as a part of the benchmark.

    Raises:
        UsageError: its folder holds a run with other settings.
    """
    if job.run.is_run and job.run.settings(type(job.config)) != job.config:
        raise UsageError(f"{job.run} was trained with other settings: name another --out")
    return Point(sweep, load, kind, replace(job, group=f"{sweep}, load {load}, {kind}"))


def draw(path: Path, rows: Sequence[Row], kinds: Sequence[str]) -> None:
    """Draw performance against load: the median over seeds, and the range as a band."""
    sweeps = list(dict.fromkeys(row.sweep for row in rows))
    figure = new_figure(4.2 * len(sweeps) + 1.6, 4.2)
    for sweep, axes in zip(sweeps, figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0], strict=True):
        loads = sorted({row.load for row in rows if row.sweep == sweep})
        axes.set_xscale("log", base=2)
        dress(axes, loads[-1], (LABELS[sweep], "" if sweep != sweeps[0] else "performance: 0 chance, 1 best"), loads[0])
        axes.set_xticks(loads, labels=[f"{load}" for load in loads])
        axes.minorticks_off()
        for kind, color in zip(kinds, COLOURS, strict=False):
            found = performances(rows, sweep, kind)
            at = sorted(found)
            axes.plot(at, [np.median(found[load]) for load in at], color=color, linewidth=2, marker="o", label=kind)
            axes.fill_between(
                at, [min(found[load]) for load in at], [max(found[load]) for load in at], color=color, alpha=0.18,
                linewidth=0,
            )  # fmt: skip
        axes.axhline(0, color=FAINT, linewidth=1, linestyle=":")
        axes.set_title(sweep, color=INK, fontsize=11, loc="left")
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", frameon=False, labelcolor=INK)
    save(figure, path)


def performances(rows: Sequence[Row], sweep: str, kind: str) -> dict[int, list[float]]:
    """Return the performances of a kind in a sweep, by load."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if (row.sweep, row.kind) == (sweep, kind):
            found.setdefault(row.load, []).append(row.performance)
    return found


def report(out: Path, points: Sequence[Point], kinds: Sequence[str]) -> None:
    """Write and print the results of the runs that are finished, and draw them."""
    rows = [one.row() for one in points if one.job.run.is_finished]
    write_csv(out / "load.csv", Row._fields, rows)
    for sweep in dict.fromkeys(row.sweep for row in rows):
        loads = sorted({row.load for row in rows if row.sweep == sweep})
        cells = [[sweep, *(f"{load}" for load in loads)]]
        for kind in kinds:
            found = performances(rows, sweep, kind)
            cells.append([kind, *(f"{np.median(found[load]):.2f}" if load in found else "-" for load in loads)])
        print(f"\n{table(cells)}")
    if rows:
        draw(out / "load.png", rows, kinds)


def main() -> int:
    """Train what is not trained yet, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", nargs="+", choices=LABELS, default=list(LABELS), help="default: all three")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="networks (default: all six)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default: 3)")
    parser.add_argument("--hidden-size", type=int, default=64, help="neurons of the plastic network (default: 64)")
    parser.add_argument("--steps", type=int, help="of agents (default: 5 million with cues, 10 million in maps)")
    parser.add_argument("--jobs", type=int, default=cores(), help="runs at a time (default: one per core)")
    parser.add_argument("--out", type=Path, default=Path("runs/load"), help="folder (default: runs/load)")
    options = parser.parse_args()
    if min(options.seeds, options.hidden_size, options.jobs) < 1:
        parser.error("--seeds, --hidden-size and --jobs must be at least 1")
    try:
        found = [networks(options) if sweep == "patterns" else agents(sweep, options) for sweep in options.sweeps]
        # The first seed of everything comes first, so that a part of the benchmark is useful too.
        points = sorted(itertools.chain(*found), key=lambda one: one.job.config.seed)
        jobs = [one.job for one in points]
        failed = train_all(jobs, options.jobs, lambda job: f"performance {performance(job):.2f}")
        report(options.out, points, options.kinds)
        check_finished(failed, len(points))
    except UsageError as error:
        parser.error(str(error))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Seconds per episode of the pattern task with 1,001 neurons, by engine: ``python benchmarks/memory.py``.

An episode is that of the authors' simplest script: 5 patterns of 1,000 bits, presented twice for 6 steps with 4 blank
ones after each, and 6 steps of a degraded one: 106 steps in all. An update is forward, backward and a step of Adam. The
engines alternate within one process, each with the threads that suit it; first their losses and gradients are compared.
Peak memory is what an update adds in a fresh process that has loaded the engine.

A second table is about the paper's episode of 205 steps, with one alpha shared by all connections. It compares the
traceless engine with the other two, which form the trace. The bits are clamped, or added to the input from other
neurons; in the second case no step can be skipped.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping

import numba
import torch
from ops import TOLERANCE, cpu_name, peak_mebibytes
from torch import nn

import plastic_rl
from plastic_rl.choices import Alpha, Engine
from plastic_rl.ops import set_num_threads
from plastic_rl.tasks import CoreSettings, PatternCompletion
from plastic_rl.text import table

ENGINES: tuple[Engine, ...] = ("reference", "fused", "traceless")
BATCHES = (1, 4)  # with 8 episodes, or 4 of the paper's, the reference engine needs more than 20 GB
TASK = PatternCompletion(presentation_steps=6, blank_steps=4, cycles=2, test_steps=6)
PAPERS = {"clamped": PatternCompletion(), "added": PatternCompletion(drive="add")}


def network_of(engine: Engine, task: PatternCompletion = TASK, alpha: Alpha = "connection") -> nn.Module:
    """Return the plastic network of 1,001 neurons, always with the same weights."""
    torch.manual_seed(0)
    network = task.network(CoreSettings(init_scale=0.01, alpha=alpha))
    network.core.engine = engine
    return network


def backward(network: nn.Module, batch: int, task: PatternCompletion = TASK) -> torch.Tensor:
    """Compute the gradients of a batch of episodes, always the same; return the loss."""
    episodes = task.sample(batch, torch.Generator().manual_seed(0))
    loss = task.loss(task.run(network, episodes), episodes)
    loss.backward()
    return loss


def agree(networks: Iterable[nn.Module], task: PatternCompletion = TASK) -> bool:
    """Return whether networks give the same loss and gradients as the first one, except for rounding."""
    want, *others = ([backward(n, 1, task).detach(), *(p.grad for p in n.parameters() if p.requires_grad)]
                     for n in networks)  # fmt: skip
    return all(
        (a - b).abs().max() <= TOLERANCE * a.abs().max() for have in others for a, b in zip(want, have, strict=True)
    )


def take_turns(
    networks: Mapping[Engine, nn.Module], batch: int, options: argparse.Namespace, task: PatternCompletion = TASK
) -> dict[Engine, list[float]]:
    """Time updates of each engine's network, in seconds per episode."""
    seconds: dict[Engine, list[float]] = {engine: [] for engine in networks}
    adams = {engine: torch.optim.Adam(network.parameters()) for engine, network in networks.items()}
    for _ in range(options.repeats):
        for engine, found in seconds.items():
            torch.set_num_threads(1 if engine == "fused" else options.threads)
            time.sleep(0.02)  # PyTorch's threads keep looking for work for some milliseconds
            began = time.perf_counter()
            adams[engine].zero_grad()
            backward(networks[engine], batch, task)
            adams[engine].step()
            found.append((time.perf_counter() - began) / batch)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return the median of the ratios of pairs."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def extra_mebibytes(engine: Engine, batch: int, threads: int) -> float:
    """Return what one update adds to peak memory, in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", engine, "--batch", str(batch), "--threads", str(threads)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="updates timed of each engine (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of both engines")
    parser.add_argument("--memory-of", choices=("reference", "fused"), help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats must be at least 1")
    set_num_threads(options.threads)
    if options.memory_of:
        network = network_of(options.memory_of)
        small = PatternCompletion(patterns=1, bits=20, cycles=1)
        backward(network_of(options.memory_of, small), 1, small)  # loads the engine's code
        before = peak_mebibytes()
        backward(network, options.batch)
        print(peak_mebibytes() - before)
        return 0

    shared = {how: {e: network_of(e, task, "shared") for e in ENGINES} for how, task in PAPERS.items()}
    if not agree(network_of(e) for e in ENGINES[:2]) or not all(
        agree(shared[how].values(), task) for how, task in PAPERS.items()
    ):
        print("The engines disagree, so no speed is shown", file=sys.stderr)
        return 1
    print(
        f"{cpu_name()}, {options.threads} threads; Python {platform.python_version()}, torch {torch.__version__}, "
        f"numba {numba.__version__}, plastic-rl {plastic_rl.__version__}\n"
        "loss and gradients of all engines agree: checked\n"
    )
    rows = [["episodes in an update", "reference, s per episode", "fused", "ratio", "peak MiB", "fused", "share"]]
    for batch in BATCHES:
        seconds = take_turns({engine: network_of(engine) for engine in ENGINES[:2]}, batch, options)
        peaks = [extra_mebibytes(engine, batch, options.threads) for engine in seconds]
        rows.append([
            f"{batch}", *(f"{statistics.median(found):.3f}" for found in seconds.values()),
            f"{ratio(*seconds.values()):.1f}", *(f"{peak:,.0f}" for peak in peaks), f"{peaks[1] / peaks[0]:.1%}",
        ])  # fmt: skip
    print(f"{table(rows)}\n\none alpha for all connections\n")
    rows = [["bits are", "episodes in an update", "traceless, s per episode", "fused", "ratio", "reference", "ratio"]]
    for how, networks in shared.items():
        for batch in BATCHES:
            others = ENGINES[:2] if batch == 1 else ENGINES[1:2]
            seconds = take_turns({e: networks[e] for e in (*others, "traceless")}, batch, options, PAPERS[how])
            traceless, cells = seconds["traceless"], []
            for engine in ("fused", "reference"):
                slow = seconds.get(engine)
                cells += [f"{statistics.median(slow):.3f}", f"{ratio(slow, traceless):.1f}"] if slow else ["", ""]
            rows.append([how, f"{batch}", f"{statistics.median(traceless):.3f}", *cells])
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

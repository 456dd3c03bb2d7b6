"""Seconds per episode of the pattern task with 1,001 neurons, by engine: ``python benchmarks/memory.py``.

An episode is that of the authors' simplest script: 5 patterns of 1,000 bits, presented twice for 6 steps with 4 blank
ones after each, and 6 steps of a degraded one, 106 in all; forward, backward and a step of Adam. The engines take turns
within one process, each with the threads that suit it; before, their losses and gradients are compared. Peak memory is
that of fresh processes.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time

import numba
import torch
from ops import TOLERANCE, cpu_name, peak_mebibytes
from torch import nn

import plastic_rl
from plastic_rl.ops import Engine, set_num_threads
from plastic_rl.tables import table
from plastic_rl.tasks import CoreSettings, PatternCompletion

BATCHES = (1, 4)  # the reference engine needs 4 GB an episode
TASK = PatternCompletion(presentation_steps=6, blank_steps=4, cycles=2, test_steps=6)


def network_of(engine: Engine) -> nn.Module:
    """The plastic network of 1,001 neurons, always with the same weights."""
    torch.manual_seed(0)
    network = TASK.network(CoreSettings(init_scale=0.01))
    network.core.engine = engine
    return network


def backward(network: nn.Module, batch: int) -> torch.Tensor:
    """Compute the gradients of a batch of episodes, always the same; return the loss."""
    episodes = TASK.sample(batch, torch.Generator().manual_seed(0))
    loss = TASK.loss(TASK.run(network, episodes), episodes)
    loss.backward()
    return loss


def agree(batch: int) -> bool:
    """Whether the engines give the same loss and gradients, but for rounding."""
    networks = [network_of(engine) for engine in ("reference", "fused")]
    want, have = ([backward(n, batch).detach(), *(p.grad for p in n.parameters() if p.requires_grad)] for n in networks)
    return all((a - b).abs().max() <= TOLERANCE * a.abs().max() for a, b in zip(want, have, strict=True))


def seconds_per_episode(engine: Engine, network: nn.Module, adam: torch.optim.Adam, batch: int, threads: int) -> float:
    """Time one update."""
    torch.set_num_threads(threads if engine == "reference" else 1)
    time.sleep(0.02)  # PyTorch's threads go on looking for work for some milliseconds
    began = time.perf_counter()
    adam.zero_grad()
    backward(network, batch)
    adam.step()
    return (time.perf_counter() - began) / batch


def extra_mebibytes(engine: Engine, batch: int, threads: int) -> float:
    """The peak of memory that one update adds, in a fresh process."""
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
        before = peak_mebibytes()
        backward(network, options.batch)
        print(peak_mebibytes() - before)
        return 0

    if not agree(1):
        print("The engines disagree, so no speed is shown", file=sys.stderr)
        return 1
    print(
        f"{cpu_name()}, {options.threads} threads; Python {platform.python_version()}, torch {torch.__version__}, "
        f"numba {numba.__version__}, plastic-rl {plastic_rl.__version__}\n"
        "loss and gradients of both engines agree: checked\n"
    )
    rows = [["episodes in an update", "reference, s per episode", "fused", "ratio", "peak MiB", "fused", "share"]]
    for batch in BATCHES:
        seconds: dict[Engine, list[float]] = {"reference": [], "fused": []}
        networks = {engine: network_of(engine) for engine in seconds}
        adams = {engine: torch.optim.Adam(network.parameters()) for engine, network in networks.items()}
        for _ in range(options.repeats):
            for engine, found in seconds.items():
                found.append(seconds_per_episode(engine, networks[engine], adams[engine], batch, options.threads))
        slow, fast = seconds["reference"], seconds["fused"]
        ratio = statistics.median(a / b for a, b in zip(slow, fast, strict=True))
        peaks = [extra_mebibytes(engine, batch, options.threads) for engine in seconds]
        rows.append([
            f"{batch}", f"{statistics.median(slow):.3f}", f"{statistics.median(fast):.3f}", f"{ratio:.1f}",
            f"{peaks[0]:,.0f}", f"{peaks[1]:,.0f}", f"{peaks[1] / peaks[0]:.1%}",
        ])  # fmt: skip
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

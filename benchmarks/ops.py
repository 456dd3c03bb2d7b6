"""Speed and memory of the fused engine against the reference: ``python benchmarks/ops.py``.

The first table is of the rule hebb; the second compares the kinds of networks with each other: modulation, eligibility
traces and LSTMs against clip. Both engines run forward and backward over the same float32 tensors. They alternate
within one process, so that other load on the machine affects both. Each uses the threads that suit it: autograd those
of PyTorch, the fused engine its own and one of PyTorch's. With ``--device cuda`` the reference engine runs on a GPU.
First the results are compared at every shape: outputs, state and every gradient. If they differ, no speed is printed
and the exit code is 1.
"""

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numba
import torch
from torch import Tensor

import plastic_rl
from plastic_rl.choices import RULES, Engine
from plastic_rl.ops import Modulation, plastic_lstm, plastic_rnn, set_num_threads


class Shape(NamedTuple):
    """A problem: episodes, neurons, steps."""

    batch: int
    neurons: int
    steps: int

    def __str__(self) -> str:
        return f"B {self.batch}, N {self.neurons}, T {self.steps}"


class Kind(NamedTuple):
    """A kind of network."""

    rule: str
    modulation: str | None = None
    lstm: bool = False

    def __str__(self) -> str:
        return ", ".join(filter(None, ("LSTM" if self.lstm else "", self.rule, self.modulation)))


HEBB, CLIP = Kind("hebb"), Kind("clip")
KINDS = (
    CLIP,
    Kind("soft_clip"),
    Kind("clip", "simple"),
    Kind("clip", "retroactive"),
    Kind("clip", None, True),
    Kind("clip", "simple", True),
    Kind("clip", "retroactive", True),
)
KIND_SHAPES = (Shape(30, 100, 200), Shape(30, 200, 250))
SHAPES = (Shape(30, 100, 200), Shape(30, 200, 250), Shape(2, 1000, 106), Shape(1, 1000, 106))
MEMORY_SHAPE = Shape(30, 200, 250)
CHECK_STEPS = 25  # long enough for several snapshots and segments
TOLERANCE = 2e-4  # of a result's largest entry: float32 sums in another order, through a whole sequence


class Seconds(NamedTuple):
    """How long one pass took."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.forward + self.backward


def problem(shape: Shape, kind: Kind = HEBB) -> dict[str, Any]:
    """Draw the tensors of a kind's op, all with gradients, at scales that keep the network active."""
    batch, n, steps = shape
    random = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=random)

    arguments = {
        "u": normal(steps, batch, 4 * n if kind.lstm else n),
        "w": normal(n, n) / n**0.5,
        "alpha": normal(n, n) * 0.1 / n**0.5,
        "eta": torch.tensor(0.05),
        "hidden": normal(batch, n),
        "trace": normal(batch, n, n) * 0.1,
    }
    if kind.lstm:
        arguments |= {"cell": normal(batch, n), "gates": normal(n, 3 * n) / n**0.5}
    if kind.modulation:
        # Small rates: where many traces reach the bound of clip, rounding decides whether some gradients pass it.
        arguments |= {"weight": normal(n) * 0.05 / n**0.5, "bias": normal(1)[0] * 0.05}
    if kind.modulation == "simple":
        del arguments["eta"]
    if kind.modulation == "retroactive":
        arguments["eligibility"] = normal(batch, n, n) * 0.1
    return {name: tensor.requires_grad_() for name, tensor in arguments.items()}


def run(arguments: dict[str, Any], kind: Kind, engine: Engine) -> tuple[Tensor, Any]:
    """Run a kind's op."""
    tensors = {"eta": 0.0, **arguments}
    modulation = None
    if kind.modulation:
        modulation = Modulation(tensors.pop("weight"), tensors.pop("bias"), kind.modulation)
    op = plastic_lstm if kind.lstm else plastic_rnn
    return op(**tensors, rule=kind.rule, modulation=modulation, engine=engine)


def on(device: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The same tensors on a device; on their own, with gradients of their own."""
    return {name: tensor.detach().to(device).requires_grad_() for name, tensor in arguments.items()}


def results(shape: Shape, engine: Engine, kind: Kind, device: str = "cpu") -> dict[str, Tensor]:
    """Return outputs, last state and every gradient, for upstream gradients that differ between all entries."""
    arguments = on(device, problem(shape, kind))
    outputs, state = run(arguments, kind, engine)
    found = {"outputs": outputs} | {f"last {name}": part for name, part in state._asdict().items()}
    above = torch.Generator().manual_seed(1)
    losses = [(tensor * torch.randn(tensor.shape, generator=above).to(device)).sum() for tensor in found.values()]
    gradients = torch.autograd.grad(torch.stack(losses).sum(), list(arguments.values()))
    found |= {f"gradient of {name}": gradient for name, gradient in zip(arguments, gradients, strict=True)}
    return {name: tensor.detach().cpu() for name, tensor in found.items()}


def disagreements(shape: Shape, kind: Kind, device: str) -> list[str]:
    """List the results in which the engines differ by more than rounding."""
    want, have = results(shape, "reference", kind, device), results(shape, "fused", kind)
    found = []
    for name in want:
        scale = want[name].abs().max().item()
        error = (want[name] - have[name]).abs().max().item()
        if not error <= TOLERANCE * scale:  # also where it is NaN
            found.append(f"{shape}, {kind}: {name} differs by {error:.2g}, its largest entry is {scale:.2g}")
    return found


def one_pass(arguments: dict[str, Any], kind: Kind, engine: Engine) -> Seconds:
    """Time one forward and backward pass."""
    wait = torch.cuda.synchronize if arguments["u"].is_cuda else lambda: None
    wait()
    began = time.perf_counter()
    outputs, _ = run(arguments, kind, engine)
    wait()
    middle = time.perf_counter()
    outputs.sum().backward()
    wait()
    end = time.perf_counter()
    for tensor in arguments.values():
        tensor.grad = None
    return Seconds(middle - began, end - middle)


def median(passes: list[Seconds], part: Callable[[Seconds], float]) -> float:
    """Return the median of one part of the passes."""
    return statistics.median(part(seconds) for seconds in passes)


def rested_pass(arguments: dict[str, Any], kind: Kind, engine: Engine, threads: int) -> Seconds:
    """Time one pass with the threads that suit the engine."""
    torch.set_num_threads(threads if engine == "reference" else 1)
    # PyTorch's threads keep looking for work for some milliseconds and would slow down other threads.
    time.sleep(0.02)
    return one_pass(arguments, kind, engine)


def time_shape(shape: Shape, repeats: int, threads: int, device: str) -> str:
    """Return a row of the table; the engines alternate ``repeats`` times."""
    short, whole = problem(shape._replace(steps=2)), problem(shape)
    one_pass(short, HEBB, "fused")  # compile, or load from the cache
    one_pass(on(device, short), HEBB, "reference")
    there = on(device, whole)
    pairs = [
        (rested_pass(there, HEBB, "reference", threads), rested_pass(whole, HEBB, "fused", threads))
        for _ in range(repeats)
    ]
    reference, fused = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ratio = statistics.median(slow.total / fast.total for slow, fast in pairs)
    cells = [str(shape)]
    for passes in (reference, fused):
        cells.append(f"{median(passes, lambda s: s.total):.3f}")
        cells.append(f"{median(passes, lambda s: s.forward):.3f} + {median(passes, lambda s: s.backward):.3f}")
    return f"| {' | '.join(cells)} | {ratio:.1f} |"


def time_kinds(shape: Shape, repeats: int, threads: int) -> Iterator[str]:
    """Yield a row of the table for each kind of network; all take turns with clip, the first of them."""
    problems = {kind: problem(shape, kind) for kind in KINDS}
    fused: dict[Kind, list[Seconds]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        one_pass(problem(shape._replace(steps=2), kind), kind, "fused")
    for _ in range(2 * repeats):
        for kind, arguments in problems.items():
            fused[kind].append(rested_pass(arguments, kind, "fused", threads))
    for kind, arguments in problems.items():
        reference = rested_pass(arguments, kind, "reference", threads).total
        seconds = median(fused[kind], lambda s: s.total)
        against = statistics.median(
            mine.total / clip.total for mine, clip in zip(fused[kind], fused[CLIP], strict=True)
        )
        yield f"| {shape} | {kind} | {seconds:.3f} | {against:.2f} | {reference:.3f} | {reference / seconds:.1f} |"


def extra_mebibytes(shape: Shape, kind: Kind, engine: Engine) -> float:
    """Return what one pass adds to this process's peak memory, without its arguments and the loaded engine."""
    one_pass(problem(Shape(1, 16, 2), kind), kind, engine)
    arguments = problem(shape, kind)
    before = peak_mebibytes()
    one_pass(arguments, kind, engine)
    return peak_mebibytes() - before


def peak_mebibytes() -> float:
    """Return this process's peak memory so far."""
    try:
        with open("/proc/self/status") as lines:  # getrusage's peak would begin with that of the parent process
            return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in, in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def extra_mebibytes_in_fresh_process(kind: Kind, engine: Engine, threads: int) -> float:
    """Return ``extra_mebibytes`` at MEMORY_SHAPE from a fresh process, because a process's peak never falls."""
    measured = f"{engine}:{(HEBB, *KINDS).index(kind)}"
    command = [sys.executable, __file__, "--memory-of", measured, "--threads", str(threads)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def cpu_name() -> str:
    """Return the processor's name as the system reports it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one timing of each shape, no memory")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each engine at each shape (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of both engines")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the reference engine")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats must be at least 1")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU here")
    torch.set_num_threads(options.threads)
    set_num_threads(options.threads)
    if options.memory_of:
        engine, kind = options.memory_of.split(":")
        print(extra_mebibytes(MEMORY_SHAPE, (HEBB, *KINDS)[int(kind)], engine))
        return 0

    kinds = (HEBB,) if options.quick else tuple(dict.fromkeys([*map(Kind, RULES), *KINDS]))  # hebb is timed
    wrong = [
        line
        for shape in SHAPES
        for kind in kinds
        for line in disagreements(shape._replace(steps=min(shape.steps, CHECK_STEPS)), kind, options.device)
    ]
    if wrong:
        print("The engines disagree, so no speed is shown:", *wrong, sep="\n  ", file=sys.stderr)
        return 1

    gpu = f"; the reference engine on {torch.cuda.get_device_name()}" if options.device == "cuda" else ""
    print(
        f"{cpu_name()}, {options.threads} threads{gpu}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numba {numba.__version__}, plastic-rl {plastic_rl.__version__}\n"
        f"float32. Both engines agree at all shapes ({CHECK_STEPS} steps; {'; '.join(map(str, kinds))}): checked\n"
    )
    print("| shape | reference: s | forward + backward | fused: s | forward + backward | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for shape in SHAPES:
        print(time_shape(shape, 1 if options.quick else options.repeats, options.threads, options.device), flush=True)
    if options.quick or options.device != "cpu":
        return 0
    print("\n| shape | kind | fused: s | times clip | reference: s | ratio |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for shape in KIND_SHAPES:
        for row in time_kinds(shape, options.repeats, options.threads):
            print(row, flush=True)
    print(f"\nPeak extra memory at {MEMORY_SHAPE}:")
    for kind in (HEBB, KINDS[2], KINDS[3], KINDS[4]):
        fused = extra_mebibytes_in_fresh_process(kind, "fused", options.threads)
        reference = extra_mebibytes_in_fresh_process(kind, "reference", options.threads)
        print(f"{kind}: reference {reference:,.0f} MiB, fused {fused:,.0f} MiB ({fused / reference:.1%})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

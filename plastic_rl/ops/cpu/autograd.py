"""The fused engine: from tensors to the kernels' arrays and back, and what autograd needs to know.

The mathematics is in ``kernels.py``; plastic_rl/ops/README.md derives it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.arguments import Arguments
from plastic_rl.ops.cpu import kernels
from plastic_rl.ops.cpu.blocks import Plan
from plastic_rl.ops.cpu.compilation import announce
from plastic_rl.ops.cpu.kernels import Sequence
from plastic_rl.ops.cpu.memory import empty, zeros
from plastic_rl.ops.cpu.vectors import BYTES
from plastic_rl.ops.modulation import Modulation
from plastic_rl.rules import Clip, Hebb

announce()


class Problem(NamedTuple):
    """What the forward and the backward kernel both take; post neurons are padded to the plan's width m.

    The arrays that ``kernels.Sequence`` names are described there.
    """

    plan: Plan
    kernels: kernels.Kernels
    parts: int  # traces of a connection: 2 with an eligibility trace, else 1
    decays: bool  # whether held steps only let the trace decay, as hebb does without modulation
    w: np.ndarray
    a: np.ndarray
    gates: np.ndarray
    law: kernels.Law
    relu: bool
    modulator: kernels.Modulator
    clamp: np.ndarray
    episode_start: np.ndarray
    x: np.ndarray
    post: np.ndarray
    rates: np.ndarray
    signals: np.ndarray
    cells: np.ndarray
    shown: np.ndarray
    z: np.ndarray  # (2, C, B, m or more, of an LSTM 4 m or more): scratch for shares in net inputs
    snapshots: np.ndarray  # (S, B, parts * rows, m)

    @property
    def outputs(self) -> Tensor:
        """The outputs ``(T, B, N)``, over the same memory."""
        return torch.from_numpy(self.x[1:, :, : self.plan.n])

    @property
    def sequence(self) -> Sequence:
        """What both kernels read, and the activity, as they take it."""
        return Sequence(*(getattr(self, name) for name in Sequence._fields))

    def pad_traces(self, *traces: Tensor | None) -> np.ndarray:
        """Return copies of traces ``(B, N, N)``, padded, one after the other ``(B, parts * rows, m)``; None: zeros."""
        plan, n = self.plan, self.plan.n
        padded = empty((plan.batch, self.parts, plan.rows, plan.width), self.w.dtype)
        for part, trace in enumerate(traces[: self.parts]):
            padded[:, part, :n, :n] = 0 if trace is None else trace.detach().numpy()
        padded[..., :n, n:] = 0
        padded[..., n:, :] = 0
        return padded.reshape(plan.batch, -1, plan.width)

    def unpad_traces(self, array: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Return the trace and the eligibility trace, if there is one, over the same memory."""
        plan = self.plan
        parts = array.reshape(plan.batch, self.parts, plan.rows, plan.width)
        trace, *eligibility = (plan.unpad_matrix(parts[:, part]) for part in range(self.parts))
        return trace, eligibility[0] if eligibility else None

    def cell(self, t: int) -> Tensor | None:
        """Return a copy of an LSTM's cells before step t; None if it is no LSTM."""
        return torch.from_numpy(self.cells[t, :, : self.plan.n].copy()) if self.cells.size else None


# The arrays that grow with the problem.
_ARRAYS = tuple(name for name, kind in Problem.__annotations__.items() if kind is np.ndarray)


class Solved(NamedTuple):
    """A problem that the forward kernel has solved, and its last traces, padded."""

    problem: Problem
    traces: np.ndarray


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def prepare(a: Arguments, differentiable: bool) -> Problem:
    """Return the kernels' arrays for a sequence; ``differentiable`` makes room for what backward needs."""
    hidden, cell = a.state["hidden"], a.state.get("cell")
    (steps, batch, _), n = a.u.shape, hidden.shape[1]
    decays = isinstance(a.rule, Hebb) and not a.modulated
    runs = np.zeros(steps, np.int64) if a.clamp is None else _runs(a.clamp.detach(), a.episode_start, decays)
    plan = Plan(steps, batch, n, int(np.count_nonzero(runs)))
    weights, lstm, parts = plan.pad_matrix(a.w), a.gates is not None, 2 if a.retroactive else 1
    real, width = weights.dtype, plan.width

    def room(*shape: int, needed: bool) -> np.ndarray:
        return empty(shape, real) if needed else np.empty((0,) * len(shape), real)

    x = empty((steps + 1, batch, width), real)
    x[0] = plan.pad(hidden)
    rates = room(steps, batch, width, needed=a.modulated) if a.rates is None else plan.pad(a.rates)
    cells = room(steps + 1, batch, width, needed=lstm)
    if cell is not None:
        cells[0] = plan.pad(cell)
    left = (1 - a.eta.item()) ** np.arange(steps + 1)
    bound = a.rule.bound if isinstance(a.rule, Clip) else 0.0  # the other rules have none
    snapshots = (steps - 1) // plan.every if differentiable else 0
    apart = plan.far(4 * width) if lstm else plan.apart
    return Problem(
        plan,
        kernels.build(a.rule.name, a.modulated, a.retroactive, lstm),
        parts,
        decays,
        weights,
        plan.pad_matrix(a.alpha.expand(n, n)),
        np.empty((0, 0), real) if a.gates is None else plan.pad_gates(a.gates),
        kernels.Law(real.type(a.eta.item()), real.type(bound), runs, np.array([left, 1 - left], real)),
        a.nonlinearity == "relu",
        _modulator(a.modulation, plan, real),
        np.empty((0, 0, 0), real) if a.clamp is None else _array(a.clamp),
        np.zeros((steps, batch), bool) if a.episode_start is None else _array(a.episode_start),
        x,
        empty(x.shape, real) if lstm else x,
        rates,
        room(steps, batch, needed=a.modulation is not None),
        cells,
        room(steps, batch, 3 * width, needed=lstm),
        empty((2, plan.chunks, batch, apart), real),
        empty((snapshots, batch, parts * plan.rows, width), real),
    )


def _modulator(modulation: Modulation | None, plan: Plan, real: np.dtype) -> kernels.Modulator:
    if modulation is None:
        nothing = np.empty(0, real)
        return kernels.Modulator(nothing, real.type(0), nothing, nothing, False)
    weight, bias, gain, offset = modulation.weight, modulation.bias, modulation.gain, modulation.offset
    assert weight is not None
    assert bias is not None
    return kernels.Modulator(
        plan.pad(weight),
        real.type(bias.item()),
        plan.pad(torch.ones_like(weight) if gain is None else gain),
        plan.pad(torch.zeros_like(weight) if offset is None else offset),
        modulation.nonlinearity == "sigmoid",
    )


def _runs(clamp: Tensor, episode_start: Tensor | None, decays: bool) -> np.ndarray:
    """Return, for each step, how many equal updates begin with it; 0 where it is not held.

    A step is held if every neuron of every episode is clamped and no episode begins. Where the same values held the
    step before it, hebb's update only takes the trace nearer to the outer product of these values.
    """
    held = ~clamp.isnan().flatten(1).any(1)
    if episode_start is not None:
        held &= ~episode_start.any(1)
    runs = held.numpy().astype(np.int64)
    if decays:
        same = runs[1:] & (clamp[1:] == clamp[:-1]).flatten(1).all(1).numpy()
        for t in reversed(range(1, len(same))):
            if same[t - 1] and same[t]:
                runs[t] += runs[t + 1]
    return runs


def _forward(p: Problem, u: np.ndarray, h: np.ndarray) -> None:
    """Fill the problem's activity and snapshots, and advance ``h`` from the first traces to the last."""

    sequence, plan = p.sequence, p.plan

    def steps(_: None, block: kernels.Block, at: int, meeting: kernels.Meeting) -> int:
        return p.kernels.forward(sequence, u, p.z, h, p.snapshots, plan.every, at, plan.steps, block, meeting)

    plan.run(steps)


# The tensors among the arguments of a sequence, and the gradients of those that have one.
_TENSORS = (
    "u", "w", "alpha", "eta", "hidden", "cell", "trace", "eligibility", "gates", "rates",
    "weight", "bias", "gain", "offset", "clamp",
)  # fmt: skip
_STATE = ("hidden", "cell", "trace", "eligibility")


def tensors_of(a: Arguments) -> list[Tensor | None]:
    """Return the tensors of a sequence in the order of ``_TENSORS``."""
    modulation = a.modulation or Modulation()
    found = {**a._asdict(), **modulation._asdict(), **{name: a.state.get(name) for name in _STATE}}
    return [found[name] for name in _TENSORS]


def _backward(
    p: Problem,
    traces: np.ndarray,
    goutputs: np.ndarray,
    gtraces: np.ndarray | None,
    gcell: Tensor | None,
    needs_clamp: bool,
) -> dict[str, Tensor]:
    """Return all gradients by name, given those of the outputs, of the last cells and, unless None, the last traces.

    Traces are padded. Unless the clamp's gradient is needed, held steps are skipped, and the clamp's gradient is wrong
    there.
    """
    plan, x, lstm = p.plan, p.x, p.gates.size > 0
    steps, batch, n, rows, m, real = plan.steps, plan.batch, plan.n, plan.rows, plan.width, x.dtype
    law = p.law if p.decays and not needs_clamp else p.law._replace(runs=np.zeros_like(p.law.runs))
    gz, gclamp = empty((steps, batch, m), real), np.empty_like(p.clamp)
    g = zeros(traces.shape, real) if gtraces is None else gtraces
    galpha, gw = shares = zeros((2, plan.groups, rows, m), real)
    ggates = zeros((plan.groups, *p.gates.shape), real)
    geta, ghidden = np.zeros((batch, plan.chunks)), empty((batch, m), real)
    gshown, grates, gsignals = empty(p.shown.shape, real), empty(p.rates.shape, real), empty(p.signals.shape, real)
    gcells = zeros((2, batch, m), real) if lstm else p.cells
    if gcell is not None:
        gcells[steps % 2, :, :n] = gcell.numpy()
    post, decay = empty((2, 2, plan.chunks, batch, plan.apart), real)
    pre, into_pre = zeros((batch, plan.apart), real), zeros((2, batch, plan.apart), real)
    sums = kernels.Sums(post, decay, pre, empty((batch, plan.chunks, BYTES // x.itemsize), real), into_pre)
    sequence = p.sequence._replace(law=law)

    def segment() -> np.ndarray:
        return empty((-(-plan.every // plan.stride), plan.group, *traces.shape[1:]), real)

    def block_steps(segment: np.ndarray, block: kernels.Block, at: int, meeting: kernels.Meeting) -> int:
        remade = kernels.Traces(traces, p.snapshots, plan.every, segment, plan.stride)
        k = block.b0 // plan.group
        gradients = kernels.Gradients(
            goutputs, gz, gshown, gclamp, g, gw[k], galpha[k], ggates[k], geta, ghidden, grates, gsignals, gcells
        )
        return p.kernels.backward(sequence, remade, gradients, gtraces is not None, sums, at, block, meeting)

    plan.run(block_steps, segment)
    totals = shares.sum(1, out=empty((2, rows, m), real))
    gtrace, geligibility = p.unpad_traces(g)
    gradients = {
        "u": torch.from_numpy(gz[..., :n]),
        "w": plan.unpad_matrix(totals[1]),
        "alpha": plan.unpad_matrix(totals[0]),
        "eta": torch.tensor(geta.sum()),
        "hidden": torch.from_numpy(ghidden[:, :n]),
        "trace": gtrace,
        "clamp": torch.from_numpy(gclamp),
    }
    if geligibility is not None:
        gradients["eligibility"] = geligibility
    if lstm:
        i, f, o = (torch.from_numpy(gshown[..., k * m : k * m + n]) for k in range(3))
        gradients["u"] = torch.cat([i, f, gradients["u"], o], -1)
        gradients["gates"] = plan.unpad_gates(ggates.sum(0))
        gradients["cell"] = torch.from_numpy(gcells[0, :, :n])
    if p.rates.size:
        gradients["rates"] = torch.from_numpy(grates[..., :n])
        gradients |= _of_modulator(p, grates, gsignals)
    return gradients


def _of_modulator(p: Problem, grates: np.ndarray, gsignals: np.ndarray) -> dict[str, Tensor]:
    """Return the gradients of the modulator, from those of its rates and of its net input."""
    if not p.signals.size:
        return {}
    n = p.plan.n
    weight, gain = np.einsum("tb,tbj->j", gsignals, p.x[1:]), np.einsum("tb,tbj->j", p.signals, grates)
    sums = {"weight": weight[:n], "bias": gsignals.sum(), "gain": gain[:n], "offset": grates.sum((0, 1))[:n]}
    return {name: torch.as_tensor(total) for name, total in sums.items()}


class _Sequence(torch.autograd.Function):
    """A sequence whose gradients the backward kernel computes."""

    @staticmethod
    def forward(
        ctx: Any, a: Arguments, solved: Solved | None, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Run the forward kernel, unless the sequence has been ``solved``; then return its last traces themselves.

        Returns:
            The outputs, and the last trace, eligibility trace and cells; None for what there is not.
        """
        ctx.set_materialize_grads(False)
        if solved is None:
            problem = prepare(a, True)
            last = problem.pad_traces(a.state["trace"], a.state.get("eligibility"))
            _forward(problem, _array(a.u), last)
        else:
            problem, last = solved
        # Most of the tensors share memory with the problem: saving them lets autograd notice a change in place. The
        # problem's arrays are saved so that they are freed after backward.
        outputs = problem.outputs.contiguous()
        named = dict(zip(_TENSORS, tensors, strict=True))
        ctx.shapes = {name: tensor.shape for name, tensor in named.items() if tensor is not None}
        kept = (named["eta"], named["alpha"], named["trace"], named["eligibility"], named["clamp"], a.episode_start)
        ctx.save_for_backward(*kept, outputs, *(torch.from_numpy(getattr(problem, name)) for name in _ARRAYS))
        nothing: dict[str, Any] = dict.fromkeys(_ARRAYS)
        ctx.problem = problem._replace(**nothing)
        trace, eligibility = problem.unpad_traces(last)
        if solved is None:
            trace = trace.contiguous()
            eligibility = None if eligibility is None else eligibility.contiguous()
        return outputs, trace, eligibility, problem.cell(-1)

    @staticmethod
    def backward(
        ctx: Any,
        goutputs: Tensor | None,
        gtrace: Tensor | None,
        geligibility: Tensor | None = None,
        gcell: Tensor | None = None,
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fused engine gives first derivatives only; for derivatives of derivatives use engine='reference'"
            )
        _, _, trace, eligibility, _, _, outputs, *arrays = ctx.saved_tensors
        needed = dict(zip(_TENSORS, ctx.needs_input_grad[2:], strict=True))
        goutputs = torch.zeros_like(outputs) if goutputs is None else goutputs
        problem = ctx.problem._replace(**{name: t.numpy() for name, t in zip(_ARRAYS, arrays, strict=True)})
        plan = problem.plan
        g = _backward(
            problem,
            _array(trace)
            if eligibility is None and plan.rows == plan.width == plan.n
            else problem.pad_traces(trace, eligibility),
            _array(goutputs),
            None if gtrace is None and geligibility is None else problem.pad_traces(gtrace, geligibility),
            gcell,
            needed["clamp"],
        )
        return (
            None,
            None,
            *(
                g[name].to(outputs.dtype).sum_to_size(ctx.shapes[name]) if needed[name] and name in g else None
                for name in _TENSORS
            ),
        )


def replayed(a: Arguments, solved: Solved) -> Tensor:
    """Return the outputs of a sequence that the kernels have solved, differentiable in the arguments."""
    outputs, *_ = _Sequence.apply(a, solved, *tensors_of(a))
    return outputs


def sequence(a: Arguments) -> tuple[Tensor, dict[str, Tensor]]:
    """Run eq. 1 and a rule over a whole sequence with the kernels.

    Returns:
        The outputs (T, B, N) and the last state, by name.
    """
    if torch.compiler.is_compiling():  # which cannot trace the kernels: the graph breaks here and continues after it
        return torch.compiler.disable(sequence)(a)
    tensors = tensors_of(a)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        outputs, trace, eligibility, cell = _Sequence.apply(a, None, *tensors)
    else:
        problem = prepare(a, False)
        h = problem.pad_traces(a.state["trace"], a.state.get("eligibility"))
        _forward(problem, _array(a.u), h)
        outputs = problem.outputs.contiguous()
        trace, eligibility = (None if t is None else t.contiguous() for t in problem.unpad_traces(h))
        cell = problem.cell(-1)
    last = {"hidden": outputs[-1].clone(), "cell": cell, "trace": trace, "eligibility": eligibility}
    return outputs, {name: part for name, part in last.items() if part is not None}

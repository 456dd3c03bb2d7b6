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
from plastic_rl.rules import Clip, Hebb, TraceRule

announce()


class Problem(NamedTuple):
    """What the forward and the backward kernel both take; post neurons are padded to the plan's width m."""

    plan: Plan
    rule: TraceRule
    kernels: kernels.Kernels
    w: np.ndarray  # (N, m)
    alpha: np.ndarray  # (N, m)
    law: kernels.Law
    relu: bool
    clamp: np.ndarray  # (T, B, N), or empty
    episode_start: np.ndarray  # (T, B)
    x: np.ndarray  # (T + 1, B, m): the initial hidden state, then the outputs
    z: np.ndarray  # (2, C, B, m or more): scratch for shares in net inputs
    snapshots: np.ndarray  # (S, B, N, m)

    @property
    def outputs(self) -> Tensor:
        """The outputs ``(T, B, N)``, over the same memory."""
        return torch.from_numpy(self.x[1:, :, : self.plan.n])

    @property
    def sequence(self) -> Sequence:
        """What both kernels read, and the activity, as they take it."""
        return Sequence(self.w, self.alpha, self.law, self.relu, self.clamp, self.episode_start, self.x)


_ARRAYS = ("w", "alpha", "clamp", "episode_start", "x", "z", "snapshots")  # the arrays that grow with the problem


class Solved(NamedTuple):
    """A problem that the forward kernel has solved, and its last trace, padded."""

    problem: Problem
    trace: np.ndarray


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def prepare(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    rule: TraceRule,
    nonlinearity: str,
    clamp: Tensor | None,
    episode_start: Tensor | None,
    differentiable: bool,
) -> Problem:
    """Return the kernels' arrays for a sequence; ``differentiable`` makes room for what backward needs."""
    steps, batch, n = u.shape
    runs = np.zeros(steps, np.int64) if clamp is None else _runs(clamp.detach(), episode_start, rule)
    plan = Plan(steps, batch, n, int(np.count_nonzero(runs)))
    weights = plan.pad_matrix(w)
    real = weights.dtype.type
    x = empty((steps + 1, batch, plan.width), weights.dtype)
    x[0] = plan.pad(hidden)
    snapshots = (steps - 1) // plan.every if differentiable else 0
    left = (1 - eta.item()) ** np.arange(steps + 1)
    bound = rule.bound if isinstance(rule, Clip) else 0.0  # the other rules have none
    return Problem(
        plan,
        rule,
        kernels.build(rule.name),
        weights,
        plan.pad_matrix(alpha.expand(n, n)),
        kernels.Law(real(eta.item()), real(bound), runs, np.array([left, 1 - left], real)),
        nonlinearity == "relu",
        np.empty((0, 0, 0), weights.dtype) if clamp is None else _array(clamp),
        np.zeros((steps, batch), bool) if episode_start is None else _array(episode_start),
        x,
        empty((2, plan.chunks, batch, plan.apart), weights.dtype),
        empty((snapshots, batch, plan.rows, plan.width), weights.dtype),
    )


def _runs(clamp: Tensor, episode_start: Tensor | None, rule: TraceRule) -> np.ndarray:
    """Return, for each step, how many equal updates begin with it; 0 where it is not held.

    A step is held if every neuron of every episode is clamped and no episode begins. Where the same values held the
    step before it, hebb's update only takes the trace nearer to the outer product of these values.
    """
    held = ~clamp.isnan().flatten(1).any(1)
    if episode_start is not None:
        held &= ~episode_start.any(1)
    runs = held.numpy().astype(np.int64)
    if isinstance(rule, Hebb):
        same = runs[1:] & (clamp[1:] == clamp[:-1]).flatten(1).all(1).numpy()
        for t in reversed(range(1, len(same))):
            if same[t - 1] and same[t]:
                runs[t] += runs[t + 1]
    return runs


def _forward(p: Problem, u: np.ndarray, h: np.ndarray) -> None:
    """Fill ``p.x[1:]`` and ``p.snapshots``, and advance ``h`` (B, N, m) from the first trace to the last."""

    sequence, plan = p.sequence, p.plan

    def steps(_: None, block: kernels.Block, at: int, meeting: kernels.Meeting) -> int:
        return p.kernels.forward(sequence, u, p.z, h, p.snapshots, plan.every, at, plan.steps, block, meeting)

    plan.run(steps)


class _Gradients(NamedTuple):
    """The gradients of a sequence's arguments."""

    u: Tensor
    w: Tensor
    alpha: Tensor
    eta: float
    hidden: Tensor
    trace: Tensor
    clamp: Tensor


def _backward(
    p: Problem, trace: np.ndarray, goutputs: np.ndarray, gtrace: np.ndarray | None, needs_clamp: bool
) -> _Gradients:
    """Return all gradients, given those of the outputs and, unless None, of the last trace; traces are padded.

    Unless the clamp's gradient is needed, held steps are skipped, and the clamp's gradient is wrong there.
    """
    plan, x = p.plan, p.x
    n, rows, m, real = plan.n, plan.rows, plan.width, x.dtype
    law = p.law if isinstance(p.rule, Hebb) and not needs_clamp else p.law._replace(runs=np.zeros_like(p.law.runs))
    gz = empty((plan.steps, plan.batch, m), real)
    gclamp = np.empty_like(p.clamp)
    g = zeros(trace.shape, real) if gtrace is None else gtrace
    galpha, gw = shares = zeros((2, plan.groups, rows, m), real)
    geta = np.zeros((plan.batch, plan.chunks))
    ghidden = empty((plan.batch, m), real)
    post, decay = empty((2, 2, plan.chunks, plan.batch, plan.apart), real)
    pre, into_pre = zeros((plan.batch, plan.apart), real), zeros((2, plan.batch, plan.apart), real)
    sums = kernels.Sums(post, decay, pre, empty((plan.batch, plan.chunks, BYTES // x.itemsize), real), into_pre)
    sequence = p.sequence._replace(law=law)

    def segment() -> np.ndarray:
        return empty((-(-plan.every // plan.stride), plan.group, rows, m), real)

    def steps(segment: np.ndarray, block: kernels.Block, at: int, meeting: kernels.Meeting) -> int:
        traces = kernels.Traces(trace, p.snapshots, plan.every, segment, plan.stride)
        group = block.b0 // plan.group
        gradients = kernels.Gradients(goutputs, gz, gclamp, g, gw[group], galpha[group], geta, ghidden)
        return p.kernels.backward(sequence, traces, gradients, gtrace is not None, sums, at, block, meeting)

    plan.run(steps, segment)
    totals = shares.sum(1, out=empty((2, rows, m), real))
    return _Gradients(
        torch.from_numpy(gz[..., :n]),
        plan.unpad_matrix(totals[1]),
        plan.unpad_matrix(totals[0]),
        float(geta.sum()),
        torch.from_numpy(ghidden[:, :n]),
        plan.unpad_matrix(g),
        torch.from_numpy(gclamp),
    )


class _Sequence(torch.autograd.Function):
    """A sequence whose gradients the backward kernel computes."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        w: Tensor,
        alpha: Tensor,
        eta: Tensor,
        hidden: Tensor,
        trace: Tensor,
        clamp: Tensor | None,
        episode_start: Tensor | None,
        rule: TraceRule,
        nonlinearity: str,
        solved: Solved | None,
    ) -> tuple[Tensor, Tensor]:
        """Run the forward kernel, unless the sequence has been ``solved``; then return that last trace itself."""
        ctx.set_materialize_grads(False)
        if solved is None:
            problem = prepare(u, w, alpha, eta, hidden, rule, nonlinearity, clamp, episode_start, True)
            last = problem.plan.pad_matrix(trace)
            _forward(problem, _array(u), last)
        else:
            problem, last = solved.problem, solved.trace
        # Most of the tensors share memory with the problem: saving them lets autograd notice a change in place. The
        # problem's arrays are saved so that they are freed after backward.
        outputs = problem.outputs.contiguous()
        arrays = [torch.from_numpy(getattr(problem, name)) for name in _ARRAYS]
        ctx.save_for_backward(alpha, eta, trace, clamp, episode_start, outputs, *arrays)
        nothing: dict[str, Any] = dict.fromkeys(_ARRAYS)
        ctx.problem = problem._replace(**nothing)
        trace = problem.plan.unpad_matrix(last)
        return outputs, trace.contiguous() if solved is None else trace

    @staticmethod
    def backward(ctx: Any, goutputs: Tensor | None, gtrace: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fused engine gives first derivatives only; for derivatives of derivatives use engine='reference'"
            )
        alpha, eta, trace, _, _, outputs, *arrays = ctx.saved_tensors
        needs_clamp = ctx.needs_input_grad[6]
        goutputs = torch.zeros_like(outputs) if goutputs is None else goutputs
        problem = ctx.problem._replace(**{name: t.numpy() for name, t in zip(_ARRAYS, arrays, strict=True)})
        plan = problem.plan
        g = _backward(
            problem,
            _array(trace) if plan.rows == plan.width == plan.n else plan.pad_matrix(trace),
            _array(goutputs),
            None if gtrace is None else plan.pad_matrix(gtrace),
            needs_clamp,
        )
        return (
            g.u,
            g.w,
            g.alpha.sum_to_size(alpha.shape),
            torch.full_like(eta, g.eta),
            g.hidden,
            g.trace,
            g.clamp if needs_clamp else None,
            *[None] * 4,  # episode_start, rule, nonlinearity, solved
        )


def replayed(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    trace: Tensor,
    episode_start: Tensor,
    solved: Solved,
) -> Tensor:
    """Return the outputs of a sequence that the kernels have solved, differentiable in the arguments."""
    rule, nonlinearity = solved.problem.rule, "relu" if solved.problem.relu else "tanh"
    outputs, _ = _Sequence.apply(u, w, alpha, eta, hidden, trace, None, episode_start, rule, nonlinearity, solved)
    return outputs


def sequence(a: Arguments) -> tuple[Tensor, dict[str, Tensor]]:
    """Run eq. 1 and a rule over a whole sequence with the kernels.

    Returns:
        The outputs (T, B, N) and the last state, by name.
    """
    if torch.compiler.is_compiling():  # which cannot trace the kernels: the graph breaks here and continues after it
        return torch.compiler.disable(sequence)(a)
    u, w, alpha, eta, hidden, trace = a.u, a.w, a.alpha, a.eta, a.state["hidden"], a.state["trace"]
    rule, nonlinearity, clamp, episode_start = a.rule, a.nonlinearity, a.clamp, a.episode_start
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (u, w, alpha, eta, hidden, trace, clamp)
    ):
        outputs, last = _Sequence.apply(u, w, alpha, eta, hidden, trace, clamp, episode_start, rule, nonlinearity, None)
        return outputs, {"hidden": outputs[-1].clone(), "trace": last}
    problem = prepare(u, w, alpha, eta, hidden, rule, nonlinearity, clamp, episode_start, False)
    h = problem.plan.pad_matrix(trace)
    _forward(problem, _array(u), h)
    outputs = problem.outputs.contiguous()
    return outputs, {"hidden": outputs[-1].clone(), "trace": problem.plan.unpad_matrix(h).contiguous()}

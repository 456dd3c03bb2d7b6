"""The fused CPU engine: one pass over the trace per step, forward and backward, on all cores.

This module turns tensors into arrays, deals blocks of work to threads and tells autograd about the result. The
mathematics is in ``kernels_cpu.py``, its derivation in README.md.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numba.core.event
import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.cpu import kernels as kernels_cpu
from plastic_rl.ops.cpu.memory import empty, zeros
from plastic_rl.ops.cpu.threads import get_num_threads
from plastic_rl.ops.cpu.vectors import BYTES
from plastic_rl.rules import get_rule

APART = 32  # sums of several episodes lie so far apart that no two threads write to one cache line
CHUNK = 256  # rows in a block of a wide network
MAX_GROUP = 4  # episodes that share a pass over w and alpha ...
GROUP_SIZE = 1 << 16  # ... while their traces have at most this many entries, so that all stays in a core's cache
WIDTH = BYTES // 4  # the dimension of post neurons is padded to a multiple of this: whole vectors
HELD_STRIDE = 16  # kernels_cpu.STRIDE where most steps are held, and few traces are read
STEP_SMALL = 1 << 20  # connections x episodes below which one step is not worth waking a second thread
SMALL = 1 << 16  # connections x episodes x steps below which a second thread costs more than it saves

_ALONE = np.zeros(1, np.int64)  # the meeting of a thread that meets no other


class _Announcer(numba.core.event.Listener):
    """Says, once a process, that kernels are being compiled: the first use takes some seconds."""

    said = False

    def on_start(self, event: Any) -> None:
        dispatcher = event.data.get("dispatcher")
        if not self.said and getattr(dispatcher, "__module__", None) == kernels_cpu.__name__:
            type(self).said = True
            folder = dispatcher.stats.cache_path
            kept = f"kept in {folder}" if folder else "not kept: no folder for Numba's cache is writable"
            print(f"plastic_rl: compiling the CPU kernels, some seconds ({kept})", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        pass


numba.core.event.register("numba:compile", _Announcer())


@lru_cache
def _pool(pid: int, workers: int) -> tuple[ThreadPoolExecutor, threading.Lock]:
    """The helper threads, and a lock for handing out work; keyed by process, for threads do not survive a fork."""
    return ThreadPoolExecutor(workers, thread_name_prefix="plastic_rl"), threading.Lock()


def _share_out(task: Callable[[int, int], None], items: int, threads: int) -> None:
    """Call ``task(first, last)`` over contiguous shares of the items, one share per thread."""
    threads = min(threads, items)
    if threads <= 1:
        task(0, items)
        return
    cuts = [items * k // threads for k in range(threads + 1)]
    pool, lock = _pool(os.getpid(), threads - 1)
    with lock:  # shares that wait for each other stay together in the queue, whoever else calls
        futures = [pool.submit(task, cuts[k], cuts[k + 1]) for k in range(1, threads)]
    try:
        task(0, cuts[1])
    finally:  # the arrays must outlive every thread that writes to them
        for future in futures:
            future.result()


class _Plan:
    """How a problem is cut into groups of episodes and chunks of rows: by its shape and how many steps are held.

    The sums over episodes and rows follow these cuts in a fixed order, so the number of threads decides
    which blocks run at the same time, and never a bit of the result.
    """

    def __init__(self, steps: int, batch: int, n: int, held: int = 0) -> None:
        self.steps, self.batch, self.n = steps, batch, n
        self.width = -(-n // WIDTH) * WIDTH
        self.apart = -(-n // APART) * APART
        self.rows = -(-n // kernels_cpu.ROWS) * kernels_cpu.ROWS
        self.group = max(1, min(MAX_GROUP, batch // 8, GROUP_SIZE // (n * self.width)))
        self.groups = -(-batch // self.group)
        self.chunk = CHUNK if n >= 2 * CHUNK else self.rows
        self.chunks = -(-self.rows // self.chunk)
        self.stride = HELD_STRIDE if 2 * held > steps else kernels_cpu.STRIDE
        self.every = math.isqrt(self.stride * steps)
        self.threads = 1 if steps * batch * n * n < SMALL else get_num_threads()

    def episodes(self, group: int) -> tuple[int, int]:
        return group * self.group, min(self.batch, (group + 1) * self.group)

    def pad(self, tensor: Tensor) -> np.ndarray:
        """A copy of vectors ``(B, N)``, with the last dimension filled up with zeros."""
        array = tensor.detach().numpy()
        padded = empty((*array.shape[:-1], self.width), array.dtype)
        padded[..., : self.n] = array
        padded[..., self.n :] = 0
        return padded

    def pad_matrix(self, tensor: Tensor) -> np.ndarray:
        """A copy of matrices ``(..., N, N)``, with the last two dimensions filled up with zeros."""
        array = tensor.detach().numpy()
        padded = empty((*array.shape[:-2], self.rows, self.width), array.dtype)
        padded[..., : self.n, : self.n] = array
        padded[..., : self.n, self.n :] = 0
        padded[..., self.n :, :] = 0
        return padded

    def unpad_matrix(self, array: np.ndarray) -> Tensor:
        """The matrices without what ``pad_matrix`` added."""
        return torch.from_numpy(array[..., : self.n, : self.n])

    def run(
        self,
        steps: Callable[..., int],
        buffer: Callable[[], np.ndarray | None] = lambda: None,
    ) -> None:
        """Do every step of every block.

        Groups do not depend on each other, so each thread takes one after another through the whole sequence.
        With fewer groups than threads, the threads share the rows instead and meet at every step; and in wide
        networks, of which each core then reads a part only, as long as there are chunks for all.

        ``steps(buffer, group, at, c0, c1, meeting, parties)`` goes on from where it stood, 0 at first, and returns
        where it stands once it has waited for long, or -1 if all is done.
        """
        if self.chunks > 1 and (self.groups < self.threads or 1 < self.threads <= self.chunks):
            common, parties = buffer(), min(self.threads, self.chunks)
            for group in range(self.groups):
                meeting = np.zeros(1, np.int64)
                _share_out(partial(self._together, steps, common, group, meeting, parties), self.chunks, parties)
            return

        groups = iter(range(self.groups))  # common to all: a thread that is held up takes fewer of them

        def share(first: int, last: int) -> None:
            own = buffer()
            for group in groups:
                steps(own, group, 0, 0, self.chunks, _ALONE, 1)

        _share_out(share, min(self.groups, self.threads), self.threads)

    def _together(
        self,
        steps: Callable[..., int],
        common: np.ndarray | None,
        group: int,
        meeting: np.ndarray,
        parties: int,
        c0: int,
        c1: int,
    ) -> None:
        at = 0
        try:
            while (at := steps(common, group, at, c0, c1, meeting, parties)) >= 0:
                time.sleep(0)  # the others may need this processor
        except BaseException:
            meeting[0] = np.iinfo(np.int64).max // 2  # an interrupted thread is not to be waited for
            raise


class _Problem(NamedTuple):
    """What the forward and the backward kernel both take; post neurons padded to the plan's width m."""

    plan: _Plan
    rule: str
    kernels: kernels_cpu.Kernels
    w: np.ndarray  # (N, m)
    alpha: np.ndarray  # (N, m)
    law: kernels_cpu.Law
    relu: bool
    clamp: np.ndarray  # (T, B, N), or empty
    episode_start: np.ndarray  # (T, B)
    x: np.ndarray  # (T + 1, B, m): the initial hidden state, then the outputs
    z: np.ndarray  # (2, C, B, m or more): scratch, shares in net inputs
    snapshots: np.ndarray  # (S, B, N, m)

    @property
    def outputs(self) -> Tensor:
        return torch.from_numpy(self.x[1:, :, : self.plan.n])


_ARRAYS = ("w", "alpha", "clamp", "episode_start", "x", "z", "snapshots")  # of a problem: all that grow with it


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _problem(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    clamp: Tensor | None,
    episode_start: Tensor | None,
    rule: str,
    relu: bool,
    bound: float,
    differentiable: bool,
) -> _Problem:
    steps, batch, n = u.shape
    runs = np.zeros(steps, np.int64) if clamp is None else _runs(clamp.detach(), episode_start, rule)
    plan = _Plan(steps, batch, n, int(np.count_nonzero(runs)))
    weights = plan.pad_matrix(w)
    real = weights.dtype.type
    x = empty((steps + 1, batch, plan.width), weights.dtype)
    x[0] = plan.pad(hidden)
    snapshots = (steps - 1) // plan.every if differentiable else 0
    left = (1 - eta.item()) ** np.arange(steps + 1)
    return _Problem(
        plan,
        rule,
        kernels_cpu.build(rule),
        weights,
        plan.pad_matrix(alpha.expand(n, n)),
        kernels_cpu.Law(real(eta.item()), real(bound), runs, np.array([left, 1 - left], real)),
        relu,
        np.empty((0, 0, 0), weights.dtype) if clamp is None else _array(clamp),
        np.zeros((steps, batch), bool) if episode_start is None else _array(episode_start),
        x,
        empty((2, plan.chunks, batch, plan.apart), weights.dtype),
        empty((snapshots, batch, plan.rows, plan.width), weights.dtype),
    )


def _runs(clamp: Tensor, episode_start: Tensor | None, rule: str) -> np.ndarray:
    """Return, for each step, from how many equal updates on it is the first; 0 where it is not held.

    A step is held if every neuron of every episode is clamped and no episode begins. Where the step before it was held
    by the same values, its update by hebb only takes the trace nearer to what they make of it.
    """
    held = ~clamp.isnan().flatten(1).any(1)
    if episode_start is not None:
        held &= ~episode_start.any(1)
    runs = held.numpy().astype(np.int64)
    if rule == "hebb":
        same = runs[1:] & (clamp[1:] == clamp[:-1]).flatten(1).all(1).numpy()
        for t in reversed(range(1, len(same))):
            if same[t - 1] and same[t]:
                runs[t] += runs[t + 1]
    return runs


def _forward(p: _Problem, u: np.ndarray, h: np.ndarray) -> None:
    """Fill ``p.x[1:]`` and ``p.snapshots``, and turn ``h`` (B, N, m) from the first trace into the last."""

    def steps(_: None, group: int, at: int, c0: int, c1: int, meeting: np.ndarray, parties: int) -> int:
        return p.kernels.forward(
            u, p.w, p.alpha, p.law, p.relu, p.clamp, p.episode_start, p.x, p.z, h, p.snapshots,
            p.plan.every, at, p.plan.steps, *p.plan.episodes(group), p.plan.chunk, c0, c1, meeting, parties,
        )  # fmt: skip

    p.plan.run(steps)


class _Gradients(NamedTuple):
    u: Tensor
    w: Tensor
    alpha: Tensor
    eta: float
    hidden: Tensor
    trace: Tensor
    clamp: Tensor


def _backward(
    p: _Problem, trace: np.ndarray, goutputs: np.ndarray, gtrace: np.ndarray | None, needs_clamp: bool
) -> _Gradients:
    """All gradients, given those of the outputs and, unless None, of the last trace; traces padded.

    Unless that of the clamp is needed, steps that are held are passed over, and it is not right there.
    """
    plan, x = p.plan, p.x
    n, rows, m, real = plan.n, plan.rows, plan.width, x.dtype
    law = p.law if p.rule == "hebb" and not needs_clamp else p.law._replace(runs=np.zeros_like(p.law.runs))
    gz = empty((plan.steps, plan.batch, m), real)
    gclamp = np.empty_like(p.clamp)
    g = zeros(trace.shape, real) if gtrace is None else gtrace
    galpha, gw = shares = zeros((2, plan.groups, rows, m), real)
    geta = np.zeros((plan.batch, plan.chunks))
    ghidden = empty((plan.batch, m), real)
    post_sum, decay_sum = empty((2, 2, plan.chunks, plan.batch, plan.apart), real)
    decayed = empty((plan.batch, plan.chunks, BYTES // x.itemsize), real)
    pre_sum = zeros((plan.batch, plan.apart), real)
    into_pre = zeros((2, plan.batch, plan.apart), real)

    def segment() -> np.ndarray:
        return empty((-(-plan.every // plan.stride), plan.group, rows, m), real)

    def steps(segment: np.ndarray, group: int, at: int, c0: int, c1: int, meeting: np.ndarray, parties: int) -> int:
        return p.kernels.backward(
            p.w, p.alpha, law, p.relu, p.clamp, p.episode_start, x, trace, p.snapshots,
            plan.every, plan.stride, goutputs, gtrace is not None, gz, gclamp, g, galpha[group], gw[group], geta,
            ghidden, segment, post_sum, decay_sum, decayed, pre_sum, into_pre,
            at, *plan.episodes(group), plan.chunk, c0, c1, meeting, parties,
        )  # fmt: skip

    plan.run(steps, segment)
    sums = shares.sum(1, out=empty((2, rows, m), real))
    return _Gradients(
        torch.from_numpy(gz[..., :n]),
        plan.unpad_matrix(sums[1]),
        plan.unpad_matrix(sums[0]),
        float(geta.sum()),
        torch.from_numpy(ghidden[:, :n]),
        plan.unpad_matrix(g),
        torch.from_numpy(gclamp),
    )


class _Sequence(torch.autograd.Function):
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
        rule: str,
        relu: bool,
        bound: float,
        done: tuple[_Problem, np.ndarray] | None,
    ) -> tuple[Tensor, Tensor]:
        """done: the problem, if it has been solved before, and its last trace, which is then given back as it is."""
        ctx.set_materialize_grads(False)
        if done is None:
            problem = _problem(u, w, alpha, eta, hidden, clamp, episode_start, rule, relu, bound, True)
            last = problem.plan.pad_matrix(trace)
            _forward(problem, _array(u), last)
        else:
            problem, last = done
        # The problem shares the memory of most of the first: saved, so that autograd sees a change in place. Its own
        # arrays are saved so that they are freed after backward.
        outputs = problem.outputs.contiguous()
        own = [torch.from_numpy(getattr(problem, name)) for name in _ARRAYS]
        ctx.save_for_backward(alpha, eta, trace, clamp, episode_start, outputs, *own)
        nothing: dict[str, Any] = dict.fromkeys(_ARRAYS)
        ctx.problem = problem._replace(**nothing)
        trace = problem.plan.unpad_matrix(last)
        return outputs, trace.contiguous() if done is None else trace

    @staticmethod
    def backward(ctx: Any, goutputs: Tensor | None, gtrace: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fused engine gives first derivatives only; for derivatives of derivatives use engine='reference'"
            )
        alpha, eta, trace, _, _, outputs, *own = ctx.saved_tensors
        goutputs = torch.zeros_like(outputs) if goutputs is None else goutputs
        problem = ctx.problem._replace(**{name: t.numpy() for name, t in zip(_ARRAYS, own, strict=True)})
        plan = problem.plan
        g = _backward(
            problem,
            _array(trace) if plan.rows == plan.width == plan.n else plan.pad_matrix(trace),
            _array(goutputs),
            None if gtrace is None else plan.pad_matrix(gtrace),
            ctx.needs_input_grad[6],
        )
        return (
            g.u,
            g.w,
            g.alpha.sum_to_size(alpha.shape),
            torch.full_like(eta, g.eta),
            g.hidden,
            g.trace,
            g.clamp if ctx.needs_input_grad[6] else None,
            *[None] * 5,
        )


def sequence(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    trace: Tensor,
    rule: str,
    nonlinearity: str,
    clamp: Tensor | None,
    episode_start: Tensor | None,
    bound: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``reference.sequence``, by the kernels."""
    if torch.compiler.is_compiling():  # which cannot look into them: the graph ends here, and goes on after it
        outside = torch.compiler.disable(sequence)
        return outside(u, w, alpha, eta, hidden, trace, rule, nonlinearity, clamp, episode_start, bound)
    relu = nonlinearity == "relu"
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (u, w, alpha, eta, hidden, trace, clamp)
    ):
        outputs, last = _Sequence.apply(u, w, alpha, eta, hidden, trace, clamp, episode_start, rule, relu, bound, None)
        return outputs, outputs[-1].clone(), last
    problem = _problem(u, w, alpha, eta, hidden, clamp, episode_start, rule, relu, bound, False)
    h = problem.plan.pad_matrix(trace)
    _forward(problem, _array(u), h)
    outputs = problem.outputs.contiguous()
    return outputs, outputs[-1].clone(), problem.plan.unpad_matrix(h).contiguous()


class Stepper:
    """A sequence computed one step at a time, without gradients: an agent must act before it sees the next input.

    The trace is updated in place and read once per step, as within ``sequence``, whose results these are. What the
    steps leave behind is what backward needs, so that ``replay`` computes nothing anew.
    """

    def __init__(
        self,
        steps: int,
        w: Tensor,
        alpha: Tensor,
        eta: Tensor,
        hidden: Tensor,
        trace: Tensor,
        rule: str,
        nonlinearity: str,
        bound: float,
    ) -> None:
        batch, n = hidden.shape
        u = torch.empty(steps, batch, n, dtype=w.dtype, device=w.device)
        self._starts = torch.zeros(steps, batch, dtype=torch.bool, device=w.device)
        relu = nonlinearity == "relu"
        self._problem = _problem(u, w, alpha, eta, hidden, None, self._starts, rule, relu, bound, True)
        self._arguments = w, alpha, eta, hidden, trace
        self._versions = self._now()
        self._rule, self._rule_name = get_rule(rule, bound), rule
        self._u = u.numpy()
        self._h = self._problem.plan.pad_matrix(trace)
        self._threads = 1 if batch * n * n < STEP_SMALL else get_num_threads()
        self.steps_done = 0

    def step(self, u: Tensor, episode_start: Tensor) -> Tensor:
        """Take net input ``(B, N)`` and booleans ``(B,)`` one step on; return the outputs ``(B, N)``."""
        p, t = self._problem, self.steps_done
        if t == p.plan.steps:
            raise IndexError(f"this stepper was made for {t} steps, and they are done")
        self._u[t] = u.detach().numpy()
        p.episode_start[t] = episode_start.numpy()

        def share(b0: int, b1: int) -> None:
            p.kernels.forward(
                self._u, p.w, p.alpha, p.law, p.relu, p.clamp, p.episode_start, p.x, p.z, self._h,
                p.snapshots, p.plan.every, 2 * t, t + 1, b0, b1, p.plan.chunk, 0, p.plan.chunks, _ALONE, 1,
            )  # fmt: skip

        _share_out(share, p.plan.batch, self._threads)
        self.steps_done += 1
        return torch.from_numpy(p.x[t + 1, :, : p.plan.n])

    @property
    def outputs(self) -> Tensor:
        """Outputs of the steps done so far ``(T, B, N)``."""
        return self._problem.outputs[: self.steps_done]

    @property
    def episode_start(self) -> Tensor:
        """Of the steps done so far ``(T, B)``."""
        return self._starts[: self.steps_done]

    def state(self) -> tuple[Tensor, Tensor]:
        """Hidden state and trace after the steps done so far; copies, but for the trace at the end."""
        p, t = self._problem, self.steps_done
        hidden = torch.from_numpy(p.x[t, :, : p.plan.n].copy())
        trace = p.plan.unpad_matrix(self._h)
        if t == 0:
            return hidden, trace.clone()
        if t == p.plan.steps:
            return hidden, trace
        # In between, the trace is one update behind: that of step t - 1 waits for step t's pass.
        before = torch.from_numpy(p.x[t - 1, :, : p.plan.n])
        before = torch.where(self._starts[t - 1, :, None], 0.0, before)
        return hidden, self._rule(trace, before, hidden, float(p.law.eta))

    @property
    def can_replay(self) -> bool:
        """Whether all steps are done, and the weights and the first state are known to be as they were."""
        same = self._versions == self._now() and None not in self._versions
        return same and self.steps_done == self._problem.plan.steps

    def _now(self) -> list[int | None]:
        """The arguments' counts of changes in place; None of inference tensors, which do not count them."""
        return [None if tensor.is_inference() else tensor._version for tensor in self._arguments]

    def replay(self, u: Tensor) -> Tensor:
        """Return the outputs of all steps, differentiable in the arguments and in their net inputs u ``(T, B, N)``."""
        p = self._problem
        return _Sequence.apply(
            u, *self._arguments, None, self._starts, self._rule_name, p.relu, float(p.law.bound), (p, self._h)
        )[0]  # fmt: skip

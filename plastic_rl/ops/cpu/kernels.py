"""Numba kernels of the fused CPU engine; README.md beside this file derives them.

The kernels release the GIL and start no threads: the caller gives each call a block of episodes (a *group*) and a
block of columns (*chunks*) to work on, so that any thread may run any block, and the bits of the result do not
depend on which one did. Threads that share the columns of one group meet before each step; one that has waited for
long returns how far it came, and is called again to go on from there.

Where an array's last dimension runs over post neurons j, it is padded with zeros to a width ``m`` of whole vectors,
and vectors run along it. Where the one before runs over pre neurons i, it is padded to ``rows``, whole ``ROWS``, and
rows are taken two or four at a time, which share what is loaded per column. ``n`` is the number of neurons. ``x``
(T + 1, B, m) holds the initial hidden state at 0 and the output of step t at t + 1: ``x[t]`` is the activity *before*
step t.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import literally

from plastic_rl.choices import RULES
from plastic_rl.ops.cpu.vectors import (
    count_up,
    keep_rolled,
    lanes_of,
    limit,
    load,
    multiply_add,
    read_count,
    splat,
    spread,
    store,
    total,
    where_within,
)

# No fast math, and so the compiler rounds as is written: a process that compiles a kernel and one that loads it from
# Numba's cache call different copies of what is not inlined, optimised once or twice, which must give the same bits.
OPTIONS: dict[str, Any] = {"error_model": "numpy"}


def _kernel(function: Any) -> Any:
    """Compile with a cache on disk; where no folder for one can be written, without."""
    try:
        return numba.njit(nogil=True, cache=True, **OPTIONS)(function)
    except RuntimeError:  # Numba found no cache locator: a read-only install and no writable home
        return numba.njit(nogil=True, **OPTIONS)(function)


_inline = numba.njit(**OPTIONS)
_inlined_sum = numba.njit(fastmath={"contract", "reassoc"}, forceinline=True, **OPTIONS)  # has no other copy
_inlined_whole = numba.njit(inline="always", **OPTIONS)

HEBB, OJA, CLIP, SOFT_CLIP = range(len(RULES))  # a rule's code is its place in the list of names
TILE = 64  # columns that are summed for all rows before the next ones
ROWS = 4  # of pre neurons that are taken at a time, at most
BLOCK = 16  # rows that one episode after another takes, while their weights are in the nearest cache
STRIDE = 3  # backward keeps every third trace of a segment in memory, and remakes those between in registers
PATIENCE = 200_000  # looks at a meeting


class Law(NamedTuple):
    """How the traces change: eta; clip's bound; and where updates are equal, which go without products.

    runs (T,): from how many equal updates on step t is the first; 0 where it is not held. fade (2, T + 1), [:, k]: what
    k updates by hebb leave of a trace, and the rest of 1.
    """

    eta: np.floating
    bound: np.floating
    runs: np.ndarray
    fade: np.ndarray


class Sequence(NamedTuple):
    """What a sequence is computed from, and the activity that comes of it."""

    w: np.ndarray  # (rows, m)
    a: np.ndarray  # (rows, m), the plasticity coefficients
    law: Law
    relu: bool
    clamp: np.ndarray  # (T, B, n), or empty
    episode_start: np.ndarray  # (T, B)
    x: np.ndarray  # (T + 1, B, m)


class Block(NamedTuple):
    """The part of the work of one call: episodes b0 to b1, and the rows of chunks c0 to c1."""

    b0: int
    b1: int
    chunk: int  # rows in a chunk
    c0: int
    c1: int


class Meeting(NamedTuple):
    """Where the threads that share a group meet: a counter of the steps that they have done, and how many they are."""

    counter: np.ndarray  # (1,) int64
    parties: int


class Traces(NamedTuple):
    """What backward remakes the traces from."""

    first: np.ndarray  # (B, rows, m), the trace before the first step
    snapshots: np.ndarray  # (S, B, rows, m), [s - 1]: the trace of step s * every - 1
    every: int
    segment: np.ndarray  # (ceil(every / stride), group, rows, m) scratch, [k]: that of ``kept_step(start, stride, k)``
    stride: int


class Gradients(NamedTuple):
    """Gradients, by what they are of; all but ``outputs`` are written by backward."""

    outputs: np.ndarray  # (T, B, n)
    u: np.ndarray  # (T, B, m)
    clamp: np.ndarray  # (T, B, n), or empty
    trace: np.ndarray  # (B, rows, m), in: of the last trace, out: of the first
    w: np.ndarray  # (rows, m), the sum of a group
    a: np.ndarray  # (rows, m), the sum of a group
    eta: np.ndarray  # (B, C) float64
    hidden: np.ndarray  # (B, m)


class Sums(NamedTuple):
    """Sums over a pass of backward, which the next step needs; [t % 2] is for step t.

    post, decay: (2, C, B, m or more), over pre neurons, of g * pre and g * trace: a share for each chunk.
    pre: (B, m), over post neurons, of g * x. decayed: (B, C, lanes) scratch.
    into_pre: (2, B, m), gradient of the activity before step t.
    """

    post: np.ndarray
    decay: np.ndarray
    pre: np.ndarray
    decayed: np.ndarray
    into_pre: np.ndarray


class Part(NamedTuple):
    """Rows i0 to i1, in chunk c, of episode b, in a group that begins with episode b0."""

    b: int
    b0: int
    i0: int
    i1: int
    c: int


class Origin(NamedTuple):
    """Where the trace before a step is remade from.

    first: the step whose trace is at hand. fresh: whether an episode began since, so that the trace is zero.
    still: whether there is no step before, or it changed no trace.
    """

    first: int
    fresh: bool
    still: bool


@_inline
def pre(x, episode_start, t, b, i):
    """Activity of neuron i before step t as that step sees it: zero at an episode's start."""
    return x.dtype.type(0) if episode_start[t, b] else x[t, b, i]


@_inline
def tanh_float32(z):
    """Tanh in float32 that, unlike the C library's, the compiler can vectorise.

    A rational minimax approximation of degree 13/6, clamped where float32's tanh is 1. NaN stays NaN.
    """
    z = np.float32(z)  # which it is, but where the compiler looks at what float64 passes over
    bound = np.float32(7.90531110763549805)
    c = bound if z > bound else z
    c = -bound if c < -bound else c
    s = c * c
    p = np.float32(-2.76076847742355e-16)
    p = multiply_add(p, s, np.float32(2.00018790482477e-13))
    p = multiply_add(p, s, np.float32(-8.60467152213735e-11))
    p = multiply_add(p, s, np.float32(5.12229709037114e-08))
    p = multiply_add(p, s, np.float32(1.48572235717979e-05))
    p = multiply_add(p, s, np.float32(6.37261928875436e-04))
    p = multiply_add(p, s, np.float32(4.89352455891786e-03))
    q = np.float32(1.19825839466702e-06)
    q = multiply_add(q, s, np.float32(1.18534705686654e-04))
    q = multiply_add(q, s, np.float32(2.26843463243900e-03))
    q = multiply_add(q, s, np.float32(4.89352518554385e-03))
    return c * p / q


@_inline
def activate(row, relu):
    """Apply the nonlinearity in place."""
    if relu:
        for j in range(row.shape[0]):
            row[j] = row.dtype.type(0) if row[j] < 0 else row[j]
    elif row.itemsize == 4:
        for j in range(row.shape[0]):
            row[j] = tanh_float32(row[j])
    else:
        for j in range(row.shape[0]):
            row[j] = np.tanh(row[j])


@_inline
def advance(rule, law, h, pre, x, gain):
    """The rule, on a vector of the trace: x is the activity of the post neurons, gain is eta * x."""
    if rule == HEBB:
        return multiply_add(h, splat(type(law.eta)(1) - law.eta), pre * gain)
    if rule == OJA:
        return multiply_add(gain, multiply_add(-x, h, pre), h)
    return limit(multiply_add(pre, gain, h), law.bound)


@_inline
def copy_rows(to, at, source, start, i0, i1, m):
    """Copy rows i0 to i1 of a matrix."""
    for j in range(i0 * m, i1 * m, lanes_of(to)):
        store(to, at + j, load(source, start + j))


@_inline
def advance_rows(rule, law, w, a, x, z, h, hb, xb, zb, i0, i1):
    """Rows i0 to i1 of an episode's trace one step on, and their share in the next step's net input."""
    literally(rule)
    batch, m = x.shape[1:]
    pb = xb - batch * m
    for i in range(i0, i1, ROWS):
        p0, p1, p2, p3 = spread(x, pb + i), spread(x, pb + i + 1), spread(x, pb + i + 2), spread(x, pb + i + 3)
        q0, q1, q2, q3 = spread(x, xb + i), spread(x, xb + i + 1), spread(x, xb + i + 2), spread(x, xb + i + 3)
        wi0, hi0 = i * m, hb + i * m
        wi1, wi2, wi3 = wi0 + m, wi0 + 2 * m, wi0 + 3 * m
        hi1, hi2, hi3 = hi0 + m, hi0 + 2 * m, hi0 + 3 * m
        for j in range(0, m, lanes_of(x)):
            xj = load(x, xb + j)
            gain = splat(law.eta) * xj
            h0 = advance(rule, law, load(h, hi0 + j), p0, xj, gain)
            h1 = advance(rule, law, load(h, hi1 + j), p1, xj, gain)
            h2 = advance(rule, law, load(h, hi2 + j), p2, xj, gain)
            h3 = advance(rule, law, load(h, hi3 + j), p3, xj, gain)
            store(h, hi0 + j, h0)
            store(h, hi1 + j, h1)
            store(h, hi2 + j, h2)
            store(h, hi3 + j, h3)
            z0 = multiply_add(q0, multiply_add(load(a, wi0 + j), h0, load(w, wi0 + j)), load(z, zb + j))
            z1 = q1 * multiply_add(load(a, wi1 + j), h1, load(w, wi1 + j))
            z0 = multiply_add(q2, multiply_add(load(a, wi2 + j), h2, load(w, wi2 + j)), z0)
            z1 = multiply_add(q3, multiply_add(load(a, wi3 + j), h3, load(w, wi3 + j)), z1)
            store(z, zb + j, z0 + z1)
            keep_rolled()


# The functions below read shared arrays element by element. A slice such as a[t, b] would be reference-counted, in
# memory that all threads write to.


@_inlined_whole
def clear(array, at, count):
    """Set ``count`` numbers of an array from ``at`` on to zero, a whole vector at a time."""
    zero = splat(array.dtype.type(0))
    for j in range(at, at + count, lanes_of(array)):
        store(array, j, zero)


@_inlined_whole
def settle(seq, u, z, y, t, b):
    """The outputs of step t, from all shares in its net input.

    Every thread makes them for itself, in y, and then puts them where the others put the same: who is ahead of it may
    read them there already.
    """
    n, m, clamp = u.shape[2], y.shape[0], seq.clamp
    for j in range(n):
        y[j] = u[t, b, j]
    for j in range(n, m):
        y[j] = 0
    if seq.law.runs[t] == 0:
        for c in range(z.shape[1]):
            for j in range(m):
                y[j] += z[t % 2, c, b, j]
        activate(y, seq.relu)
    if clamp.shape[0] > 0:
        for j in range(n):
            y[j] = clamp[t, b, j] if clamp[t, b, j] == clamp[t, b, j] else y[j]
    for j in range(m):
        seq.x[t + 1, b, j] = y[j]


@_inline
def rebuilt_from(episode_start, s0, s1, b):
    """The step from which ``rebuild`` goes on to s1, and whether the trace is zero there, for an episode began since.

    At an episode's start the trace is zero, and so it is one step later, for the activity before was zero as well.
    """
    first, fresh = s0, False
    for s in range(s0, s1 + 1):
        if episode_start[s, b]:
            first, fresh = s + 1, True
    return min(first, s1), fresh


@_inlined_whole
def advance_runs(rule, law, plain, x, h0, h1, first, s1, b, i, j):
    """Take vector j of rows i and i + 1 of the trace of step ``first`` to that of step s1.

    Equal updates are one, unless ``plain``, a constant to the compiler: then all are made one by one.
    """
    batch, m = x.shape[1:]
    s = first
    while s < s1:
        p, k = (s * batch + b) * m, 1 if plain else min(max(law.runs[s], 1), s1 - s)
        xj = load(x, p + batch * m + j)
        gain = splat(law.eta) * xj
        if rule == HEBB and k > 1:
            gain = splat(law.fade[1, k]) * xj
            h0 = multiply_add(h0, splat(law.fade[0, k]), spread(x, p + i) * gain)
            h1 = multiply_add(h1, splat(law.fade[0, k]), spread(x, p + i + 1) * gain)
        else:
            h0 = advance(rule, law, h0, spread(x, p + i), xj, gain)
            h1 = advance(rule, law, h1, spread(x, p + i + 1), xj, gain)
        s += k
    return h0, h1


@_inlined_whole
def rebuild(rule, law, plain, x, traces, at, first, s1, fresh, b, i, j):
    """The trace of step s1, at vector j of rows i and i + 1, from that of step ``first``: zero or at ``traces[at]``."""
    if fresh:
        h0, h1 = splat(x.dtype.type(0)), splat(x.dtype.type(0))
    else:
        h0, h1 = load(traces, at), load(traces, at + x.shape[2])
    return advance_runs(rule, law, plain, x, h0, h1, first, s1, b, i, j)


@_inline
def reached(runs, every, t):
    """Return the step whose trace forward's h holds before step t; held steps do not update h, except for snapshots."""
    s = max(t - 1, 0)
    while s > 0 and runs[s] > 0 and (s + 1) % every != 0:
        s -= 1
    return s


@_inline
def count_held(runs, t0, t1):
    """How many of the steps from t0 to t1 are held."""
    count = 0
    for t in range(t0, t1):
        count += runs[t] > 0
    return count


@_inlined_whole
def catch_up(rule, seq, h, s0, s1, block, i0, i1):
    """Take rows i0 to i1 of h from the trace of step s0 to that of step s1."""
    law, x = seq.law, seq.x
    rows, m = h.shape[1:]
    for b in range(block.b0, block.b1):
        first, fresh = rebuilt_from(seq.episode_start, s0, s1, b)
        for i in range(i0, i1, 2):
            for j in range(0, m, lanes_of(x)):
                at = (b * rows + i) * m + j
                h0, h1 = rebuild(rule, law, False, x, h, at, first, s1, fresh, b, i, j)
                store(h, at, h0)
                store(h, at + m, h1)


@_inline
def kept_step(start, stride, k):
    """The step whose trace ``segment[k]`` holds: the one before ``start + k * stride``, if there is one."""
    return max(start + k * stride - 1, 0)


@_inline
def recompute_rows(rule, lag, law, x, segment, old, new, first, s1, fresh, b, i0, i1):
    """Rows i0 to i1 of the trace of step s1, at ``segment[new]``, from that of step ``first`` at ``segment[old]``.

    ``lag``, a constant to the compiler, is s1 - ``first`` in the common case: not fresh; else it is -1.
    """
    literally(rule)
    literally(lag)
    m = x.shape[2]
    if lag >= 0:
        first, fresh = s1 - lag, False
    for i in range(i0, i1, 2):
        for j in range(0, m, lanes_of(x)):
            at = i * m + j
            h0, h1 = rebuild(rule, law, lag >= 0, x, segment, old + at, first, s1, fresh, b, i, j)
            store(segment, new + at, h0)
            store(segment, new + at + m, h1)


@_inlined_whole
def recompute(rule, seq, traces, start, end, block, i0, i1):
    """Fill rows i0 to i1 of the segment with every stride-th trace of the steps from start to end."""
    law, episode_start, x = seq.law, seq.episode_start, seq.x
    trace, snapshots, every, segment, stride = traces
    rows, m = trace.shape[1:]
    group, b0 = segment.shape[1], block.b0
    for b in range(b0, block.b1):
        kept = (b - b0) * rows * m
        if start > 0:
            at = ((start // every - 1) * x.shape[1] + b) * rows * m
            copy_rows(segment, kept, snapshots, at, i0, i1, m)
        elif episode_start[0, b]:
            segment[0, b - b0, i0:i1] = 0
        else:
            copy_rows(segment, kept, trace, b * rows * m, i0, i1, m)
        for k in range(1, (end - start + stride - 1) // stride):
            old, new = ((k - 1) * group + b - b0) * rows * m, (k * group + b - b0) * rows * m
            s1 = kept_step(start, stride, k)
            first, fresh = rebuilt_from(episode_start, kept_step(start, stride, k - 1), s1, b)
            if fresh or s1 - first != STRIDE:
                recompute_rows(rule, -1, law, x, segment, old, new, first, s1, fresh, b, i0, i1)
            else:
                recompute_rows(rule, STRIDE, law, x, segment, old, new, first, s1, fresh, b, i0, i1)


@_inline
def free_steps(runs, episode_start, t0, t1, b):
    """The steps from t0 to t1 that are not held, each with what ``rebuilt_from`` says of it and the one before."""
    steps, count, s = np.empty((t1 - t0, 3), np.int64), 0, max(t0 - 1, 0)
    for t in range(t0, t1):
        if runs[t] == 0:
            first, fresh = rebuilt_from(episode_start, s, t, b)
            steps[count, 0], steps[count, 1], steps[count, 2] = t, first, fresh
            count, s = count + 1, t
    return steps[:count]


@_inline
def add_weights(rule, plain, law, episode_start, x, segment, gz, gw, ga, t0, t1, part):
    """Add a part of the gradients of w and alpha over an episode's steps t0 to t1.

    The traces are recomputed in registers.

    ``plain``, a constant to the compiler: there is a step t0 - 1, no episode starts from it on, and none is held.
    """
    literally(rule)
    literally(plain)
    b, b0, i0, i1, _ = part
    if not plain:
        steps = free_steps(law.runs, episode_start, t0, t1, b)
    rows, m = gw.shape
    batch = x.shape[1]
    zero = splat(gw.dtype.type(0))
    for k0 in range(0, m, TILE):  # of each step few numbers, which stay in the nearest cache for all rows
        for i in range(i0, i1, 2):
            first = ((b - b0) * rows + i) * m
            for j in range(k0, min(k0 + TILE, m), lanes_of(x)):
                h0, h1 = load(segment, first + j), load(segment, first + m + j)
                w0, w1, a0, a1 = zero, zero, zero, zero
                if plain:
                    at = (t0 * batch + b) * m
                    before0, before1 = spread(x, at - batch * m + i), spread(x, at - batch * m + i + 1)
                    for _ in range(t0, t1):
                        p0, p1, xj = spread(x, at + i), spread(x, at + i + 1), load(x, at + j)
                        gain = splat(law.eta) * xj
                        h0 = advance(rule, law, h0, before0, xj, gain)
                        h1 = advance(rule, law, h1, before1, xj, gain)
                        gj = load(gz, at + j)
                        g0, g1 = p0 * gj, p1 * gj
                        w0, w1 = w0 + g0, w1 + g1
                        a0, a1 = multiply_add(g0, h0, a0), multiply_add(g1, h1, a1)
                        before0, before1 = p0, p1
                        at += batch * m
                else:
                    for k in range(steps.shape[0]):
                        t, at = steps[k, 0], (steps[k, 0] * batch + b) * m
                        if steps[k, 2]:
                            h0, h1 = zero, zero
                        h0, h1 = advance_runs(rule, law, False, x, h0, h1, steps[k, 1], t, b, i, j)
                        gj = load(gz, at + j)
                        g0 = splat(pre(x, episode_start, t, b, i)) * gj
                        g1 = splat(pre(x, episode_start, t, b, i + 1)) * gj
                        w0, w1 = w0 + g0, w1 + g1
                        a0, a1 = multiply_add(g0, h0, a0), multiply_add(g1, h1, a1)
                at = i * m + j
                store(gw, at, load(gw, at) + w0)
                store(gw, at + m, load(gw, at + m) + w1)
                store(ga, at, load(ga, at) + a0)
                store(ga, at + m, load(ga, at + m) + a1)


@_inlined_whole
def add_two(array, at, a0, b0, a1, b1):
    """Add the products a0 b0 and a1 b1 to a vector of an array."""
    store(array, at, multiply_add(a1, b1, multiply_add(a0, b0, load(array, at))))


@_inlined_whole
def sum_last(rule, seq, kept, s0, g, sums, block):
    """The sums over the gradient of the last trace, which no step after it has made; ``kept`` has that of step s0."""
    law, episode_start, x = seq.law, seq.episode_start, seq.x
    post_sum, decay_sum, pre_sum = sums.post, sums.decay, sums.pre
    b0, b1, chunk, c0, c1 = block
    rows, m = g.shape[1:]
    batch, last, chunks = x.shape[1], x.shape[0] - 2, post_sum.shape[1]
    zero = splat(x.dtype.type(0))
    for c in range(c0, c1):
        for b in range(b0, b1):
            first, fresh = rebuilt_from(episode_start, s0, last, b)
            xi, bi = ((last + 1) * batch + b) * m, ((last % 2 * chunks + c) * batch + b) * post_sum.shape[3]
            for i in range(c * chunk, min(rows, (c + 1) * chunk), 2):
                gi, hi = (b * rows + i) * m, ((b - b0) * rows + i) * m
                p0 = splat(pre(x, episode_start, last, b, i))
                p1 = splat(pre(x, episode_start, last, b, i + 1))
                sum0, sum1 = zero, zero
                for j in range(0, m, lanes_of(x)):
                    v0, v1, xj = load(g, gi + j), load(g, gi + m + j), load(x, xi + j)
                    h0, h1 = rebuild(rule, law, False, x, kept, hi + j, first, last, fresh, b, i, j)
                    if rule == CLIP:
                        gain = splat(law.eta) * xj
                        v0 = where_within(v0, multiply_add(p0, gain, h0), law.bound)
                        v1 = where_within(v1, multiply_add(p1, gain, h1), law.bound)
                        store(g, gi + j, v0)
                        store(g, gi + m + j, v1)
                    add_two(post_sum, bi + j, v0, p0, v1, p1)
                    sum0, sum1 = multiply_add(v0, xj, sum0), multiply_add(v1, xj, sum1)
                    if rule == OJA:
                        add_two(decay_sum, bi + j, v0, h0, v1, h1)
                pre_sum[b, i] = total(sum0)
                pre_sum[b, i + 1] = total(sum1)


@_inline
def add_decay(gx, eta, x, decay_sum):
    """What oja's decay, ``-eta x_j^2 trace``, adds to the gradient of x_j."""
    for j in range(gx.shape[0]):
        gx[j] -= eta * 2 * x[j] * decay_sum[j]


@_inline
def through_nonlinearity(gx, x, relu):
    """Turn the gradient of outputs x into that of their net input, in place."""
    one, nought = x.dtype.type(1), x.dtype.type(0)
    for j in range(gx.shape[0]):
        gx[j] *= (one if x[j] > 0 else nought) if relu else one - x[j] * x[j]


@_inlined_sum
def update_change(rule, x, post_sum, decay_sum):
    """How the update of the trace changes with eta, in the direction of the trace's gradient; hebb's decay apart."""
    change = x.dtype.type(0)
    for j in range(x.shape[0]):
        change += x[j] * post_sum[j]
        if rule == OJA:
            change -= x[j] * x[j] * decay_sum[j]
    return change


@_inlined_whole
def into_outputs(rule, seq, t, gradients, sums, scratch, block, alone):
    """The gradient of step t's outputs, through the nonlinearity or into the clamp; eta's share of its update.

    As in ``settle``, every thread makes them for itself, in its scratch (4, m), from all shares. What no thread reads
    is left to the one that is ``alone`` in it.
    """
    law, clamp, x = seq.law, seq.clamp, seq.x
    gout, gz, gclamp, geta = gradients.outputs, gradients.u, gradients.clamp, gradients.eta
    post_sum, decay_sum, into_pre = sums.post, sums.decay, sums.into_pre
    n, m, nought = gout.shape[2], x.shape[2], x.dtype.type(0)
    gx, xj, post, decay = scratch[0], scratch[1], scratch[2], scratch[3]
    for b in range(block.b0, block.b1):
        for j in range(m):
            xj[j], post[j], decay[j] = x[t + 1, b, j], nought, nought
        for c in range(post_sum.shape[1]):
            for j in range(m):
                post[j] += post_sum[t % 2, c, b, j]
                decay[j] += decay_sum[t % 2, c, b, j]
        for j in range(m):
            gx[j] = law.eta * post[j]
        for j in range(n):
            gx[j] += gout[t, b, j]
        if t < gout.shape[0] - 1:
            for j in range(m):
                gx[j] += into_pre[(t + 1) % 2, b, j]
        if rule == OJA:
            add_decay(gx, law.eta, xj, decay)
        if alone and law.runs[t] == 0:
            geta[b, 0] += update_change(rule, xj, post, decay)
        if clamp.shape[0] > 0:
            if alone:
                for j in range(n):
                    gclamp[t, b, j] = gx[j] if clamp[t, b, j] == clamp[t, b, j] else nought
            for j in range(n):
                gx[j] = nought if clamp[t, b, j] == clamp[t, b, j] else gx[j]
        through_nonlinearity(gx, xj, seq.relu)
        for j in range(m):
            gz[t, b, j] = gx[j]


@_inline
def into_trace(rule, law, v, gj, aj, p, post):
    """The gradient of a step's trace from that of the next step's trace, clip's limit apart."""
    if rule == HEBB:
        v = v * splat(type(law.eta)(1) - law.eta)
    if rule == OJA:
        v = multiply_add(splat(-law.eta) * post * post, v, v)
    return multiply_add(p, aj * gj, v)


@_inline
def through_rows(rule, lag, law, origin, w, a, x, t, kept, g, gz, sums, part):
    """``into_traces`` for one part, whose trace of step t - 1 is rebuilt from its origin in ``kept``.

    ``lag``, a constant to the compiler, is t - 1 - ``origin.first`` in the common case: not fresh, not still; else it
    is -1.
    """
    literally(rule)
    literally(lag)
    first, fresh, still = origin
    b, b0, i0, i1, c = part
    post_sum, decay_sum, pre_sum, decayed, into_pre = sums
    s1, started = max(t - 1, 0), t > 0
    if lag >= 0:
        s1, started = t - 1, True
        first, fresh, still = s1 - lag, False, False
    rows, m = w.shape
    lanes = lanes_of(w)
    batch, chunks = x.shape[1], post_sum.shape[1]
    zero = splat(w.dtype.type(0))
    bi, xi = (((t + 1) % 2 * chunks + c) * batch + b) * post_sum.shape[3], (t * batch + b) * m
    decay = load(decayed, (b * chunks + c) * lanes)
    for i in range(i0, i1, 2):
        gi, wi, hi = (b * rows + i) * m, i * m, ((b - b0) * rows + i) * m
        p0, p1 = spread(x, xi + i), spread(x, xi + i + 1)
        before0, before1 = zero, zero
        if not still:
            before0, before1 = spread(x, xi - batch * m + i), spread(x, xi - batch * m + i + 1)
        into0, into1, sum0, sum1 = zero, zero, zero, zero
        for j in range(0, m, lanes):
            gj, post = load(gz, xi + j), load(x, xi + batch * m + j)
            v0, a0 = load(g, gi + j), load(a, wi + j)
            v1, a1 = load(g, gi + m + j), load(a, wi + m + j)
            old0, old1 = rebuild(rule, law, lag >= 0, x, kept, hi + j, first, s1, fresh, b, i, j)
            h0, h1, xj = old0, old1, load(x, xi + j)
            gain = splat(law.eta) * xj
            if started:
                h0 = advance(rule, law, old0, before0, xj, gain)
                h1 = advance(rule, law, old1, before1, xj, gain)
            into0 = multiply_add(gj, multiply_add(a0, h0, load(w, wi + j)), into0)
            into1 = multiply_add(gj, multiply_add(a1, h1, load(w, wi + m + j)), into1)
            if rule == HEBB:
                decay = multiply_add(v1, h1, multiply_add(v0, h0, decay))
            v0 = into_trace(rule, law, v0, gj, a0, p0, post)
            v1 = into_trace(rule, law, v1, gj, a1, p1, post)
            if started:
                if rule == CLIP:
                    v0 = where_within(v0, multiply_add(before0, gain, old0), law.bound)
                    v1 = where_within(v1, multiply_add(before1, gain, old1), law.bound)
                add_two(post_sum, bi + j, v0, before0, v1, before1)
                sum0, sum1 = multiply_add(v0, xj, sum0), multiply_add(v1, xj, sum1)
                if rule == OJA:
                    add_two(decay_sum, bi + j, v0, old0, v1, old1)
            store(g, gi + j, v0)
            store(g, gi + m + j, v1)
        into_pre[t % 2, b, i] = total(into0) + law.eta * pre_sum[b, i]
        into_pre[t % 2, b, i + 1] = total(into1) + law.eta * pre_sum[b, i + 1]
        pre_sum[b, i] = total(sum0)
        pre_sum[b, i + 1] = total(sum1)
    store(decayed, (b * chunks + c) * lanes, decay)


@_inlined_whole
def begin_sums(sums, t, block):
    """Set the sums that step t will ask for, and that of the step before it, to zero."""
    post_sum, decay_sum, decayed = sums.post, sums.decay, sums.decayed
    chunks, batch, apart = post_sum.shape[1:]
    for b in range(block.b0, block.b1):
        for c in range(block.c0, block.c1):
            at = ((t % 2 * chunks + c) * batch + b) * apart
            clear(post_sum, at, apart)
            clear(decay_sum, at, apart)
            clear(decayed, (b * chunks + c) * lanes_of(post_sum), 1)


@_inlined_whole
def into_traces(rule, seq, t, kept, s0, gradients, sums, block):
    """One pass over the rows: the gradients of the trace and the activity before step t, and step t - 1's sums.

    ``kept`` has the trace of step s0.
    """
    w, a, law, episode_start, x = seq.w, seq.a, seq.law, seq.episode_start, seq.x
    g, gz = gradients.trace, gradients.u
    b0, b1, chunk, c0, c1 = block
    rows = w.shape[0]
    begin_sums(sums, t + 1, block)
    for c in range(c0, c1):
        for i0 in range(c * chunk, min(rows, (c + 1) * chunk), BLOCK):
            i1 = min(i0 + BLOCK, rows)
            for b in range(b0, b1):
                if episode_start[t, b]:
                    g[b, i0:i1] = 0
                    sums.into_pre[t % 2, b, i0:i1] = 0
                    sums.pre[b, i0:i1] = 0
                    continue
                s1 = max(t - 1, 0)
                first, fresh = rebuilt_from(episode_start, s0, s1, b)
                still = t == 0 or episode_start[s1, b]
                origin, part = Origin(first, fresh, still), Part(b, b0, i0, i1, c)
                if still or fresh or s1 - first >= STRIDE:
                    through_rows(rule, -1, law, origin, w, a, x, t, kept, g, gz, sums, part)
                elif first == s1:
                    through_rows(rule, 0, law, origin, w, a, x, t, kept, g, gz, sums, part)
                elif first == s1 - 1:
                    through_rows(rule, 1, law, origin, w, a, x, t, kept, g, gz, sums, part)
                else:
                    through_rows(rule, 2, law, origin, w, a, x, t, kept, g, gz, sums, part)


@_inlined_whole
def through_held(seq, t0, t1, kept, s0, gradients, sums, block):
    """``into_traces`` with the rule hebb for steps t1 down to t0, all of them held: one pass for all, without products.

    Held steps have a share in nothing but the trace, whose gradient v decays from step to step. What eta gets from
    them all, sum_s keep^(t1 - s) v (p(s) x(s) - h(s)) with keep = 1 - eta, is added up while h goes forward. In a run,
    p x is the same and h comes nearer to it by keep at each step.
    """
    law, episode_start, x = seq.law, seq.episode_start, seq.x
    g, gz = gradients.trace, gradients.u
    post_sum, pre_sum, decayed, into_pre = sums.post, sums.pre, sums.decayed, sums.into_pre
    b0, b1, chunk, c0, c1 = block
    rows, m = g.shape[1:]
    lanes = lanes_of(x)
    batch, chunks = x.shape[1], post_sum.shape[1]
    zero, keep, far, old = splat(x.dtype.type(0)), splat(law.fade[0, 1]), splat(law.fade[0, t1 - t0]), max(t0 - 1, 0)
    begin_sums(sums, t0 + 1, block)
    for t in range(t0, t1):
        for b in range(b0, b1):
            clear(gz, (t * batch + b) * m, m)
    for c in range(c0, c1):
        for b in range(b0, b1):
            first, fresh = rebuilt_from(episode_start, s0, old, b)
            bi, xi = (((t0 + 1) % 2 * chunks + c) * batch + b) * post_sum.shape[3], (t0 * batch + b) * m
            decay = load(decayed, (b * chunks + c) * lanes)
            for i in range(c * chunk, min(rows, (c + 1) * chunk), 2):
                gi, hi = (b * rows + i) * m, ((b - b0) * rows + i) * m
                before0 = before1 = zero
                if t0 > 0 and not episode_start[old, b]:
                    before0, before1 = spread(x, xi - batch * m + i), spread(x, xi - batch * m + i + 1)
                into0, into1, sum0, sum1 = zero, zero, zero, zero
                for j in range(0, m, lanes):
                    v0, v1, xj = load(g, gi + j), load(g, gi + m + j), load(x, xi + j)
                    h0, h1 = rebuild(HEBB, law, False, x, kept, hi + j, first, old, fresh, b, i, j)
                    if t0 > 0:
                        gain = splat(law.eta) * xj
                        h0 = advance(HEBB, law, h0, before0, xj, gain)
                        h1 = advance(HEBB, law, h1, before1, xj, gain)
                    change0, change1 = zero, zero
                    s = t0
                    while s <= t1:
                        at, k = (s * batch + b) * m, min(law.runs[s], t1 + 1 - s)
                        post, left, reach = load(x, at + batch * m + j), splat(law.fade[0, k]), splat(law.fade[1, k])
                        times = splat(type(law.eta)(k) * law.fade[0, k - 1])
                        step0 = multiply_add(spread(x, at + i), post, -h0)
                        step1 = multiply_add(spread(x, at + i + 1), post, -h1)
                        change0 = multiply_add(times, step0, change0 * left)
                        change1 = multiply_add(times, step1, change1 * left)
                        h0, h1 = multiply_add(reach, step0, h0), multiply_add(reach, step1, h1)
                        s += k
                    decay = multiply_add(-v1, change1, multiply_add(-v0, change0, decay))
                    v0, v1, post = v0 * far, v1 * far, load(x, xi + batch * m + j)
                    into0, into1 = multiply_add(v0, post, into0), multiply_add(v1, post, into1)
                    v0, v1 = v0 * keep, v1 * keep
                    if t0 > 0:
                        add_two(post_sum, bi + j, v0, before0, v1, before1)
                        sum0, sum1 = multiply_add(v0, xj, sum0), multiply_add(v1, xj, sum1)
                    store(g, gi + j, v0)
                    store(g, gi + m + j, v1)
                into_pre[t0 % 2, b, i] = law.eta * total(into0)
                into_pre[t0 % 2, b, i + 1] = law.eta * total(into1)
                pre_sum[b, i] = total(sum0)
                pre_sum[b, i + 1] = total(sum1)
            store(decayed, (b * chunks + c) * lanes, decay)


@_inline
def all_there(meeting, done):
    """Wait until all threads have done ``done`` steps; return False if that takes too long."""
    looked, parties = 0, meeting.parties
    while parties > 1 and read_count(meeting.counter) < parties * done:
        looked += 1
        if looked == PATIENCE:
            return False
    return True


class Kernels(NamedTuple):
    """The compiled kernels of one rule."""

    forward: Any
    backward: Any


@lru_cache
def build(name: str) -> Kernels:
    """Define the kernels of a rule.

    Its code is the one variable that the kernels close over, which makes it a constant to the compiler, and which
    Numba's cache on disk can tell apart.
    """
    rule = RULES.index(name)

    @_kernel
    def forward(seq, u, z, h, snapshots, every, half0, t1, block, meeting):
        """Do the steps up to t1 of a block; return the half step to continue with, or -1.

        A step is two halves, 2 t and 2 t + 1: each chunk's share in the net input, then the outputs from all shares.
        z: (2, C, B, m or more) scratch, the shares; a thread that is ahead writes the next step's into the other half.
        h: (B, rows, m), in: the trace before the update of step t0 - 1 (of step 0 for t0 = 0), out: before the
        update of step t1 - 1, or after it if t1 is the end. Held steps leave their updates to later steps.
        snapshots[s - 1] takes the trace of step ``s * every - 1``.
        """
        w, a, law, _, _, episode_start, x = seq
        b0, b1, chunk, c0, c1 = block
        rows, m = w.shape
        batch, steps, chunks = x.shape[1], x.shape[0] - 1, z.shape[1]
        first_row, last_row = c0 * chunk, min(rows, c1 * chunk)
        y = np.empty(m, w.dtype)
        for half in range(half0, 2 * t1):
            t = half // 2
            if half % 2 == 1:
                if not all_there(meeting, t + 1):
                    return half
                for b in range(b0, b1):
                    settle(seq, u, z, y, t, b)
                continue
            held = law.runs[t] > 0
            due = t if held and (t + 1) % every == 0 else t - 1  # the step whose trace h is to hold now
            if not held or due == t:
                s0 = reached(law.runs, every, t)
                if s0 < due:
                    catch_up(rule, seq, h, s0, due, block, first_row, last_row)
            # The update that step t - 1 left to do and the product of step t share one pass over the trace.
            for c in range(c0, c0 if held else c1):
                for b in range(b0, b1):
                    clear(z, ((t % 2 * chunks + c) * batch + b) * z.shape[3], m)
                for i0 in range(c * chunk, min(rows, (c + 1) * chunk), BLOCK):
                    i1 = min(i0 + BLOCK, rows)
                    for b in range(b0, b1):
                        if episode_start[t, b]:
                            h[b, i0:i1] = 0
                            continue
                        hb, xb, zb = b * rows * m, (t * batch + b) * m, ((t % 2 * chunks + c) * batch + b) * z.shape[3]
                        if t == 0 or episode_start[t - 1, b]:  # step t - 1 has left nothing to do
                            for i in range(i0, i1):
                                p = spread(x, xb + i)
                                for j in range(0, m, lanes_of(x)):
                                    at = i * m + j
                                    seen = multiply_add(load(a, at), load(h, hb + at), load(w, at))
                                    store(z, zb + j, multiply_add(p, seen, load(z, zb + j)))
                            continue
                        advance_rows(rule, law, w, a, x, z, h, hb, xb, zb, i0, i1)
            if (t + 1) % every == 0 and (t + 1) // every <= snapshots.shape[0]:
                for b in range(b0, b1):
                    at = (((t + 1) // every - 1) * batch + b) * rows * m
                    copy_rows(snapshots, at, h, b * rows * m, first_row, last_row, m)
            if meeting.parties > 1:
                count_up(meeting.counter)
        if t1 == steps:
            s0 = reached(law.runs, every, steps)
            if s0 < steps - 1:
                catch_up(rule, seq, h, s0, steps - 1, block, first_row, last_row)
            for b in range(b0, b1):
                for i in range(first_row, last_row):
                    hi, xi = (b * rows + i) * m, (steps * batch + b) * m
                    before = splat(pre(x, episode_start, steps - 1, b, i))
                    for j in range(0, m, lanes_of(x)):
                        xj = load(x, xi + j)
                        store(h, hi + j, advance(rule, law, load(h, hi + j), before, xj, splat(law.eta) * xj))
        return -1

    @_kernel
    def backward(seq, traces, gradients, has_gtrace, sums, done, block, meeting):
        """Steps T - done down to 0 of a block; returns how many are done, or -1.

        What comes first, at t = T, is what a step after the last would have left to step T - 1.

        has_gtrace: whether the last trace has a gradient other than zero. Threads read each other's sums, and so steps
        take turns with their halves.
        """
        w, law, episode_start, x = seq.w, seq.law, seq.episode_start, seq.x
        every, segment, stride = traces.every, traces.segment, traces.stride
        b0, b1, chunk, c0, c1 = block
        rows, m = w.shape
        chunks, steps = sums.post.shape[1], x.shape[0] - 1
        first_row, last_row = c0 * chunk, min(rows, c1 * chunk)
        scratch = np.empty((4, m), w.dtype)
        t = steps - done
        while t >= 0:
            if not all_there(meeting, steps - t):
                return steps - t
            start = min(t, steps - 1) // every * every
            end = min(start + every, steps)
            idle = count_held(law.runs, start, end) == end - start  # gz is zero, and of the traces only one asked for
            if t == steps or (t == end - 1 and end < steps):
                recompute(rule, seq, traces, start, start + 1 if idle else end, block, first_row, last_row)
            if t == steps:
                begin_sums(sums, steps - 1, block)
                if has_gtrace:
                    k = (steps - 1 - start) // stride
                    sum_last(rule, seq, segment[k], kept_step(start, stride, k), gradients.trace, sums, block)
                if meeting.parties > 1:
                    count_up(meeting.counter)
                t -= 1
                continue
            into_outputs(rule, seq, t, gradients, sums, scratch, block, c0 == 0)
            low = t  # held steps are taken together, an odd number of them: then the halves of the sums take turns
            while law.runs[t] > 0 and low - 1 > start and law.runs[low - 1] > 0 and law.runs[low - 2] > 0:
                low -= 2
            k = (low - start) // stride
            kept, s0 = segment[k], kept_step(start, stride, k)
            if law.runs[t] > 0:
                through_held(seq, low, t, kept, s0, gradients, sums, block)
            else:
                into_traces(rule, seq, t, kept, s0, gradients, sums, block)
            for b in range(b0, b1):
                for c in range(c0, c1):
                    gradients.eta[b, c] -= total(load(sums.decayed, (b * chunks + c) * lanes_of(w)))
            if low == 0:
                gradients.hidden[b0:b1, first_row:last_row] = sums.into_pre[0, b0:b1, first_row:last_row]
            if low == start and not idle:
                gz, gw, ga = gradients.u, gradients.w, gradients.a
                for b in range(b0, b1):
                    part = Part(b, b0, first_row, last_row, 0)
                    began = start == 0
                    for s in range(max(start - 1, 0), end):
                        began |= episode_start[s, b]
                    if not began and count_held(law.runs, start, end) == 0:
                        add_weights(rule, True, law, episode_start, x, segment, gz, gw, ga, start, end, part)
                    else:
                        add_weights(rule, False, law, episode_start, x, segment, gz, gw, ga, start, end, part)
            if meeting.parties > 1:
                for _ in range(low, t + 1):
                    count_up(meeting.counter)
            t = low - 1
        return -1

    return Kernels(forward, backward)

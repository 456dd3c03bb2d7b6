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
    absolute,
    count_up,
    keep_rolled,
    lanes_of,
    limit,
    load,
    multiply_add,
    one_minus,
    read_count,
    signed,
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

HEBB, OJA, CLIP, SOFT_CLIP = range(len(RULES))  # a rule's code is its place in the list of names, ...
MODULATED, RETROACTIVE, LSTM = 4, 8, 16  # ... plus these: rates of each neuron, eligibility traces (too), gates
RULE = 3  # the bits of a code that are the rule's
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


class Modulator(NamedTuple):
    """What computes M(t), and how it reaches the neurons; without weights, rates are given."""

    weight: np.ndarray  # (m,), or empty
    bias: np.floating
    gain: np.ndarray  # (m,)
    offset: np.ndarray  # (m,)
    sigmoid: bool  # in place of tanh


class Sequence(NamedTuple):
    """What a sequence is computed from, and the activity that comes of it."""

    w: np.ndarray  # (rows, m)
    a: np.ndarray  # (rows, m), the plasticity coefficients
    gates: np.ndarray  # (rows, 3 m), recurrent weights of an LSTM's gates i, f, o, or empty
    law: Law
    relu: bool
    modulator: Modulator
    clamp: np.ndarray  # (T, B, n), or empty
    episode_start: np.ndarray  # (T, B)
    x: np.ndarray  # (T + 1, B, m)
    post: np.ndarray  # (T + 1, B, m), postsynaptic activity: x itself; of an LSTM, the input of its cells
    rates: np.ndarray  # (T, B, m), of the updates of the trace, or empty
    signals: np.ndarray  # (T, B), M(t), or empty
    cells: np.ndarray  # (T + 1, B, m), of an LSTM, or empty
    shown: np.ndarray  # (T, B, 3 m), an LSTM's gates, or empty


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
    """What backward remakes the traces from. With eligibility traces, ``rows`` is twice that of w: they come after."""

    first: np.ndarray  # (B, rows, m), the trace before the first step
    snapshots: np.ndarray  # (S, B, rows, m), [s - 1]: the trace of step s * every - 1
    every: int
    segment: np.ndarray  # (ceil(every / stride), group, rows, m) scratch, [k]: that of ``kept_step(start, stride, k)``
    stride: int


class Gradients(NamedTuple):
    """Gradients, by what they are of; all but ``outputs`` are written by backward."""

    outputs: np.ndarray  # (T, B, n)
    u: np.ndarray  # (T, B, m)
    shown: np.ndarray  # (T, B, 3 m), of the net input of an LSTM's gates, or empty
    clamp: np.ndarray  # (T, B, n), or empty
    trace: np.ndarray  # (B, rows, m), in: of the last trace, out: of the first; eligibility traces come after
    w: np.ndarray  # (rows, m), the sum of a group
    a: np.ndarray  # (rows, m), the sum of a group
    gates: np.ndarray  # (rows, 3 m), the sum of a group, or empty
    eta: np.ndarray  # (B, C) float64
    hidden: np.ndarray  # (B, m)
    rates: np.ndarray  # (T, B, m), or empty
    signals: np.ndarray  # (T, B), of the modulator's net input, or empty
    cells: np.ndarray  # (2, B, m), [t % 2]: of the cells before step t; in, [T % 2]: of the last; or empty


class Sums(NamedTuple):
    """Sums over a pass of backward, which the next step needs; [t % 2] is for step t.

    post, decay: (2, C, B, m or more), over pre neurons: a share for each chunk; README.md says of what.
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
def sigmoid(row):
    """Apply the logistic function in place."""
    if row.itemsize == 4:
        half = np.float32(0.5)
        for j in range(row.shape[0]):
            row[j] = half * tanh_float32(half * row[j]) + half
    else:
        for j in range(row.shape[0]):
            row[j] = 1 / (1 + np.exp(-row[j]))


@_inline
def rate_at(code, law, rates, at):
    """The rates with which a step updates the trace, a vector of post neurons."""
    return load(rates, at) if code & MODULATED else splat(law.eta)


@_inline
def gain_of(code, law, rate, post):
    """What a product of activities is written with, together with post: into the eligibility, if there is one."""
    return splat(law.eta) * post if code & RETROACTIVE else rate * post


@_inline
def change(code, pre, gain, rate, e):
    """What a step adds to a vector of the trace, before it is limited; Oja's rule and decay apart."""
    return rate * e if code & RETROACTIVE else pre * gain


@_inline
def advance(code, law, h, e, pre, post, rate, gain):
    """The rule, on a vector of the trace h. e is the eligibility, and gain comes from ``gain_of``."""
    if code & RULE == OJA:
        return multiply_add(gain, multiply_add(-post, h, pre), h)
    if code & RULE == HEBB:
        return multiply_add(h, one_minus(rate), change(code, pre, gain, rate, e))
    if code & RULE == SOFT_CLIP:
        d = change(code, pre, gain, rate, e)
        return multiply_add(h, one_minus(absolute(d)), d)
    return limit(sum_before(code, h, pre, gain, rate, e), law.bound)


@_inline
def sum_before(code, h, pre, gain, rate, e):
    """The trace after a step by clip, before it is limited."""
    return multiply_add(rate, e, h) if code & RETROACTIVE else multiply_add(pre, gain, h)


@_inline
def mark(code, law, e, pre, gain):
    """A vector of the eligibility trace, one step on; where there is none, e itself."""
    return multiply_add(e, one_minus(splat(law.eta)), pre * gain) if code & RETROACTIVE else e


@_inlined_whole
def copy_rows(code, to, at, source, start, rows, m, i0, i1):
    """Copy rows i0 to i1 of an episode's traces."""
    for j in range(i0 * m, i1 * m, lanes_of(to)):
        store(to, at + j, load(source, start + j))
    if code & RETROACTIVE:
        for j in range((rows + i0) * m, (rows + i1) * m, lanes_of(to)):
            store(to, at + j, load(source, start + j))


@_inline
def depth_of(code, w):
    """How far the traces of two episodes lie apart."""
    return w.size * 2 if code & RETROACTIVE else w.size


@_inline
def eligibility_at(code, traces, at):
    """A vector of the eligibility trace, or 0 where there is none."""
    return load(traces, at) if code & RETROACTIVE else splat(traces.dtype.type(0))


@_inline
def advance_rows(code, law, w, a, x, y, rates, z, h, hb, xb, zb, i0, i1):
    """Rows i0 to i1 of an episode's traces one step on, and their share in the next step's net input."""
    literally(code)
    batch, m = x.shape[1:]
    pb, apart = xb - batch * m, w.size
    for i in range(i0, i1, ROWS):
        p0, p1, p2, p3 = spread(x, pb + i), spread(x, pb + i + 1), spread(x, pb + i + 2), spread(x, pb + i + 3)
        q0, q1, q2, q3 = spread(x, xb + i), spread(x, xb + i + 1), spread(x, xb + i + 2), spread(x, xb + i + 3)
        wi0, hi0 = i * m, hb + i * m
        wi1, wi2, wi3 = wi0 + m, wi0 + 2 * m, wi0 + 3 * m
        hi1, hi2, hi3 = hi0 + m, hi0 + 2 * m, hi0 + 3 * m
        for j in range(0, m, lanes_of(x)):
            post, rate = load(y, xb + j), rate_at(code, law, rates, pb + j)
            gain = gain_of(code, law, rate, post)
            e0 = eligibility_at(code, h, hi0 + apart + j)
            e1 = eligibility_at(code, h, hi1 + apart + j)
            e2 = eligibility_at(code, h, hi2 + apart + j)
            e3 = eligibility_at(code, h, hi3 + apart + j)
            h0 = advance(code, law, load(h, hi0 + j), e0, p0, post, rate, gain)
            h1 = advance(code, law, load(h, hi1 + j), e1, p1, post, rate, gain)
            h2 = advance(code, law, load(h, hi2 + j), e2, p2, post, rate, gain)
            h3 = advance(code, law, load(h, hi3 + j), e3, p3, post, rate, gain)
            store(h, hi0 + j, h0)
            store(h, hi1 + j, h1)
            store(h, hi2 + j, h2)
            store(h, hi3 + j, h3)
            if code & RETROACTIVE:
                store(h, hi0 + apart + j, mark(code, law, e0, p0, gain))
                store(h, hi1 + apart + j, mark(code, law, e1, p1, gain))
                store(h, hi2 + apart + j, mark(code, law, e2, p2, gain))
                store(h, hi3 + apart + j, mark(code, law, e3, p3, gain))
            z0 = multiply_add(q0, multiply_add(load(a, wi0 + j), h0, load(w, wi0 + j)), load(z, zb + j))
            z1 = q1 * multiply_add(load(a, wi1 + j), h1, load(w, wi1 + j))
            z0 = multiply_add(q2, multiply_add(load(a, wi2 + j), h2, load(w, wi2 + j)), z0)
            z1 = multiply_add(q3, multiply_add(load(a, wi3 + j), h3, load(w, wi3 + j)), z1)
            store(z, zb + j, z0 + z1)
            keep_rolled()


@_inline
def add_gates(gates, x, z, xb, zb, i0, i1):
    """The share of rows i0 to i1 in the net input of an LSTM's gates."""
    width = gates.shape[1]
    for i in range(i0, i1, ROWS):
        q0, q1, q2, q3 = spread(x, xb + i), spread(x, xb + i + 1), spread(x, xb + i + 2), spread(x, xb + i + 3)
        at = i * width
        for j in range(0, width, lanes_of(x)):
            z0 = multiply_add(q0, load(gates, at + j), load(z, zb + j))
            z1 = q1 * load(gates, at + width + j)
            z0 = multiply_add(q2, load(gates, at + 2 * width + j), z0)
            z1 = multiply_add(q3, load(gates, at + 3 * width + j), z1)
            store(z, zb + j, z0 + z1)


# The functions below read shared arrays element by element. A slice such as a[t, b] would be reference-counted, in
# memory that all threads write to.


@_inlined_whole
def clear(array, at, count):
    """Set ``count`` numbers of an array from ``at`` on to zero, a whole vector at a time."""
    zero = splat(array.dtype.type(0))
    for j in range(at, at + count, lanes_of(array)):
        store(array, j, zero)


@_inlined_whole
def clear_rows(code, traces, at, rows, m, i0, i1):
    """Set rows i0 to i1 of an episode's traces to zero."""
    clear(traces, at + i0 * m, (i1 - i0) * m)
    if code & RETROACTIVE:
        clear(traces, at + (rows + i0) * m, (i1 - i0) * m)


@_inlined_sum
def dot(a, b):
    """The sum of products."""
    result = a.dtype.type(0)
    for j in range(a.shape[0]):
        result += a[j] * b[j]
    return result


@_inline
def modulate(seq, x, t, b):
    """The signal that step t's outputs x make, and with it the rates of its update; nothing where rates are given."""
    weight, bias, gain, offset, logistic = seq.modulator
    if weight.shape[0] > 0:
        net = bias + dot(weight, x)
        signal = 1 / (1 + np.exp(-net)) if logistic else np.tanh(net)
        seq.signals[t, b] = signal
        for j in range(gain.shape[0]):
            seq.rates[t, b, j] = gain[j] * seq.signals.dtype.type(signal) + offset[j]


@_inline
def settle_neurons(seq, u, z, y, t, b):
    """The outputs of step t, from all shares in its net input; also into y, which has room for m numbers.

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
def settle_cells(seq, u, z, y, t, b):
    """``settle_neurons`` of an LSTM; y has room for 5 m numbers: the cells' input, gates i, f and o, and the outputs.

    u (T, B, 4 n) is in the order i, f, g, o.
    """
    n, m, nought = u.shape[2] // 4, seq.x.shape[2], y.dtype.type(0)
    for j in range(4 * m):
        y[j] = nought
    for j in range(n):
        y[j], y[m + j] = u[t, b, 2 * n + j], u[t, b, j]
        y[2 * m + j], y[3 * m + j] = u[t, b, n + j], u[t, b, 3 * n + j]
    for c in range(z.shape[1]):
        for j in range(4 * m):
            y[j] += z[t % 2, c, b, j]
    activate(y[:m], False)
    sigmoid(y[m : 4 * m])
    began = seq.episode_start[t, b]
    for j in range(m):
        before = nought if began else seq.cells[t, b, j]
        y[4 * m + j] = y[2 * m + j] * before + y[m + j] * y[j]
        seq.cells[t + 1, b, j] = y[4 * m + j]
        seq.post[t + 1, b, j] = y[j]
    activate(y[4 * m :], False)
    for j in range(m):
        y[4 * m + j] *= y[3 * m + j]
        seq.x[t + 1, b, j] = y[4 * m + j]
    for j in range(3 * m):
        seq.shown[t, b, j] = y[m + j]


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
def advance_runs(code, law, plain, x, y, rates, h0, h1, e0, e1, first, s1, b, i, j):
    """Take vector j of rows i and i + 1 of the traces of step ``first`` to those of step s1.

    Equal updates are one, unless ``plain``, a constant to the compiler: then all are made one by one.
    """
    batch, m = x.shape[1:]
    s = first
    while s < s1:
        p, k = (s * batch + b) * m, 1 if plain else min(max(law.runs[s], 1), s1 - s)
        post, rate = load(y, p + batch * m + j), rate_at(code, law, rates, p + j)
        gain = gain_of(code, law, rate, post)
        if code == HEBB and k > 1:
            gain = splat(law.fade[1, k]) * post
            h0 = multiply_add(h0, splat(law.fade[0, k]), spread(x, p + i) * gain)
            h1 = multiply_add(h1, splat(law.fade[0, k]), spread(x, p + i + 1) * gain)
        else:
            p0, p1 = spread(x, p + i), spread(x, p + i + 1)
            h0 = advance(code, law, h0, e0, p0, post, rate, gain)
            h1 = advance(code, law, h1, e1, p1, post, rate, gain)
            e0, e1 = mark(code, law, e0, p0, gain), mark(code, law, e1, p1, gain)
        s += k
    return h0, h1, e0, e1


@_inlined_whole
def rebuild(code, law, plain, x, y, rates, traces, at, apart, first, s1, fresh, b, i, j):
    """The traces of step s1, at vector j of rows i and i + 1, from those of step ``first``: zero or at ``traces[at]``.

    apart: how far behind it the eligibility is.
    """
    h0, h1, e0, e1 = splat(x.dtype.type(0)), splat(x.dtype.type(0)), splat(x.dtype.type(0)), splat(x.dtype.type(0))
    if not fresh:
        m = x.shape[2]
        h0, h1 = load(traces, at), load(traces, at + m)
        e0, e1 = eligibility_at(code, traces, at + apart), eligibility_at(code, traces, at + apart + m)
    return advance_runs(code, law, plain, x, y, rates, h0, h1, e0, e1, first, s1, b, i, j)


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


@_inline
def catch_up(code, seq, h, s0, s1, block, i0, i1):
    """Take rows i0 to i1 of h from the traces of step s0 to those of step s1."""
    literally(code)
    law, x = seq.law, seq.x
    m, depth, apart = x.shape[2], depth_of(code, seq.w), seq.w.size
    for b in range(block.b0, block.b1):
        first, fresh = rebuilt_from(seq.episode_start, s0, s1, b)
        for i in range(i0, i1, 2):
            for j in range(0, m, lanes_of(x)):
                at = b * depth + i * m + j
                h0, h1, e0, e1 = rebuild(
                    code, law, False, x, seq.post, seq.rates, h, at, apart, first, s1, fresh, b, i, j
                )
                store_two(code, h, at, m, apart, h0, h1, e0, e1)


@_inline
def kept_step(start, stride, k):
    """The step whose trace ``segment[k]`` holds: the one before ``start + k * stride``, if there is one."""
    return max(start + k * stride - 1, 0)


@_inlined_whole
def store_two(code, traces, at, m, apart, h0, h1, e0, e1):
    """Write a vector of two rows of the traces."""
    store(traces, at, h0)
    store(traces, at + m, h1)
    if code & RETROACTIVE:
        store(traces, at + apart, e0)
        store(traces, at + apart + m, e1)


@_inline
def recompute_rows(code, lag, law, x, y, rates, segment, old, new, apart, first, s1, fresh, b, i0, i1):
    """Rows i0 to i1 of the traces of step s1, at ``segment[new]``, from those of step ``first`` at ``segment[old]``.

    ``lag``, a constant to the compiler, is s1 - ``first`` in the common case: not fresh; else it is -1.
    """
    literally(code)
    literally(lag)
    m = x.shape[2]
    if lag >= 0:
        first, fresh = s1 - lag, False
    for i in range(i0, i1, 2):
        for j in range(0, m, lanes_of(x)):
            at = i * m + j
            h0, h1, e0, e1 = rebuild(
                code, law, lag >= 0, x, y, rates, segment, old + at, apart, first, s1, fresh, b, i, j
            )
            store_two(code, segment, new + at, m, apart, h0, h1, e0, e1)


@_inline
def recompute(code, seq, traces, start, end, block, i0, i1):
    """Fill rows i0 to i1 of the segment with every stride-th trace of the steps from start to end."""
    literally(code)
    law, episode_start, x, y, rates = seq.law, seq.episode_start, seq.x, seq.post, seq.rates
    trace, snapshots, every, segment, stride = traces
    (rows, m), depth, apart = seq.w.shape, depth_of(code, seq.w), seq.w.size
    group, b0 = segment.shape[1], block.b0
    for b in range(b0, block.b1):
        kept = (b - b0) * depth
        if start > 0:
            at = ((start // every - 1) * x.shape[1] + b) * depth
            copy_rows(code, segment, kept, snapshots, at, rows, m, i0, i1)
        elif episode_start[0, b]:
            clear_rows(code, segment, kept, rows, m, i0, i1)
        else:
            copy_rows(code, segment, kept, trace, b * depth, rows, m, i0, i1)
        for k in range(1, (end - start + stride - 1) // stride):
            old, new = ((k - 1) * group + b - b0) * depth, (k * group + b - b0) * depth
            s1 = kept_step(start, stride, k)
            first, fresh = rebuilt_from(episode_start, kept_step(start, stride, k - 1), s1, b)
            if fresh or s1 - first != STRIDE:
                recompute_rows(code, -1, law, x, y, rates, segment, old, new, apart, first, s1, fresh, b, i0, i1)
            else:
                recompute_rows(code, STRIDE, law, x, y, rates, segment, old, new, apart, first, s1, fresh, b, i0, i1)


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
def add_weights(code, plain, law, episode_start, x, y, rates, segment, gz, gw, ga, t0, t1, part):
    """Add a part of the gradients of w and alpha over an episode's steps t0 to t1.

    The traces are recomputed in registers.

    ``plain``, a constant to the compiler: there is a step t0 - 1, no episode starts from it on, and none is held.
    """
    literally(code)
    literally(plain)
    b, b0, i0, i1, _ = part
    if not plain:
        steps = free_steps(law.runs, episode_start, t0, t1, b)
    m = gw.shape[1]
    batch, apart, depth = x.shape[1], gw.size, depth_of(code, gw)
    zero = splat(gw.dtype.type(0))
    for k0 in range(0, m, TILE):  # of each step few numbers, which stay in the nearest cache for all rows
        for i in range(i0, i1, 2):
            first = (b - b0) * depth + i * m
            for j in range(k0, min(k0 + TILE, m), lanes_of(x)):
                h0, h1 = load(segment, first + j), load(segment, first + m + j)
                e0 = eligibility_at(code, segment, first + apart + j)
                e1 = eligibility_at(code, segment, first + apart + m + j)
                w0, w1, a0, a1 = zero, zero, zero, zero
                if plain:
                    at = (t0 * batch + b) * m
                    before0, before1 = spread(x, at - batch * m + i), spread(x, at - batch * m + i + 1)
                    for _ in range(t0, t1):
                        p0, p1, post = spread(x, at + i), spread(x, at + i + 1), load(y, at + j)
                        rate = rate_at(code, law, rates, at - batch * m + j)
                        gain = gain_of(code, law, rate, post)
                        h0 = advance(code, law, h0, e0, before0, post, rate, gain)
                        h1 = advance(code, law, h1, e1, before1, post, rate, gain)
                        e0, e1 = mark(code, law, e0, before0, gain), mark(code, law, e1, before1, gain)
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
                            h0, h1, e0, e1 = zero, zero, zero, zero
                        h0, h1, e0, e1 = advance_runs(
                            code, law, False, x, y, rates, h0, h1, e0, e1, steps[k, 1], t, b, i, j
                        )
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


@_inline
def add_gate_weights(episode_start, x, gshown, gw, t0, t1, b, i0, i1):
    """Add rows i0 to i1 of the gradient of an LSTM's gates over an episode's steps t0 to t1."""
    width = gw.shape[1]
    batch = x.shape[1]
    for k0 in range(0, width, TILE):
        for i in range(i0, i1, ROWS):
            for j in range(k0, min(k0 + TILE, width), lanes_of(x)):
                at = i * width + j
                w0, w1 = load(gw, at), load(gw, at + width)
                w2, w3 = load(gw, at + 2 * width), load(gw, at + 3 * width)
                for t in range(t0, t1):
                    if not episode_start[t, b]:
                        p, g = (t * batch + b) * x.shape[2] + i, load(gshown, (t * batch + b) * width + j)
                        w0, w1 = multiply_add(spread(x, p), g, w0), multiply_add(spread(x, p + 1), g, w1)
                        w2, w3 = multiply_add(spread(x, p + 2), g, w2), multiply_add(spread(x, p + 3), g, w3)
                store(gw, at, w0)
                store(gw, at + width, w1)
                store(gw, at + 2 * width, w2)
                store(gw, at + 3 * width, w3)


@_inlined_whole
def add_two(array, at, a0, b0, a1, b1):
    """Add the products a0 b0 and a1 b1 to a vector of an array."""
    store(array, at, multiply_add(a1, b1, multiply_add(a0, b0, load(array, at))))


@_inline
def into_change(code, v, d, h):
    """The gradient of what a step added to the trace h, from that of the trace after it; d is what it added."""
    return multiply_add(-signed(v, d), h, v) if code & RULE == SOFT_CLIP else v


@_inline
def kept_by_clip(code, law, v, h, pre, gain, rate, e):
    """The gradient v of a trace, where clip did not limit it; h is the trace before the step."""
    if code & RULE == CLIP:
        return where_within(v, sum_before(code, h, pre, gain, rate, e), law.bound)
    return v


@_inlined_whole
def add_sums(
    code, sums, at, v0, v1, ve0, ve1, h0, h1, e0, e1, p0, p1, gain, rate, post, sum0, sum1, decay
):  # fmt: skip
    """Add the share of two rows of the gradient of the next step's traces to the sums that this step needs.

    Those over pre neurons are at ``at``. Returns those over post neurons, sum0 and sum1, and decay, after this vector.

    v and ve: of the trace and the eligibility; h and e: these before the step.
    """
    s0 = into_change(code, v0, change(code, p0, gain, rate, e0), h0)
    s1 = into_change(code, v1, change(code, p1, gain, rate, e1), h1)
    if code & RETROACTIVE:
        add_two(sums.post, at, ve0, p0, ve1, p1)
        if code & RULE == HEBB:
            add_two(sums.decay, at, s0, e0 + -h0, s1, e1 + -h1)
        else:
            add_two(sums.decay, at, s0, e0, s1, e1)
        sum0, sum1 = multiply_add(ve0, post, sum0), multiply_add(ve1, post, sum1)
        decay = multiply_add(ve1, e1, multiply_add(ve0, e0, decay))
    else:
        add_two(sums.post, at, s0, p0, s1, p1)
        if code & RULE == OJA or (code & RULE == HEBB and code & MODULATED):
            add_two(sums.decay, at, v0, h0, v1, h1)
        factor = gain if code & MODULATED else post
        sum0, sum1 = multiply_add(s0, factor, sum0), multiply_add(s1, factor, sum1)
    return sum0, sum1, decay


@_inline
def sum_last(code, seq, kept, s0, g, sums, block):
    """The sums over the gradient of the last traces, which no step after it has made; ``kept`` has those of step s0."""
    literally(code)
    law, episode_start, x, y, rates = seq.law, seq.episode_start, seq.x, seq.post, seq.rates
    post_sum, decayed = sums.post, sums.decayed
    b0, b1, chunk, c0, c1 = block
    (rows, m), depth, apart = seq.w.shape, depth_of(code, seq.w), seq.w.size
    batch, last, chunks = x.shape[1], x.shape[0] - 2, post_sum.shape[1]
    zero = splat(x.dtype.type(0))
    for c in range(c0, c1):
        for b in range(b0, b1):
            first, fresh = rebuilt_from(episode_start, s0, last, b)
            xi, bi = ((last + 1) * batch + b) * m, ((last % 2 * chunks + c) * batch + b) * post_sum.shape[3]
            decay = zero
            for i in range(c * chunk, min(rows, (c + 1) * chunk), 2):
                gi, hi = b * depth + i * m, (b - b0) * depth + i * m
                p0 = splat(pre(x, episode_start, last, b, i))
                p1 = splat(pre(x, episode_start, last, b, i + 1))
                sum0, sum1 = zero, zero
                for j in range(0, m, lanes_of(x)):
                    v0, v1, post = load(g, gi + j), load(g, gi + m + j), load(y, xi + j)
                    ve0, ve1 = eligibility_at(code, g, gi + apart + j), eligibility_at(code, g, gi + apart + m + j)
                    rate = rate_at(code, law, rates, xi - batch * m + j)
                    gain = gain_of(code, law, rate, post)
                    h0, h1, e0, e1 = rebuild(
                        code, law, False, x, y, rates, kept, hi + j, apart, first, last, fresh, b, i, j
                    )
                    if code & RULE == CLIP:
                        v0 = kept_by_clip(code, law, v0, h0, p0, gain, rate, e0)
                        v1 = kept_by_clip(code, law, v1, h1, p1, gain, rate, e1)
                        store(g, gi + j, v0)
                        store(g, gi + m + j, v1)
                    sum0, sum1, decay = add_sums(
                        code, sums, bi + j, v0, v1, ve0, ve1, h0, h1, e0, e1, p0, p1, gain, rate, post, sum0, sum1,
                        decay,
                    )  # fmt: skip
                sums.pre[b, i] = total(sum0)
                sums.pre[b, i + 1] = total(sum1)
            if code & RETROACTIVE:
                store(decayed, (b * chunks + c) * lanes_of(x), decay)


@_inline
def through_nonlinearity(gx, x, relu):
    """Turn the gradient of outputs x into that of their net input, in place."""
    one, nought = x.dtype.type(1), x.dtype.type(0)
    for j in range(gx.shape[0]):
        gx[j] *= (one if x[j] > 0 else nought) if relu else one - x[j] * x[j]


@_inlined_sum
def update_change(code, x, post_sum, decay_sum):
    """How the update of the trace changes with eta, in the direction of the trace's gradient; hebb's decay apart."""
    change = x.dtype.type(0)
    for j in range(x.shape[0]):
        change += x[j] * post_sum[j]
        if code & RULE == OJA:
            change -= x[j] * x[j] * decay_sum[j]
    return change


@_inline
def into_rates(code, seq, t, gradients, post, post_sum, decay_sum, grate, gx, b, alone):
    """The gradient of the rates of step t's update, and through the modulator into that of its outputs, gx."""
    literally(code)
    m = post.shape[0]
    weight, _, gain, _, logistic = seq.modulator
    for j in range(m):
        if code & RETROACTIVE:
            grate[j] = decay_sum[j]
        elif code & RULE == OJA:
            grate[j] = post[j] * (post_sum[j] - post[j] * decay_sum[j])
        elif code & RULE == HEBB:
            grate[j] = post[j] * post_sum[j] - decay_sum[j]
        else:
            grate[j] = post[j] * post_sum[j]
    if alone:
        for j in range(m):
            gradients.rates[t, b, j] = grate[j]
    if weight.shape[0] > 0:
        signal = seq.signals[t, b]
        net = dot(grate, gain) * (signal * (1 - signal) if logistic else 1 - signal * signal)
        if alone:
            gradients.signals[t, b] = net
        for j in range(m):
            gx[j] += gx.dtype.type(net) * weight[j]


@_inline
def through_gates(seq, t, gradients, gnew, gh, tanh, b):
    """The gradients of an LSTM's net inputs, from those of its cells' input by the traces, gnew, and its outputs, gh.

    tanh: (m,) scratch.
    """
    cells, shown, gcells, gshown = seq.cells, seq.shown, gradients.cells, gradients.shown
    m, one, nought = gh.shape[0], gh.dtype.type(1), gh.dtype.type(0)
    began = seq.episode_start[t, b]
    for j in range(m):
        tanh[j] = cells[t + 1, b, j]
    activate(tanh, False)
    for j in range(m):
        take, keep, show, new = shown[t, b, j], shown[t, b, m + j], shown[t, b, 2 * m + j], seq.post[t + 1, b, j]
        before = nought if began else cells[t, b, j]
        gcell = gcells[(t + 1) % 2, b, j] + gh[j] * show * (one - tanh[j] * tanh[j])
        gshown[t, b, j] = gcell * new * take * (one - take)
        gshown[t, b, m + j] = gcell * before * keep * (one - keep)
        gshown[t, b, 2 * m + j] = gh[j] * tanh[j] * show * (one - show)
        gradients.u[t, b, j] = (gnew[j] + gcell * take) * (one - new * new)
        gcells[t % 2, b, j] = nought if began else gcell * keep


@_inline
def into_outputs(code, seq, t, gradients, sums, gpost, gx, xj, post, decay, rate, b, alone):
    """The gradients of step t's postsynaptic activity and outputs (the same, unless it is an LSTM); eta's share.

    As in ``settle_neurons``, every thread makes them for itself, from all shares. What no thread reads is left to the
    one that is ``alone`` in it. Writes into scratch (m,): the two gradients, and what they are made of.
    """
    literally(code)
    law, gout, into_pre = seq.law, gradients.outputs, sums.into_pre
    post_sum, decay_sum = sums.post, sums.decay
    n, m, nought = gout.shape[2], seq.x.shape[2], gx.dtype.type(0)
    for j in range(m):
        xj[j], post[j], decay[j] = seq.post[t + 1, b, j], nought, nought
    for c in range(post_sum.shape[1]):
        for j in range(m):
            post[j] += post_sum[t % 2, c, b, j]
            decay[j] += decay_sum[t % 2, c, b, j]
    simple = code & (MODULATED + RETROACTIVE) == MODULATED
    for j in range(m):
        rate[j] = seq.rates[t, b, j] if simple else law.eta
        gx[j] = nought
    for j in range(m):
        gpost[j] = rate[j] * post[j]
    for j in range(n):
        gx[j] += gout[t, b, j]
    if t < gout.shape[0] - 1:
        for j in range(m):
            gx[j] += into_pre[(t + 1) % 2, b, j]
    if code & RULE == OJA:
        for j in range(m):  # its decay, -rate x_j^2 trace
            gpost[j] -= rate[j] * 2 * xj[j] * decay[j]
    if alone and law.runs[t] == 0 and not simple:
        gradients.eta[b, 0] += update_change(code, xj, post, decay)


@_inline
def into_net_input(seq, t, gradients, gx, xj, b, alone):
    """The gradient of step t's outputs through the nonlinearity, or into the clamp."""
    clamp, gclamp, gz = seq.clamp, gradients.clamp, gradients.u
    n, m, nought = clamp.shape[2], gx.shape[0], gx.dtype.type(0)
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
def into_trace(code, v, gj, aj, p, post, rate, d):
    """The gradient of a step's trace from that of the next step's trace, clip's limit apart; d is what it added."""
    if code & RULE == HEBB:
        v = v * one_minus(rate)
    if code & RULE == OJA:
        v = multiply_add(-rate * post * post, v, v)
    if code & RULE == SOFT_CLIP:
        v = v * one_minus(absolute(d))
    return multiply_add(p, aj * gj, v)


@_inline
def into_eligibility(code, law, v, ve, h, rate, d):
    """The gradient of a step's eligibility from those of the next step's, ve, and trace, v; 0 where there is none."""
    if code & RETROACTIVE:
        return multiply_add(into_change(code, v, d, h), rate, ve * one_minus(splat(law.eta)))
    return ve


@_inline
def through_rows(code, lag, law, origin, w, a, gates, x, y, rates, t, kept, g, gz, gshown, sums, part):
    """``into_traces`` for one part, whose traces of step t - 1 are rebuilt from their origin in ``kept``.

    ``lag``, a constant to the compiler, is t - 1 - ``origin.first`` in the common case: not fresh, not still; else it
    is -1.
    """
    literally(code)
    literally(lag)
    first, fresh, still = origin
    b, b0, i0, i1, c = part
    post_sum, pre_sum, decayed, into_pre = sums.post, sums.pre, sums.decayed, sums.into_pre
    s1, started = max(t - 1, 0), t > 0
    if lag >= 0:
        s1, started = t - 1, True
        first, fresh, still = s1 - lag, False, False
    m, depth, apart = w.shape[1], depth_of(code, w), w.size
    lanes = lanes_of(w)
    batch, chunks = x.shape[1], post_sum.shape[1]
    zero = splat(w.dtype.type(0))
    scale = type(law.eta)(1) if code & MODULATED and not code & RETROACTIVE else law.eta  # else it is in pre_sum
    bi, xi = (((t + 1) % 2 * chunks + c) * batch + b) * post_sum.shape[3], (t * batch + b) * m
    si = (s1 * batch + b) * m
    decay = load(decayed, (b * chunks + c) * lanes)
    for i in range(i0, i1, 2):
        gi, wi, hi = b * depth + i * m, i * m, (b - b0) * depth + i * m
        p0, p1 = spread(x, xi + i), spread(x, xi + i + 1)
        before0, before1 = zero, zero
        if not still:
            before0, before1 = spread(x, xi - batch * m + i), spread(x, xi - batch * m + i + 1)
        into0, into1, sum0, sum1 = zero, zero, zero, zero
        for j in range(0, m, lanes):
            gj, post, rate = load(gz, xi + j), load(y, xi + batch * m + j), rate_at(code, law, rates, xi + j)
            v0, a0 = load(g, gi + j), load(a, wi + j)
            v1, a1 = load(g, gi + m + j), load(a, wi + m + j)
            old0, old1, olde0, olde1 = rebuild(
                code, law, lag >= 0, x, y, rates, kept, hi + j, apart, first, s1, fresh, b, i, j
            )
            former, formerly = load(y, xi + j), rate_at(code, law, rates, si + j)  # of step t - 1
            h0, h1, e0, e1 = old0, old1, olde0, olde1
            gain = gain_of(code, law, formerly, former)
            if started:
                h0 = advance(code, law, old0, olde0, before0, former, formerly, gain)
                h1 = advance(code, law, old1, olde1, before1, former, formerly, gain)
                e0, e1 = mark(code, law, olde0, before0, gain), mark(code, law, olde1, before1, gain)
            into0 = multiply_add(gj, multiply_add(a0, h0, load(w, wi + j)), into0)
            into1 = multiply_add(gj, multiply_add(a1, h1, load(w, wi + m + j)), into1)
            if code & RULE == HEBB and not code & MODULATED:
                decay = multiply_add(v1, h1, multiply_add(v0, h0, decay))
            reach = gain_of(code, law, rate, post)
            d0, d1 = change(code, p0, reach, rate, e0), change(code, p1, reach, rate, e1)
            ve0, ve1 = eligibility_at(code, g, gi + apart + j), eligibility_at(code, g, gi + apart + m + j)
            ve0 = into_eligibility(code, law, v0, ve0, h0, rate, d0)
            ve1 = into_eligibility(code, law, v1, ve1, h1, rate, d1)
            v0 = into_trace(code, v0, gj, a0, p0, post, rate, d0)
            v1 = into_trace(code, v1, gj, a1, p1, post, rate, d1)
            if started:
                v0 = kept_by_clip(code, law, v0, old0, before0, gain, formerly, olde0)
                v1 = kept_by_clip(code, law, v1, old1, before1, gain, formerly, olde1)
                sum0, sum1, decay = add_sums(
                    code, sums, bi + j, v0, v1, ve0, ve1, old0, old1, olde0, olde1, before0, before1, gain, formerly,
                    former, sum0, sum1, decay,
                )  # fmt: skip
            store_two(code, g, gi + j, m, apart, v0, v1, ve0, ve1)
        if code & LSTM:
            for j in range(0, 3 * m, lanes):
                gj = load(gshown, 3 * xi + j)
                into0 = multiply_add(gj, load(gates, 3 * wi + j), into0)
                into1 = multiply_add(gj, load(gates, 3 * (wi + m) + j), into1)
        into_pre[t % 2, b, i] = total(into0) + scale * pre_sum[b, i]
        into_pre[t % 2, b, i + 1] = total(into1) + scale * pre_sum[b, i + 1]
        pre_sum[b, i] = total(sum0)
        pre_sum[b, i + 1] = total(sum1)
    store(decayed, (b * chunks + c) * lanes, decay)


@_inline
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


@_inline
def into_traces(code, seq, t, kept, s0, gradients, sums, block):
    """One pass over the rows: the gradients of the traces and the activity before step t, and step t - 1's sums.

    ``kept`` has the traces of step s0.
    """
    literally(code)
    w, a, v, law, episode_start, x, y, rates = (
        seq.w, seq.a, seq.gates, seq.law, seq.episode_start, seq.x, seq.post, seq.rates,
    )  # fmt: skip
    g, gz, gv = gradients.trace, gradients.u, gradients.shown
    b0, b1, chunk, c0, c1 = block
    rows, m = w.shape
    begin_sums(sums, t + 1, block)
    for c in range(c0, c1):
        for i0 in range(c * chunk, min(rows, (c + 1) * chunk), BLOCK):
            i1 = min(i0 + BLOCK, rows)
            for b in range(b0, b1):
                if episode_start[t, b]:
                    clear_rows(code, g, b * depth_of(code, w), rows, m, i0, i1)
                    for i in range(i0, i1):
                        sums.into_pre[t % 2, b, i] = 0
                        sums.pre[b, i] = 0
                    continue
                s1 = max(t - 1, 0)
                first, fresh = rebuilt_from(episode_start, s0, s1, b)
                still = t == 0 or episode_start[s1, b]
                origin, part = Origin(first, fresh, still), Part(b, b0, i0, i1, c)
                if still or fresh or s1 - first >= STRIDE:
                    through_rows(code, -1, law, origin, w, a, v, x, y, rates, t, kept, g, gz, gv, sums, part)
                elif first == s1:
                    through_rows(code, 0, law, origin, w, a, v, x, y, rates, t, kept, g, gz, gv, sums, part)
                elif first == s1 - 1:
                    through_rows(code, 1, law, origin, w, a, v, x, y, rates, t, kept, g, gz, gv, sums, part)
                else:
                    through_rows(code, 2, law, origin, w, a, v, x, y, rates, t, kept, g, gz, gv, sums, part)


@_inline
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
                    h0, h1, e0, e1 = rebuild(
                        HEBB, law, False, x, x, seq.rates, kept, hi + j, 0, first, old, fresh, b, i, j
                    )
                    if t0 > 0:
                        eta = splat(law.eta)
                        h0 = advance(HEBB, law, h0, e0, before0, xj, eta, eta * xj)
                        h1 = advance(HEBB, law, h1, e1, before1, xj, eta, eta * xj)
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
def take_decayed(gradients, sums, block):
    """Take what a pass added to ``decayed`` off the gradient of eta."""
    decayed = sums.decayed
    chunks = sums.post.shape[1]
    for b in range(block.b0, block.b1):
        for c in range(block.c0, block.c1):
            gradients.eta[b, c] -= total(load(decayed, (b * chunks + c) * lanes_of(decayed)))


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
def build(name: str, modulated: bool, retroactive: bool, lstm: bool) -> Kernels:
    """Define the kernels of a rule, with rates of each neuron, with eligibility traces, or with gates.

    Its code is the one variable that the kernels close over, which makes it a constant to the compiler, and which
    Numba's cache on disk can tell apart.
    """
    code = RULES.index(name) + MODULATED * modulated + RETROACTIVE * retroactive + LSTM * lstm

    @_kernel
    def forward(seq, u, z, h, snapshots, every, half0, t1, block, meeting):
        """Do the steps up to t1 of a block; return the half step to continue with, or -1.

        A step is two halves, 2 t and 2 t + 1: each chunk's share in the net input, then the outputs from all shares.
        z: (2, C, B, m or more) scratch, the shares; a thread that is ahead writes the next step's into the other half.
        h: (B, rows, m), in: the trace before the update of step t0 - 1 (of step 0 for t0 = 0), out: before the
        update of step t1 - 1, or after it if t1 is the end. Held steps leave their updates to later steps.
        snapshots[s - 1] takes the trace of step ``s * every - 1``.
        """
        w, a, law, episode_start, x = seq.w, seq.a, seq.law, seq.episode_start, seq.x
        b0, b1, chunk, c0, c1 = block
        rows, m = w.shape
        batch, steps, chunks = x.shape[1], x.shape[0] - 1, z.shape[1]
        first_row, last_row = c0 * chunk, min(rows, c1 * chunk)
        depth, width = depth_of(code, w), 4 * m if code & LSTM else m
        y = np.empty(5 * m if code & LSTM else m, w.dtype)
        for half in range(half0, 2 * t1):
            t = half // 2
            if half % 2 == 1:
                if not all_there(meeting, t + 1):
                    return half
                for b in range(b0, b1):
                    if code & LSTM:
                        settle_cells(seq, u, z, y, t, b)
                    else:
                        settle_neurons(seq, u, z, y, t, b)
                    if code & MODULATED:
                        modulate(seq, y[y.shape[0] - m :], t, b)
                continue
            held = law.runs[t] > 0
            due = t if held and (t + 1) % every == 0 else t - 1  # the step whose trace h is to hold now
            if not held or due == t:
                s0 = reached(law.runs, every, t)
                if s0 < due:
                    catch_up(code, seq, h, s0, due, block, first_row, last_row)
            # The update that step t - 1 left to do and the product of step t share one pass over the trace.
            for c in range(c0, c0 if held else c1):
                for b in range(b0, b1):
                    clear(z, ((t % 2 * chunks + c) * batch + b) * z.shape[3], width)
                for i0 in range(c * chunk, min(rows, (c + 1) * chunk), BLOCK):
                    i1 = min(i0 + BLOCK, rows)
                    for b in range(b0, b1):
                        if episode_start[t, b]:
                            clear_rows(code, h, b * depth, rows, m, i0, i1)
                            continue
                        hb, xb, zb = b * depth, (t * batch + b) * m, ((t % 2 * chunks + c) * batch + b) * z.shape[3]
                        if t == 0 or episode_start[t - 1, b]:  # step t - 1 has left nothing to do
                            for i in range(i0, i1):
                                p = spread(x, xb + i)
                                for j in range(0, m, lanes_of(x)):
                                    at = i * m + j
                                    seen = multiply_add(load(a, at), load(h, hb + at), load(w, at))
                                    store(z, zb + j, multiply_add(p, seen, load(z, zb + j)))
                        else:
                            advance_rows(code, law, w, a, x, seq.post, seq.rates, z, h, hb, xb, zb, i0, i1)
                        if code & LSTM:
                            add_gates(seq.gates, x, z, xb, zb + m, i0, i1)
            if (t + 1) % every == 0 and (t + 1) // every <= snapshots.shape[0]:
                for b in range(b0, b1):
                    at = (((t + 1) // every - 1) * batch + b) * depth
                    copy_rows(code, snapshots, at, h, b * depth, rows, m, first_row, last_row)
            if meeting.parties > 1:
                count_up(meeting.counter)
        if t1 == steps:
            s0 = reached(law.runs, every, steps)
            if s0 < steps - 1:
                catch_up(code, seq, h, s0, steps - 1, block, first_row, last_row)
            for b in range(b0, b1):
                for i in range(first_row, last_row):
                    hi, xi = b * depth + i * m, (steps * batch + b) * m
                    before = splat(pre(x, episode_start, steps - 1, b, i))
                    for j in range(0, m, lanes_of(x)):
                        post, rate = load(seq.post, xi + j), rate_at(code, law, seq.rates, xi - batch * m + j)
                        gain, e = gain_of(code, law, rate, post), eligibility_at(code, h, hi + rows * m + j)
                        store(h, hi + j, advance(code, law, load(h, hi + j), e, before, post, rate, gain))
                        if code & RETROACTIVE:
                            store(h, hi + rows * m + j, mark(code, law, e, before, gain))
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
        steps = x.shape[0] - 1
        first_row, last_row = c0 * chunk, min(rows, c1 * chunk)
        scratch = np.empty((7, m), w.dtype)
        t = steps - done
        while t >= 0:
            if not all_there(meeting, steps - t):
                return steps - t
            start = min(t, steps - 1) // every * every
            end = min(start + every, steps)
            idle = count_held(law.runs, start, end) == end - start  # gz is zero, and of the traces only one asked for
            if t == steps or (t == end - 1 and end < steps):
                recompute(code, seq, traces, start, start + 1 if idle else end, block, first_row, last_row)
            if t == steps:
                begin_sums(sums, steps - 1, block)
                if has_gtrace:
                    k = (steps - 1 - start) // stride
                    sum_last(code, seq, segment[k], kept_step(start, stride, k), gradients.trace, sums, block)
                    if code & RETROACTIVE:
                        take_decayed(gradients, sums, block)
                if meeting.parties > 1:
                    count_up(meeting.counter)
                t -= 1
                continue
            gpost, xj, post, decay, rate, grate = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
            gx = scratch[6] if code & LSTM else gpost
            for b in range(b0, b1):
                into_outputs(code, seq, t, gradients, sums, gpost, gx, xj, post, decay, rate, b, c0 == 0)
                if code & MODULATED:
                    into_rates(code, seq, t, gradients, xj, post, decay, grate, gx, b, c0 == 0)
                if code & LSTM:
                    through_gates(seq, t, gradients, gpost, gx, rate, b)
                else:
                    into_net_input(seq, t, gradients, gx, xj, b, c0 == 0)
            low = t  # held steps are taken together, an odd number of them: then the halves of the sums take turns
            while law.runs[t] > 0 and low - 1 > start and law.runs[low - 1] > 0 and law.runs[low - 2] > 0:
                low -= 2
            k = (low - start) // stride
            kept, s0 = segment[k], kept_step(start, stride, k)
            if code == HEBB and law.runs[t] > 0:
                through_held(seq, low, t, kept, s0, gradients, sums, block)
            else:
                into_traces(code, seq, t, kept, s0, gradients, sums, block)
            take_decayed(gradients, sums, block)
            if low == 0:
                for b in range(b0, b1):
                    for i in range(first_row, last_row):
                        gradients.hidden[b, i] = sums.into_pre[0, b, i]
            if low == start and not idle:
                gz, gw, ga = gradients.u, gradients.w, gradients.a
                for b in range(b0, b1):
                    part = Part(b, b0, first_row, last_row, 0)
                    began = start == 0
                    for s in range(max(start - 1, 0), end):
                        began |= episode_start[s, b]
                    y, rates = seq.post, seq.rates
                    if not began and count_held(law.runs, start, end) == 0:
                        add_weights(code, True, law, episode_start, x, y, rates, segment, gz, gw, ga, start, end, part)
                    else:
                        add_weights(code, False, law, episode_start, x, y, rates, segment, gz, gw, ga, start, end, part)
                    if code & LSTM:
                        gv = gradients.gates
                        add_gate_weights(episode_start, x, gradients.shown, gv, start, end, b, first_row, last_row)
            if meeting.parties > 1:
                for _ in range(low, t + 1):
                    count_up(meeting.counter)
            t = low - 1
        return -1

    return Kernels(forward, backward)

"""Numba kernels of the fused CPU engine; README.md beside this file derives them.

Everything here is plain numpy arrays and loops. The kernels release the GIL and start no threads: the caller
gives each call a block of the batch (a *group*) and a block of columns (*chunks*) to work on, so that any
thread may run any block and the bits of the result do not depend on which one did.

``x`` is (T + 1, B, N) and holds the initial hidden state at 0 and the output of step t at t + 1, so ``x[t]`` is
always the activity *before* step t.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np

# No 'nnan' or 'ninf': a run that diverges must show its NaNs.
FAST = {"contract", "reassoc", "nsz", "arcp"}


def _jit(function: Any) -> Any:
    """Compile with a cache on disk; where no place for one can be written, without."""
    try:
        return numba.njit(nogil=True, fastmath=FAST, error_model="numpy", cache=True)(function)
    except RuntimeError:  # "no locator available": a read-only install and no writable home
        return numba.njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


def _inline(function: Any) -> Any:
    return numba.njit(fastmath=FAST, error_model="numpy")(function)


@_inline
def pre(x, episode_start, t, b, i):  # type: ignore[no-untyped-def]
    """Activity of neuron i before step t, as that step sees it: zero at an episode's start."""
    return x.dtype.type(0) if episode_start[t, b] else x[t, b, i]


@_inline
def tanh_float32(z):  # type: ignore[no-untyped-def]
    """Tanh to 2 units in the last place; unlike the C library's, the compiler can vectorise it.

    A rational minimax approximation of degree 13/6, clamped where float32's tanh is 1. NaN stays NaN.
    """
    limit = np.float32(7.90531110763549805)
    c = limit if z > limit else z
    c = -limit if c < -limit else c
    s = c * c
    p = np.float32(-2.76076847742355e-16)
    p = p * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return c * p / q


@_inline
def activate(row, relu):  # type: ignore[no-untyped-def]
    """Apply the nonlinearity in place."""
    if relu:
        for j in range(row.shape[0]):
            row[j] = row[j] if not (row[j] < 0) else row.dtype.type(0)
    elif row.itemsize == 4:
        for j in range(row.shape[0]):
            row[j] = tanh_float32(row[j])
    else:
        for j in range(row.shape[0]):
            row[j] = np.tanh(row[j])


@_inline
def product_row(h, w, a, p, z):  # type: ignore[no-untyped-def]
    """z += p (w + alpha h), for one row of connections."""
    for j in range(z.shape[0]):
        z[j] += p * (w[j] + a[j] * h[j])


@_inline
def add_outer(x, episode_start, gz, gw, t0, t1, b0, b1, j0, j1):  # type: ignore[no-untyped-def]
    """gw[i, j] += sum over steps and episodes of pre_i gz_j, four steps in one pass over a row."""
    for b in range(b0, b1):
        t = t0
        while t + 4 <= t1:
            g0 = gz[t, b, j0:j1]
            g1 = gz[t + 1, b, j0:j1]
            g2 = gz[t + 2, b, j0:j1]
            g3 = gz[t + 3, b, j0:j1]
            for i in range(gw.shape[0]):
                p0 = pre(x, episode_start, t, b, i)
                p1 = pre(x, episode_start, t + 1, b, i)
                p2 = pre(x, episode_start, t + 2, b, i)
                p3 = pre(x, episode_start, t + 3, b, i)
                row = gw[i, j0:j1]
                for j in range(row.shape[0]):
                    row[j] += (p0 * g0[j] + p1 * g1[j]) + (p2 * g2[j] + p3 * g3[j])
            t += 4
        while t < t1:
            g = gz[t, b, j0:j1]
            for i in range(gw.shape[0]):
                p = pre(x, episode_start, t, b, i)
                row = gw[i, j0:j1]
                for j in range(row.shape[0]):
                    row[j] += p * g[j]
            t += 1


class Kernels(NamedTuple):
    """The compiled kernels of one rule."""

    forward: Any
    finish: Any
    backward: Any


@lru_cache
def build(rule: str) -> Kernels:
    """Define the kernels of a rule; Numba compiles them per dtype at their first call.

    Every rule has the form ``h' = limit(h d_j + pre_i q_j)``: d = 1 - eta for hebb, 1 - eta x_j^2 for oja and
    1 for clip; q = eta x_j; and ``limit`` clamps for clip only. The rule is a constant to the compiler.
    """
    is_hebb, is_oja, is_clip = rule == "hebb", rule == "oja", rule == "clip"

    @_inline
    def advance(h, d, pq, bound):  # type: ignore[no-untyped-def]
        v = h * d + pq
        if is_clip:
            v = bound if v > bound else v
            v = -bound if v < -bound else v
        return v

    @_inline
    def factors(x, eta, d, q):  # type: ignore[no-untyped-def]
        """d and q of the update that follows a step with outputs x."""
        one = x.dtype.type(1)
        for j in range(x.shape[0]):
            q[j] = eta * x[j]
            if is_hebb:
                d[j] = one - eta
            elif is_oja:
                d[j] = one - eta * x[j] * x[j]
            else:
                d[j] = one

    @_inline
    def advance_row(h, d, q, p, bound, out):  # type: ignore[no-untyped-def]
        for j in range(out.shape[0]):
            out[j] = advance(h[j], d[j], p * q[j], bound)

    @_inline
    def advance_product_row(h, d, q, p_before, bound, w, a, p, z):  # type: ignore[no-untyped-def]
        """The update that step t-1 left to do and the product of step t, in one pass over the trace."""
        for j in range(z.shape[0]):
            v = advance(h[j], d[j], p_before * q[j], bound)
            h[j] = v
            z[j] += p * (w[j] + a[j] * v)

    @_jit
    def forward(u, w, a, eta, bound, relu, clamp, episode_start, x, h, snapshots, every,  # type: ignore[no-untyped-def]
                d, q, t0, t1, b0, b1, j0, j1):  # fmt: skip
        """Steps t0 to t1 for episodes b0 to b1 and neurons j0 to j1.

        ``h`` (B, N, N) holds the trace before the update of step t0 - 1 and, at the end, of step t1 - 1.
        ``snapshots[s - 1]`` takes the trace of step ``s * every - 1``; d, q: (B, N) scratch.
        """
        n = w.shape[0]
        for t in range(t0, t1):
            for b in range(b0, b1):
                x[t + 1, b, j0:j1] = u[t, b, j0:j1]
                if t > 0:
                    factors(x[t, b, j0:j1], eta, d[b, j0:j1], q[b, j0:j1])
            for i in range(n):
                for b in range(b0, b1):
                    z = x[t + 1, b, j0:j1]
                    row = h[b, i, j0:j1]
                    if episode_start[t, b]:
                        row[:] = 0
                    elif t == 0:
                        product_row(row, w[i, j0:j1], a[i, j0:j1], x[t, b, i], z)
                    else:
                        advance_product_row(row, d[b, j0:j1], q[b, j0:j1], pre(x, episode_start, t - 1, b, i),
                                            bound, w[i, j0:j1], a[i, j0:j1], x[t, b, i], z)  # fmt: skip
            for b in range(b0, b1):
                z = x[t + 1, b, j0:j1]
                activate(z, relu)
                if clamp.shape[0] > 0:
                    for j in range(j0, j1):
                        if not np.isnan(clamp[t, b, j]):
                            x[t + 1, b, j] = clamp[t, b, j]
                if snapshots.shape[0] > 0 and (t + 1) % every == 0 and (t + 1) // every <= snapshots.shape[0]:
                    snapshots[(t + 1) // every - 1, b, :, j0:j1] = h[b, :, j0:j1]

    @_jit
    def finish(eta, bound, episode_start, x, h, d, q, b0, b1, j0, j1):  # type: ignore[no-untyped-def]
        """The update of the last step, which no product follows."""
        last = x.shape[0] - 2
        for b in range(b0, b1):
            factors(x[last + 1, b, j0:j1], eta, d[b, j0:j1], q[b, j0:j1])
            for i in range(h.shape[1]):
                row = h[b, i, j0:j1]
                advance_row(row, d[b, j0:j1], q[b, j0:j1], pre(x, episode_start, last, b, i), bound, row)

    @_inline
    def recompute(eta, bound, episode_start, x, trace, snapshots, every, segment, d, q, s, b0, b1, j0, j1):  # type: ignore[no-untyped-def]
        """Fill ``segment[k + 1]`` with the trace of step ``s * every + k``, and ``segment[0]`` with the one before."""
        last = min((s + 1) * every, x.shape[0] - 1)
        for b in range(b0, b1):
            if s == 0:
                if episode_start[0, b]:
                    segment[1, b - b0, :, j0:j1] = 0
                else:
                    segment[1, b - b0, :, j0:j1] = trace[b, :, j0:j1]
            else:
                segment[0, b - b0, :, j0:j1] = snapshots[s - 1, b, :, j0:j1]
            for t in range(max(s * every, 1), last):
                k = t - s * every
                if episode_start[t, b]:
                    segment[k + 1, b - b0, :, j0:j1] = 0
                else:
                    factors(x[t, b, j0:j1], eta, d[b, j0:j1], q[b, j0:j1])
                    for i in range(x.shape[2]):
                        advance_row(segment[k, b - b0, i, j0:j1], d[b, j0:j1], q[b, j0:j1],
                                    pre(x, episode_start, t - 1, b, i), bound,
                                    segment[k + 1, b - b0, i, j0:j1])  # fmt: skip

    @_inline
    def through_limit(g, h, pq, bound):  # type: ignore[no-untyped-def]
        """The gradient that gets through clip's clamp."""
        if is_clip:
            v = h + pq
            g = g if (v >= -bound and v <= bound) else g * 0
        return g

    @_inline
    def reduce_row(g, h, x, eta, p, bound, post_sum, decay_sum):  # type: ignore[no-untyped-def]
        """Limit a row of trace gradient (in place) and add its sums for the step that made the trace."""
        pre_sum = x.dtype.type(0)
        for j in range(g.shape[0]):
            v = through_limit(g[j], h[j], p * (eta * x[j]), bound)
            g[j] = v
            post_sum[j] += v * p
            pre_sum += v * x[j]
            if is_oja:
                decay_sum[j] += v * h[j]
        return pre_sum

    @_inline
    def backward_row(g, h, h_before, ga, w, a, d, gz, p, x_before, eta, p_before, bound, post_sum, decay_sum):  # type: ignore[no-untyped-def]
        """One row of step t: gradients into the trace, alpha and pre, and the sums that step t-1 needs."""
        zero = gz.dtype.type(0)
        into_pre, pre_sum, decayed = zero, zero, zero
        for j in range(g.shape[0]):
            hj = h[j]
            v = g[j]
            if is_hebb:
                decayed += v * hj
            pg = p * gz[j]
            into_pre += gz[j] * (w[j] + a[j] * hj)
            ga[j] += pg * hj
            v = v * d[j] + a[j] * pg
            if is_clip:
                v = through_limit(v, h_before[j], p_before * (eta * x_before[j]), bound)
            g[j] = v
            post_sum[j] += v * p_before
            pre_sum += v * x_before[j]
            if is_oja:
                decay_sum[j] += v * h_before[j]
        return into_pre, pre_sum, decayed

    @_inline
    def first_row(g, h, ga, w, a, d, gz, p):  # type: ignore[no-untyped-def]
        """One row of step 0, which no update came before."""
        zero = gz.dtype.type(0)
        into_pre, decayed = zero, zero
        for j in range(g.shape[0]):
            if is_hebb:
                decayed += g[j] * h[j]
            pg = p * gz[j]
            into_pre += gz[j] * (w[j] + a[j] * h[j])
            ga[j] += pg * h[j]
            g[j] = g[j] * d[j] + a[j] * pg
        return into_pre, decayed

    @_jit
    def backward(w, a, eta, bound, relu, clamp, episode_start, x, trace, snapshots, every,  # type: ignore[no-untyped-def]
                 gout, has_gtrace, gz, gclamp, g, ga, gw, geta, ghidden,
                 segment, d, q, post_sum, decay_sum, pre_sum, into_pre,
                 t0, t1, b0, b1, chunk, c0, c1):  # fmt: skip
        """Steps t1 - 1 down to t0 for episodes b0 to b1 and column chunks c0 to c1.

        gout: (T, B, N) gradient of the outputs. g: (B, N, N), in: gradient of the last trace, out: of the first. ga, gw: (N, N) sums of this group. gz, gclamp: (T, B, N). geta: (B, C)
        float64. ghidden: (C, B, N), a share per chunk. segment: (every + 1, b, N, N). d, q, post_sum, decay_sum:
        (B, N) scratch. pre_sum: (C, B, N) and into_pre: (2, C, B, N), shares of sums over columns, by chunk:
        into_pre is what other chunks read, so steps take its two halves in turn.
        """
        n = w.shape[0]
        steps = x.shape[0] - 1
        chunks = into_pre.shape[1]
        one = w.dtype.type(1)
        for t in range(t1 - 1, t0 - 1, -1):
            s = t // every
            k = t - s * every
            for c in range(c0, c1):
                j0 = c * chunk
                j1 = min(n, j0 + chunk)
                if t == steps - 1 or k == every - 1:
                    recompute(eta, bound, episode_start, x, trace, snapshots, every, segment, d, q, s, b0, b1, j0, j1)
                if t == steps - 1 and has_gtrace:
                    for b in range(b0, b1):
                        for i in range(n):
                            pre_sum[c, b, i] = reduce_row(
                                g[b, i, j0:j1], segment[k + 1, b - b0, i, j0:j1], x[t + 1, b, j0:j1], eta,
                                pre(x, episode_start, t, b, i), bound, post_sum[b, j0:j1], decay_sum[b, j0:j1],
                            )  # fmt: skip

                for b in range(b0, b1):
                    total = 0.0
                    for j in range(j0, j1):
                        xj = x[t + 1, b, j]
                        gx = gout[t, b, j]
                        if t < steps - 1:
                            for other in range(chunks):
                                gx += into_pre[(t + 1) % 2, other, b, j]
                        gx += eta * post_sum[b, j]
                        total += xj * post_sum[b, j]
                        if is_oja:
                            gx -= eta * 2 * xj * decay_sum[b, j]
                            total -= xj * xj * decay_sum[b, j]
                        slope = (one if xj > 0 else one * 0) if relu else one - xj * xj
                        if clamp.shape[0] > 0 and not np.isnan(clamp[t, b, j]):
                            gclamp[t, b, j] = gx
                            gz[t, b, j] = 0
                        else:
                            if clamp.shape[0] > 0:
                                gclamp[t, b, j] = 0
                            gz[t, b, j] = gx * slope
                        post_sum[b, j] = 0
                        decay_sum[b, j] = 0
                    geta[b, c] += total
                    factors(x[t + 1, b, j0:j1], eta, d[b, j0:j1], q[b, j0:j1])

                for i in range(n):
                    for b in range(b0, b1):
                        row = g[b, i, j0:j1]
                        if episode_start[t, b]:
                            row[:] = 0
                            into_pre[t % 2, c, b, i] = 0
                            pre_sum[c, b, i] = 0
                        elif t == 0:
                            into, decayed = first_row(
                                row, segment[1, b - b0, i, j0:j1], ga[i, j0:j1], w[i, j0:j1], a[i, j0:j1],
                                d[b, j0:j1], gz[t, b, j0:j1], x[t, b, i],
                            )  # fmt: skip
                            into_pre[0, c, b, i] = into + eta * pre_sum[c, b, i]
                            geta[b, c] -= decayed
                        else:
                            into, later, decayed = backward_row(
                                row, segment[k + 1, b - b0, i, j0:j1], segment[k, b - b0, i, j0:j1],
                                ga[i, j0:j1], w[i, j0:j1], a[i, j0:j1], d[b, j0:j1], gz[t, b, j0:j1], x[t, b, i],
                                x[t, b, j0:j1], eta, pre(x, episode_start, t - 1, b, i), bound,
                                post_sum[b, j0:j1], decay_sum[b, j0:j1],
                            )  # fmt: skip
                            into_pre[t % 2, c, b, i] = into + eta * pre_sum[c, b, i]
                            pre_sum[c, b, i] = later
                            geta[b, c] -= decayed
                if t == 0:
                    ghidden[c, b0:b1] = into_pre[0, c, b0:b1]
                if k == 0:
                    add_outer(x, episode_start, gz, gw, t, min(t + every, steps), b0, b1, j0, j1)

    return Kernels(forward, finish, backward)

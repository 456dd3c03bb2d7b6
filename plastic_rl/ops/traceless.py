"""The traceless engine: the rule hebb with one alpha for all connections, or one per post neuron.

Such a network need not form its trace. The trace is a sum of outer products of past activities. So its product with
the present activity is a sum of past outputs, each weighted by how similar the present activity is to the activity
before that output: T x N numbers replace N x N. This is attention to the recent past (Ba et al., 2016, "Using fast
weights to attend to the recent past"). Steps in which every neuron is clamped need no product at all. README.md derives
the gradients.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from plastic_rl.ops.reference import ACTIVATIONS


def sequence(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    trace: Tensor,
    nonlinearity: str,
    clamp: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run eq. 1 and hebb over one episode, with an alpha that is the same for all pre neurons.

    Returns:
        The outputs (T, B, N), the last hidden state (B, N) and the last trace (B, N, N).
    """
    t = torch.arange(u.shape[0] + 1, device=u.device)
    age = t[:, None] - 1 - t[None, :-1]
    weights = (eta * (1 - eta) ** age.clamp_min(0)).where(age >= 0, 0.0)
    with _no_autocast(u):
        outputs, last = _Sequence.apply(
            u, w, alpha.reshape(-1), weights, (1 - eta) ** t, hidden, trace, clamp, nonlinearity
        )
    return outputs.contiguous(), outputs[-1].clone(), last


def free_steps(steps: int, clamp: Tensor | None) -> list[bool]:
    """Return, for each step, whether any neuron of any episode is free, that is, not clamped."""
    return [True] * steps if clamp is None else clamp.isnan().flatten(1).any(1).tolist()


def _no_autocast(tensor: Tensor) -> Any:
    """Return a context in which products keep the dtype of their factors, even under autocast."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def _sum(coefficients: Tensor, vectors: Tensor) -> Tensor:
    """Sum vectors ``(B, K, N)`` with weights ``(B, K)``: ``(B, N)``."""
    return (coefficients.unsqueeze(1) @ vectors).squeeze(1)


def _products(vectors: Tensor, vector: Tensor) -> Tensor:
    """Multiply vectors ``(B, K, N)`` by one ``(B, N)`` each: ``(B, K)``."""
    return (vectors @ vector.unsqueeze(2)).squeeze(2)


class _Sequence(torch.autograd.Function):
    """Inside this class, sequences are ``(B, T, N)``; README.md names the variables."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        w: Tensor,
        alpha: Tensor,
        weights: Tensor,
        kept: Tensor,
        hidden: Tensor,
        trace: Tensor,
        clamp: Tensor | None,
        nonlinearity: str,
    ) -> tuple[Tensor, Tensor]:
        """Compute the outputs and the last trace.

        alpha: ``(1,)`` or ``(N,)``. weights ``(T + 1, T)``: the share of step k's change that is left in the trace
        before step t (t = T: after the last step). kept ``(T + 1,)``: the share of the first trace that is left.
        """
        ctx.set_materialize_grads(False)
        activation = ACTIVATIONS[nonlinearity]
        steps, batch, n = u.shape
        x, p = u.new_empty(2, batch, steps, n)
        m, alike = u.new_zeros(batch, steps, n), u.new_zeros(batch, steps, steps)
        has_trace, free = bool(trace.any()), free_steps(steps, clamp)
        for t in range(steps):
            p[:, t] = before = hidden if t == 0 else x[:, t - 1]
            if free[t]:
                alike[:, t, :t] = _products(p[:, :t], before)
                m[:, t] = _sum(weights[t, :t] * alike[:, t, :t], x[:, :t])
                if has_trace:
                    m[:, t] += kept[t] * _sum(before, trace)
                x[:, t] = activation(torch.addmm(u[t], before, w) + alpha * m[:, t])
            if clamp is not None:
                x[:, t] = torch.where(clamp[t].isnan(), x[:, t], clamp[t])
        last = (weights[-1, :, None] * p).mT @ x
        if has_trace:
            last += kept[-1] * trace
        outputs = x.transpose(0, 1)
        ctx.save_for_backward(w, alpha, weights, kept, trace, clamp, p, m, alike, outputs)
        ctx.free, ctx.has_trace, ctx.nonlinearity = free, has_trace, nonlinearity
        return outputs, last

    @staticmethod
    def backward(ctx: Any, goutputs: Tensor | None, gtrace: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the traceless engine gives first derivatives only; for derivatives of derivatives use "
                "engine='reference'"
            )
        with _no_autocast(ctx.saved_tensors[0]):
            return _Sequence._gradients(ctx, goutputs, gtrace)

    @staticmethod
    def _gradients(ctx: Any, goutputs: Tensor | None, gtrace: Tensor | None) -> tuple[Tensor | None, ...]:
        w, alpha, weights, kept, trace, clamp, p, m, alike, outputs = ctx.saved_tensors
        _, _, _, _, _, needs_hidden, needs_trace, needs_clamp, _ = ctx.needs_input_grad
        x = outputs.transpose(0, 1)
        steps = x.shape[1]
        gx = torch.zeros_like(p) if goutputs is None else goutputs.transpose(0, 1).clone()
        gz, gm = torch.zeros_like(p), torch.zeros_like(p)
        galike, gweights, gkept = torch.zeros_like(alike), torch.zeros_like(weights), torch.zeros_like(kept)
        gclamp = torch.zeros_like(clamp) if needs_clamp else None
        into_pre = None
        if gtrace is not None:
            into_pre = x @ gtrace.mT
            gx += weights[-1, :, None] * (p @ gtrace)
            gweights[-1] = (p * into_pre).sum((0, 2))
            gkept[-1] = (gtrace * trace).sum()
        wanted = [free or needs_clamp for free in ctx.free]  # whether a step's outputs depend on anything
        gp: Tensor | None = None  # gradient of the activity before the step after
        for t in reversed(range(steps)):
            if wanted[t]:
                g = gx[:, t] + _sum(weights[t + 1 : -1, t] * alike[:, t + 1 :, t], gm[:, t + 1 :])
                if gp is not None:
                    g += gp
                if clamp is not None:
                    held = ~clamp[t].isnan()
                    if gclamp is not None:
                        gclamp[t] = g.where(held, 0.0)
                    g = g.masked_fill(held, 0.0)
                slope = 1 - x[:, t].square() if ctx.nonlinearity == "tanh" else (x[:, t] > 0).to(g.dtype)
                gz[:, t] = g * slope
            if ctx.free[t]:
                gm[:, t] = alpha * gz[:, t]
                read = _products(x[:, :t], gm[:, t])
                galike[:, t, :t] = weights[t, :t] * read
                gweights[t, :t] = (alike[:, t, :t] * read).sum(0)
            gp = None
            if wanted[t - 1] if t else needs_hidden:
                gp = gz[:, t] @ w.T + _sum(galike[:, t, :t], p[:, :t]) + _sum(galike[:, t + 1 :, t], p[:, t + 1 :])
                if into_pre is not None:
                    gp += weights[-1, t] * into_pre[:, t]
                if ctx.has_trace:
                    gp += kept[t] * _products(trace, gm[:, t])
        if ctx.has_trace:
            gkept[:-1] = (gm * (p @ trace)).sum((0, 2))
        first = None
        if needs_trace:
            first = (kept[:-1, None] * p).mT @ gm
            first += 0.0 if gtrace is None else kept[-1] * gtrace
        free = torch.tensor(ctx.free, device=x.device)
        return (
            gz.transpose(0, 1),
            p[:, free].flatten(0, 1).T @ gz[:, free].flatten(0, 1),
            (gz * m).sum((0, 1)).sum_to_size(alpha.shape),
            gweights,
            gkept,
            gp,
            first,
            gclamp,
            None,
        )

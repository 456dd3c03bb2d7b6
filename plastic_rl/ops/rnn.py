"""How a whole sequence of a plastic recurrent network is computed, forward and backward."""

from typing import Any

from torch import Tensor

from plastic_rl.checks import check_choice
from plastic_rl.choices import ENGINES, Engine
from plastic_rl.ops.arguments import Arguments, checked
from plastic_rl.ops.engines import choose
from plastic_rl.ops.modulation import Modulation
from plastic_rl.ops.state import make_state
from plastic_rl.rules import Rule, RuleFunction


def plastic_rnn(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor | float,
    hidden: Tensor,
    trace: Tensor,
    eligibility: Tensor | None = None,
    *,
    rule: str | Rule | RuleFunction = "hebb",
    nonlinearity: str = "tanh",
    modulation: Modulation | None = None,
    clamp: Tensor | None = None,
    episode_start: Tensor | None = None,
    engine: Engine = "auto",
) -> tuple[Tensor, Any]:
    r"""Run a fully recurrent plastic network over a whole sequence (Miconi et al. 2018, eq. 1 and 2).

    At every step, :math:`x_j(t) = f(u_j(t) + \sum_i x_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t)))`, and then the
    trace :math:`H` changes by the rule. Gradients flow to every float tensor among the arguments, through the
    traces of the whole sequence.

    Args:
        u: ``(T, B, N)``, net input of every neuron from outside the network.
        w: ``(N, N)``, fixed weights, ``[pre i, post j]``.
        alpha: plasticity coefficients, broadcast to ``(N, N)``: that shape for one per connection, ``(1, N)`` for
            one per (post) neuron, ``(1,)`` for one that all connections share.
        eta: the learning rate of the trace: a scalar; ``(N,)``, one for each post neuron; or a shape that broadcasts
            to ``(T, B, N)``, such as ``(T, B, 1)``. With retroactive modulation it is a scalar, the learning rate of
            the eligibility trace. Simple modulation takes its place, and then it has no effect.
        hidden: ``(B, N)``, activity before the first step.
        trace: ``(B, N, N)``, trace before the first step.
        eligibility: ``(B, N, N)``, eligibility trace before the first step, with retroactive modulation.
        rule: ``"hebb"``, ``"oja"``, ``"clip"`` or ``"soft_clip"``; an object from ``plastic_rl.rules`` that holds a
            rule's settings, such as ``Clip(bound=0.5)``; or a function ``rule(trace, pre, post, eta) -> trace``, which
            the reference engine computes.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        modulation: how the network modulates its own plasticity (Miconi et al. 2019); see
            :class:`plastic_rl.ops.Modulation`. None: not at all.
        clamp: ``(T, B, N)`` or None. A neuron takes this value instead of f(...), unless it is NaN.
        episode_start: ``(T, B)`` booleans or None. Where true, the whole state is zero before that step.
        engine: ``"reference"`` steps the rule under autograd, on any device and dtype. ``"fused"`` runs compiled
            kernels on the CPU, in float32 and float64. ``"traceless"`` forms only the last trace; it takes the rule
            hebb, one alpha per neuron or for all, one eta, no modulation, no episode_start, and any device and dtype.
            ``"auto"`` takes the fastest engine that can do the job; under ``torch.func`` and in forward mode that is
            the reference engine.

    Returns:
        The outputs ``(T, B, N)`` and the state after the last step: a :class:`PlasticState`, or with retroactive
        modulation a :class:`RetroactiveState`. The arguments are left as they were.

    Raises:
        ValueError: a shape does not fit, a name is unknown, or the engine cannot do the job; the message says why.
        TypeError: dtypes or devices differ.

    Example:
        >>> import torch
        >>> from plastic_rl.ops import plastic_rnn
        >>> T, B, N = 20, 2, 8
        >>> w, alpha = torch.randn(2, N, N) * 0.1
        >>> u, eta = torch.randn(T, B, N), torch.tensor(0.1)
        >>> outputs, state = plastic_rnn(u, w, alpha, eta, torch.zeros(B, N), torch.zeros(B, N, N))
        >>> outputs.shape, state.trace.shape
        (torch.Size([20, 2, 8]), torch.Size([2, 8, 8]))
    """
    arguments = checked(
        u,
        w,
        alpha,
        eta,
        {"hidden": hidden, "trace": trace, "eligibility": eligibility},
        rule,
        nonlinearity=nonlinearity,
        modulation=modulation,
        clamp=clamp,
        episode_start=episode_start,
    )
    return run(arguments, engine)


def plastic_lstm(
    u: Tensor,
    gates: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor | float,
    hidden: Tensor,
    cell: Tensor,
    trace: Tensor,
    eligibility: Tensor | None = None,
    *,
    rule: str | Rule | RuleFunction = "hebb",
    modulation: Modulation | None = None,
    episode_start: Tensor | None = None,
    engine: Engine = "auto",
) -> tuple[Tensor, Any]:
    r"""Run an LSTM whose connections from its output to its cells' input are plastic (Miconi et al. 2019, task 3).

    At every step, with the net inputs :math:`u = (u^i, u^f, u^g, u^o)` and the gates' weights
    :math:`V = (V^i, V^f, V^o)`,

    .. math::
        i, f, o &= \sigma(u^{i, f, o}(t) + V^{i, f, o\,T} h(t-1)) \\
        z_j &= \tanh(u^g_j(t) + \sum_i h_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t))) \\
        c(t) &= f\, c(t-1) + i\, z, \quad h(t) = o \tanh c(t)

    and then the trace :math:`H` changes by the rule, with :math:`h(t-1)` as its presynaptic and :math:`z(t)` as its
    postsynaptic activity. A modulator reads :math:`h(t)`.

    Args:
        u: ``(T, B, 4 N)``, net inputs from outside in the order of ``torch.nn.LSTM``: i, f, g, o.
        gates: ``(N, 3 N)``, fixed recurrent weights of the gates i, f, o, ``[pre, post]``.
        hidden, cell: ``(B, N)``, output and cells before the first step.
        w, alpha, eta, trace, eligibility, rule, modulation, episode_start, engine: see :func:`plastic_rnn`; there is
            no traceless engine.

    Returns:
        The outputs ``(T, B, N)`` and the state after the last step: a :class:`PlasticLSTMState`, or with retroactive
        modulation a :class:`RetroactiveLSTMState`.

    Raises:
        ValueError: a shape does not fit, a name is unknown, or the engine cannot do the job; the message says why.
        TypeError: dtypes or devices differ.

    Example:
        >>> import torch
        >>> from plastic_rl.ops import plastic_lstm
        >>> T, B, N = 20, 2, 8
        >>> u, gates, (w, alpha) = torch.randn(T, B, 4 * N), torch.randn(N, 3 * N) * 0.1, torch.randn(2, N, N) * 0.1
        >>> zeros = torch.zeros(B, N)
        >>> outputs, state = plastic_lstm(u, gates, w, alpha, 0.1, zeros, zeros, torch.zeros(B, N, N), rule="clip")
        >>> outputs.shape, state.cell.shape
        (torch.Size([20, 2, 8]), torch.Size([2, 8]))
    """
    arguments = checked(
        u,
        w,
        alpha,
        eta,
        {"hidden": hidden, "cell": cell, "trace": trace, "eligibility": eligibility},
        rule,
        modulation=modulation,
        gates=gates,
        episode_start=episode_start,
    )
    return run(arguments, engine)


def run(arguments: Arguments, engine: Engine) -> tuple[Tensor, Any]:
    """Compute a sequence; return the outputs ``(T, B, N)`` and the state after the last step, as a NamedTuple.

    Raises:
        ValueError: there is no such engine, or it cannot do the job; the message says why.
    """
    check_choice("engine", engine, ENGINES)
    outputs, state = choose(engine, arguments).run(arguments)
    return outputs, make_state(state)

"""How a whole sequence of a plastic recurrent network is computed, forward and backward."""

from typing import NamedTuple

import torch
from torch import Tensor

from plastic_rl.checks import check_choice
from plastic_rl.choices import ENGINES, NONLINEARITIES, Engine
from plastic_rl.ops.engines import Arguments, choose
from plastic_rl.rules import Rule, RuleFunction, get_rule


class PlasticState(NamedTuple):
    """What a plastic network carries from one step to the next.

    hidden: ``(B, N)``, the last activity. trace: ``(B, N, N)``, the Hebbian trace of every connection,
    ``[pre i, post j]``; it starts each lifetime at zero.
    """

    hidden: Tensor
    trace: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron; the others have one value per connection."""
        return ("hidden",)


def plastic_rnn(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor | float,
    hidden: Tensor,
    trace: Tensor,
    *,
    rule: str | Rule | RuleFunction = "hebb",
    nonlinearity: str = "tanh",
    clamp: Tensor | None = None,
    episode_start: Tensor | None = None,
    engine: Engine = "auto",
) -> tuple[Tensor, PlasticState]:
    r"""Run a fully recurrent plastic network over a whole sequence (Miconi et al. 2018, eq. 1 and 2).

    At every step, :math:`x_j(t) = f(u_j(t) + \sum_i x_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t)))`, and then the
    trace :math:`H` changes by the rule. Gradients flow to every float tensor among the arguments, through the
    traces of the whole sequence.

    Args:
        u: ``(T, B, N)``, net input of every neuron from outside the network.
        w: ``(N, N)``, fixed weights, ``[pre i, post j]``.
        alpha: plasticity coefficients, broadcast to ``(N, N)``: that shape for one per connection, ``(1, N)`` for
            one per (post) neuron, ``(1,)`` for one that all connections share.
        eta: scalar, the learning rate of the trace.
        hidden: ``(B, N)``, activity before the first step.
        trace: ``(B, N, N)``, trace before the first step.
        rule: ``"hebb"``, ``"oja"`` or ``"clip"``; an object from ``plastic_rl.rules`` that holds a rule's settings,
            such as ``Clip(bound=0.5)``; or a function ``rule(trace, pre, post, eta) -> trace``, which the reference
            engine computes.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        clamp: ``(T, B, N)`` or None. A neuron takes this value instead of f(...), unless it is NaN.
        episode_start: ``(T, B)`` booleans or None. Where true, hidden and trace are zero before that step.
        engine: ``"reference"`` steps the rule under autograd, on any device and dtype. ``"fused"`` runs compiled
            kernels on the CPU, in float32 and float64. ``"traceless"`` forms only the last trace; it takes the rule
            hebb, one alpha per neuron or for all, no episode_start, and any device and dtype. ``"auto"`` takes the
            fastest engine that can do the job; under ``torch.func`` and in forward mode that is the reference engine.

    Returns:
        The outputs ``(T, B, N)`` and the state after the last step. The arguments are left as they were.

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
    eta = torch.as_tensor(eta, dtype=u.dtype, device=u.device)
    _check(u, w, alpha, eta, hidden, trace, clamp, episode_start)
    arguments = Arguments(u, w, alpha, eta, hidden, trace, get_rule(rule), nonlinearity, clamp, episode_start)
    check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
    check_choice("engine", engine, ENGINES)
    outputs, hidden, trace = choose(engine, arguments).run(arguments)
    return outputs, PlasticState(hidden, trace)


def _check(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    trace: Tensor,
    clamp: Tensor | None,
    episode_start: Tensor | None,
) -> None:
    if u.ndim != 3 or 0 in u.shape:
        raise ValueError(f"u has shape {tuple(u.shape)}: expected (T, B, N), none of them zero")
    T, B, N = u.shape
    shapes = {"w": (w, (N, N)), "hidden": (hidden, (B, N)), "trace": (trace, (B, N, N))}
    if clamp is not None:
        shapes["clamp"] = (clamp, (T, B, N))
    if episode_start is not None:
        shapes["episode_start"] = (episode_start, (T, B))
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}: expected {shape}, for u is (T, B, N) = {(T, B, N)}"
            )
    if eta.ndim != 0:
        raise ValueError(f"eta has shape {tuple(eta.shape)}: expected a scalar")
    if alpha.ndim > 2 or any(have not in (1, want) for have, want in zip(reversed(alpha.shape), (N, N), strict=False)):
        raise ValueError(f"alpha has shape {tuple(alpha.shape)}: expected one that broadcasts to {(N, N)}")
    for name, tensor in {
        "w": w,
        "alpha": alpha,
        "hidden": hidden,
        "trace": trace,
        **({} if clamp is None else {"clamp": clamp}),
    }.items():
        if tensor.dtype != u.dtype or tensor.device != u.device:
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and u is {u.dtype} on {u.device}: "
                "expected one dtype and device for all"
            )
    if not u.is_floating_point():
        raise TypeError(f"u is {u.dtype}: expected a floating-point dtype")
    if episode_start is not None and (episode_start.dtype != torch.bool or episode_start.device != u.device):
        raise TypeError(
            f"episode_start is {episode_start.dtype} on {episode_start.device}: expected torch.bool on {u.device}"
        )

"""How a whole sequence of a plastic recurrent network is computed, forward and backward."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

from plastic_rl.ops import reference, traceless
from plastic_rl.rules import RULE_NAMES, Rule, get_rule

Engine = Literal["auto", "reference", "fused", "traceless"]

ENGINES = get_args(Engine)
TRACELESS_FROM = 4  # neurons per step that is not all clamped, from which the traceless engine is the faster one


class PlasticState(NamedTuple):
    """What a plastic network carries from one step to the next.

    hidden: ``(B, N)``, the last activity. trace: ``(B, N, N)``, the Hebbian trace of every connection,
    ``[pre i, post j]``; it starts each lifetime at zero.
    """

    hidden: Tensor
    trace: Tensor


def plastic_rnn(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor | float,
    hidden: Tensor,
    trace: Tensor,
    *,
    rule: str | Rule = "hebb",
    nonlinearity: str = "tanh",
    clamp: Tensor | None = None,
    episode_start: Tensor | None = None,
    bound: float = 1.0,
    engine: Engine = "auto",
) -> tuple[Tensor, PlasticState]:
    r"""A sequence of a fully recurrent plastic network (Miconi et al. 2018, eq. 1 and 2).

    At every step, :math:`x_j(t) = f(u_j(t) + \sum_i x_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t)))`, and then the
    trace :math:`H` changes by the rule. Gradients flow to every float tensor among the arguments, through the
    traces of the whole sequence.

    Args:
        u: ``(T, B, N)``, net input of every neuron from outside the network.
        w: ``(N, N)``, fixed weights, ``[pre i, post j]``.
        alpha: plasticity coefficients, broadcast to ``(N, N)``: that shape for one per connection, ``(1, N)`` for
            one per (post) neuron, ``(1,)`` for one for all.
        eta: scalar, the learning rate of the trace.
        hidden: ``(B, N)``, activity before the first step.
        trace: ``(B, N, N)``, trace before the first step.
        rule: ``"hebb"``, ``"oja"``, ``"clip"``, or a function like those in ``plastic_rl.rules`` (computed by the
            reference engine).
        nonlinearity: ``"tanh"`` or ``"relu"``.
        clamp: ``(T, B, N)`` or None. A neuron takes this value instead of f(...), unless it is NaN.
        episode_start: ``(T, B)`` booleans or None. Where true, hidden and trace are zero before that step.
        bound: of the ``clip`` rule: the trace stays within [-bound, bound].
        engine: ``"reference"`` steps the rule under autograd, on any device and dtype. ``"fused"`` runs compiled
            kernels: CPU, float32 and float64. ``"traceless"`` forms no trace but the last: rule hebb, alpha per neuron
            or shared, no episode_start; any device and dtype. ``"auto"`` takes the fastest that can do the job; under
            ``torch.func`` and in forward mode that is the reference engine.

    Returns:
        The outputs ``(T, B, N)`` and the state after the last step. The arguments are left as they were.

    Raises:
        ValueError: a shape does not fit, or a name is unknown, or the engine cannot do the job: says why.
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
    function = get_rule(rule, bound)
    if nonlinearity not in reference.NONLINEARITIES:
        raise ValueError(
            f"unknown nonlinearity {nonlinearity!r}: expected one of {', '.join(reference.NONLINEARITIES)}"
        )
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}: expected one of {', '.join(ENGINES)}")

    obstacles = {"fused": why_not_fused(u, rule), "traceless": why_not_traceless(alpha, rule, episode_start)}
    if not torch.compiler.is_compiling() and _transforming():
        transformed = "cannot be transformed by torch.func, nor differentiated in forward mode"
        obstacles = {name: obstacle or transformed for name, obstacle in obstacles.items()}
    if obstacle := obstacles.get(engine):
        raise ValueError(f"engine {engine!r} {obstacle}; use engine='auto' or 'reference'")
    if engine == "auto":
        # Without a trace, all steps are kept, and a step that is not held looks at those before it; with one, at all
        # neurons: whatever is less.
        if (
            not obstacles["traceless"]
            and not u.is_meta
            and u.shape[0] <= u.shape[2]
            and (TRACELESS_FROM * sum(traceless.free_steps(u.shape[0], clamp)) <= u.shape[2])
        ):
            engine = "traceless"
        else:
            engine = "reference" if obstacles["fused"] else "fused"
    if engine == "fused":
        from plastic_rl.ops.cpu import autograd  # loads Numba

        assert isinstance(rule, str)
        outputs, hidden, trace = autograd.sequence(
            u, w, alpha, eta, hidden, trace, rule, nonlinearity, clamp, episode_start, bound
        )
    elif engine == "traceless":
        outputs, hidden, trace = traceless.sequence(u, w, alpha, eta, hidden, trace, nonlinearity, clamp)
    else:
        outputs, hidden, trace = reference.sequence(
            u, w, alpha, eta, hidden, trace, function, nonlinearity, clamp, episode_start
        )
    return outputs, PlasticState(hidden, trace)


def _transforming() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation goes on, which sees PyTorch's own ops only."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def why_not_fused(u: Tensor, rule: str | Rule) -> str:
    """Say what keeps the fused engine from an input like this and a rule, or nothing."""
    if rule not in RULE_NAMES:
        return f"knows the rules {', '.join(RULE_NAMES)} and not a function of your own"
    if u.device.type != "cpu":
        return f"runs on the CPU and the input is on {u.device}"
    if u.dtype not in (torch.float32, torch.float64):
        return f"computes in float32 and float64 and the input is {u.dtype}"
    return ""


def why_not_traceless(alpha: Tensor, rule: str | Rule, episode_start: Tensor | None) -> str:
    """Say what keeps the traceless engine from an alpha like this, a rule and starts of episodes, or nothing."""
    if rule != "hebb":
        return "knows the rule hebb only"
    if alpha.ndim > 1 and alpha.shape[-2] != 1:
        return "takes one alpha for all connections, or one per post neuron, and not one per connection"
    if episode_start is not None:
        return "runs one episode in a sequence and takes no episode_start"
    return ""


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

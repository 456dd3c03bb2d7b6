"""The arguments of a sequence, checked, as every engine takes them."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_rl.checks import check_choice
from plastic_rl.choices import MODULATIONS, MODULATOR_NONLINEARITIES, NONLINEARITIES
from plastic_rl.ops.modulation import Modulation
from plastic_rl.rules import Rule, RuleFunction, TraceRule, check_retroactive, get_rule


class Arguments(NamedTuple):
    """What an engine computes a sequence from. Shapes are those of ``plastic_rl.ops.plastic_rnn``.

    state: before the first step, by name: hidden, trace, and what else the network has: cell, eligibility.
    rates: ``(T, B, N)``, the rate of every neuron where it is given; None: eta, or that of the modulation.
    modulation: the modulator that computes the rates from the activity; None: there is none.
    retroactive: whether the rates are those at which the eligibility is written.
    gates: ``(N, 3 N)``, recurrent weights of an LSTM's gates i, f, o; None: the network is no LSTM.
    """

    u: Tensor
    w: Tensor
    alpha: Tensor
    eta: Tensor
    state: Mapping[str, Tensor]
    rule: TraceRule
    nonlinearity: str = "tanh"
    rates: Tensor | None = None
    modulation: Modulation | None = None
    retroactive: bool = False
    gates: Tensor | None = None
    clamp: Tensor | None = None
    episode_start: Tensor | None = None

    @property
    def modulated(self) -> bool:
        """Whether neurons have rates of their own."""
        return self.rates is not None or self.modulation is not None


def checked(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor | float,
    state: Mapping[str, Tensor | None],
    rule: str | Rule | RuleFunction,
    *,
    nonlinearity: str = "tanh",
    modulation: Modulation | None = None,
    gates: Tensor | None = None,
    clamp: Tensor | None = None,
    episode_start: Tensor | None = None,
) -> Arguments:
    """Return the arguments of the engines.

    Raises:
        ValueError: a shape does not fit, a name is unknown, or the modulation does not fit the state or the rule.
        TypeError: dtypes or devices differ.
    """
    blocks = 1 if gates is None else 4
    if u.ndim != 3 or 0 in (u.shape[0], u.shape[2]) or u.shape[-1] % blocks:
        wanted = "(T, B, N)" if gates is None else "(T, B, 4 N)"
        raise ValueError(f"u has shape {tuple(u.shape)}: expected {wanted}, T and N above zero")
    if not u.is_floating_point():
        raise TypeError(f"u is {u.dtype}: expected a floating-point dtype")
    steps, batch, n = u.shape[0], u.shape[1], u.shape[2] // blocks
    eta = torch.as_tensor(eta, dtype=u.dtype, device=u.device)
    found = {name: part for name, part in state.items() if part is not None}
    retroactive = modulation is not None and modulation.kind == "retroactive"
    if retroactive != ("eligibility" in found):
        raise ValueError(
            "eligibility is None: expected a tensor (B, N, N) with retroactive modulation"
            if retroactive
            else "eligibility is given without retroactive modulation: expected None"
        )
    plastic = get_rule(rule)
    check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
    sizes = {"hidden": (batch, n), "cell": (batch, n), "trace": (batch, n, n), "eligibility": (batch, n, n)}
    shapes: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
        "w": (w, (n, n)),
        **{name: (part, sizes[name]) for name, part in found.items()},
        "gates": (gates, (n, 3 * n)),
        "clamp": (clamp, (steps, batch, n)),
        "episode_start": (episode_start, (steps, batch)),
    }
    if modulation is not None:
        shapes |= _modulation_shapes(modulation, steps, batch, n)
        if retroactive:
            check_retroactive(plastic)
    _check_shapes(shapes, u)
    _check_broadcast(alpha, eta, (steps, batch, n))
    _check_dtypes({"alpha": alpha} | {name: tensor for name, (tensor, _) in shapes.items()}, u)
    rates, eta = _given_rates(eta, modulation, (steps, batch, n))
    if modulation is not None and modulation.signal is not None:
        modulation = None  # it is in the rates
    return Arguments(
        u, w, alpha, eta, found, plastic, nonlinearity, rates, modulation, retroactive, gates, clamp, episode_start
    )


def _given_rates(
    eta: Tensor, modulation: Modulation | None, shape: tuple[int, int, int]
) -> tuple[Tensor | None, Tensor]:
    """Return the rates of the neurons, if they are known before the activity, and the scalar eta."""
    if modulation is None:
        return (None, eta) if eta.ndim == 0 else (eta.expand(shape), eta.new_zeros(()))
    simple = modulation.kind == "simple"
    if not simple and eta.ndim:
        raise ValueError(f"eta has shape {tuple(eta.shape)}: expected a scalar, the rate of the eligibility trace")
    eta = eta.new_zeros(()) if simple else eta  # simple modulation takes its place
    return (None if modulation.signal is None else modulation.rates(modulation.signal).expand(shape)), eta


def _modulation_shapes(
    modulation: Modulation, steps: int, batch: int, n: int
) -> dict[str, tuple[Tensor | None, tuple[int, ...]]]:
    check_choice("modulation", modulation.kind, MODULATIONS)
    check_choice("modulator's nonlinearity", modulation.nonlinearity, MODULATOR_NONLINEARITIES)
    computed = modulation.weight is not None and modulation.bias is not None
    given = modulation.weight is None and modulation.bias is None and modulation.signal is not None
    if computed == given or (computed and modulation.signal is not None):
        raise ValueError("modulation has no weight and bias, or these and a signal too: expected one of the two")
    shapes = {"weight": (n,), "bias": (), "gain": (n,), "offset": (n,), "signal": (steps, batch)}
    return {f"modulation.{name}": (getattr(modulation, name), shape) for name, shape in shapes.items()}


def _check_shapes(shapes: Mapping[str, tuple[Tensor | None, tuple[int, ...]]], u: Tensor) -> None:
    for name, (tensor, shape) in shapes.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}: expected {shape}, for u is (T, B, N) = {tuple(u.shape)}"
            )


def _check_broadcast(alpha: Tensor, eta: Tensor, sizes: tuple[int, int, int]) -> None:
    n = sizes[-1]
    if alpha.ndim > 2 or any(have not in (1, n) for have in alpha.shape):
        raise ValueError(f"alpha has shape {tuple(alpha.shape)}: expected one that broadcasts to {(n, n)}")
    wanted = {0: (), 1: sizes[2:], 3: sizes}.get(eta.ndim)
    if wanted is None or any(have not in (1, want) for have, want in zip(eta.shape, wanted, strict=True)):
        raise ValueError(
            f"eta has shape {tuple(eta.shape)}: expected a scalar, (N,) for a rate of each neuron, or a shape that "
            f"broadcasts to (T, B, N) = {sizes}, such as (T, B, 1) for a rate of each step and episode"
        )


def _check_dtypes(tensors: Mapping[str, Tensor | None], u: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        wanted = torch.bool if name == "episode_start" else u.dtype
        if tensor.dtype != wanted or tensor.device != u.device:
            if name == "episode_start":
                raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}: expected torch.bool on {u.device}")
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and u is {u.dtype} on {u.device}: "
                "expected one dtype and device for all"
            )

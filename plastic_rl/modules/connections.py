"""The base of all plastic layers: the connections from one population of neurons to another."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from plastic_rl.checks import check_at_least, check_choice, check_within
from plastic_rl.choices import (
    ALPHAS,
    FAN_OUTS,
    MODULATIONS,
    MODULATOR_NONLINEARITIES,
    Alpha,
    FanOut,
    Modulation,
    ModulatorNonlinearity,
    default_rule,
)
from plastic_rl.rules import Clip, Rule, RuleFunction, TraceRule, check_retroactive, get_rule


@dataclass(frozen=True)
class Plasticity:
    """How connections change: the settings that plastic layers share; :class:`plastic_rl.PlasticRNN` explains them.

    Raises:
        ValueError: an unknown name, a bound below 0, an eta outside [0, 1], settings of a modulator without one, or
            retroactive modulation with a rule that writes more than a product of activities.
    """

    rule: str | Rule | RuleFunction | None
    alpha: Alpha
    eta: float
    learn_eta: bool
    bound: float
    modulation: Modulation | None = None
    fan_out: FanOut = "none"
    modulator_nonlinearity: ModulatorNonlinearity = "tanh"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.rule is None:
            object.__setattr__(self, "rule", default_rule(self.modulation))
        check_choice("alpha", self.alpha, ALPHAS)
        check_within("eta", self.eta, 0, 1)
        check_at_least("bound", self.bound, 0)
        check_choice("fan_out", self.fan_out, FAN_OUTS)
        check_choice("modulator_nonlinearity", self.modulator_nonlinearity, MODULATOR_NONLINEARITIES)
        rule = self.trace_rule  # raises if there is no such rule
        if self.modulation is not None:
            check_choice("modulation", self.modulation, MODULATIONS, ", or None")
            if self.modulation == "retroactive":
                check_retroactive(rule)
            return
        for name, default in {"fan_out": "none", "modulator_nonlinearity": "tanh"}.items():
            if (value := getattr(self, name)) != default:
                raise ValueError(f"{name} is {value!r} without modulation: expected {default!r}, or a modulation")

    @property
    def trace_rule(self) -> TraceRule:
        """The rule with its settings."""
        assert self.rule is not None
        return Clip(self.bound) if self.rule == "clip" else get_rule(self.rule)

    @property
    def has_eta(self) -> bool:
        """Whether eta has an effect: simple modulation takes its place."""
        return self.modulation != "simple"


class PlasticConnections(nn.Module):
    """Fixed weights, plasticity coefficients and the trace's learning rate, from ``pre`` to ``post`` neurons.

    Attributes:
        w: ``(pre, post)``.
        alpha: ``(pre, post)`` for one per ``"connection"``, ``(1, post)`` for one per post ``"neuron"``, or ``(1,)``
            for one ``"shared"`` by all connections.
        eta: a scalar; a parameter if it is learned, otherwise a buffer; None with simple modulation, which takes its
            place.
    """

    def __init__(self, pre: int, post: int, plasticity: Plasticity, options: dict[str, Any]) -> None:
        super().__init__()
        self.plasticity = plasticity
        self.rule = plasticity.rule  # may be a module, whose parameters are then the layer's
        shape = {"connection": (pre, post), "neuron": (1, post), "shared": (1,)}[plasticity.alpha]
        self.w = nn.Parameter(torch.empty(pre, post, **options))
        self.alpha = nn.Parameter(torch.empty(shape, **options))
        initial_eta = torch.tensor(float(plasticity.eta), **options) if plasticity.has_eta else None
        if plasticity.learn_eta and initial_eta is not None:
            self.eta = nn.Parameter(initial_eta)
        else:
            self.register_buffer("eta", initial_eta)

    @property
    def trace_rule(self) -> TraceRule:
        """The rule with its settings."""
        return self.plasticity.trace_rule

    @property
    def initial_bound(self) -> float:
        """Bound of the initial weights' uniform distribution, 1/sqrt(pre), as in PyTorch's own layers."""
        return 1 / math.sqrt(self.w.shape[0])

    def constrain_(self) -> None:
        """Clamp eta to [0, 1], outside of which traces grow without bound. Call it after each optimizer step."""
        if self.eta is not None:
            with torch.no_grad():
                self.eta.clamp_(0.0, 1.0)

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        rule = self.trace_rule
        text = f"rule={rule.name}, alpha={self.plasticity.alpha}"
        text += f", learn_eta={isinstance(self.eta, nn.Parameter)}" if self.eta is not None else ""
        return text + (f", bound={rule.bound}" if isinstance(rule, Clip) else "")

"""The base of all plastic layers: the connections from one population of neurons to another."""

import math
from typing import Any

import torch
from torch import nn

from plastic_rl.checks import check_choice, check_within
from plastic_rl.choices import ALPHAS, Alpha
from plastic_rl.rules import Clip, Rule, RuleFunction, TraceRule, get_rule


class PlasticConnections(nn.Module):
    """Fixed weights, plasticity coefficients and the trace's learning rate, from ``pre`` to ``post`` neurons.

    Attributes:
        w: ``(pre, post)``.
        alpha: ``(pre, post)`` for one per ``"connection"``, ``(1, post)`` for one per post ``"neuron"``, or ``(1,)``
            for one ``"shared"`` by all connections.
        eta: a scalar; a parameter if it is learned, otherwise a buffer.

    Raises:
        ValueError: an unknown rule or alpha, a negative bound, or an eta outside [0, 1].
    """

    def __init__(
        self,
        pre: int,
        post: int,
        rule: str | Rule | RuleFunction,
        alpha: Alpha,
        eta: float,
        learn_eta: bool,
        bound: float,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        check_choice("alpha", alpha, ALPHAS)
        check_within("eta", eta, 0, 1)
        shape = {"connection": (pre, post), "neuron": (1, post), "shared": (1,)}[alpha]
        self.rule, self.alpha_kind, self.bound = rule, alpha, bound
        _ = self.trace_rule  # raises if there is no such rule
        self.w = nn.Parameter(torch.empty(pre, post, **options))
        self.alpha = nn.Parameter(torch.empty(shape, **options))
        initial_eta = torch.tensor(float(eta), **options)
        if learn_eta:
            self.eta = nn.Parameter(initial_eta)
        else:
            self.register_buffer("eta", initial_eta)

    @property
    def trace_rule(self) -> TraceRule:
        """The rule with its settings."""
        return Clip(self.bound) if self.rule == "clip" else get_rule(self.rule)

    @property
    def initial_bound(self) -> float:
        """Bound of the initial weights' uniform distribution, 1/sqrt(pre), as in PyTorch's own layers."""
        return 1 / math.sqrt(self.w.shape[0])

    def constrain_(self) -> None:
        """Clamp eta to [0, 1], outside of which traces grow without bound. Call it after each optimizer step."""
        with torch.no_grad():
            self.eta.clamp_(0.0, 1.0)

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        rule = self.trace_rule
        text = f"rule={rule.name}, alpha={self.alpha_kind}, learn_eta={isinstance(self.eta, nn.Parameter)}"
        return text + (f", bound={rule.bound}" if isinstance(rule, Clip) else "")

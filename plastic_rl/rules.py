"""The plasticity rules: how a trace changes in one time step.

These classes are the only definition of the mathematics in this package; every faster engine is tested against them.
A rule is chosen by its name (``"clip"``), by an object that holds its settings (``Clip(bound=0.5)``), or by a function
of your own, ``rule(trace, pre, post, eta) -> trace``.

Shapes, with any leading batch dimensions ``(...)``:
    trace: ``(..., N_pre, N_post)``, the Hebbian trace of every connection, index order ``[pre i, post j]``.
    pre: ``(..., N_pre)``, the presynaptic activity of the previous step: ``x_i(t-1)``.
    post: ``(..., N_post)``, the postsynaptic activity of this step: ``x_j(t)``.
    eta: the learning rate of the trace: a float, a scalar tensor, or one that broadcasts to ``(..., 1, N_post)``: one
        for each neuron, as a modulator makes it.

Sources: Miconi, Stanley and Clune, "Differentiable plasticity", ICML 2018 (arXiv:1804.02464) for ``hebb`` and
``oja``; Miconi et al., "Backpropamine", ICLR 2019 (arXiv:2002.10585) for ``clip``, ``soft_clip`` (in its code) and
:class:`Retroactive`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from plastic_rl.checks import check_at_least, check_choice
from plastic_rl.choices import RULES

RuleFunction = Callable[[Tensor, Tensor, Tensor, "Tensor | float"], Tensor]


class Rule(ABC):
    """A plasticity rule with its settings.

    name: what messages call the rule.
    traces: the names of the ``(..., N_pre, N_post)`` tensors that the rule carries from step to step. The first is
    ``"trace"``, the one that acts on the neurons; a rule may add others, such as an eligibility trace.
    """

    name: ClassVar[str]
    traces: ClassVar[tuple[str, ...]] = ("trace",)

    @abstractmethod
    def step(self, traces: Mapping[str, Tensor], pre: Tensor, post: Tensor, eta: Tensor | float) -> dict[str, Tensor]:
        """Return all traces, by name, after one step from ``traces``."""


class TraceRule(Rule):
    """A rule that carries nothing but the trace."""

    @abstractmethod
    def __call__(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
        """Return the trace after one step."""

    def step(self, traces: Mapping[str, Tensor], pre: Tensor, post: Tensor, eta: Tensor | float) -> dict[str, Tensor]:
        """See :class:`Rule`."""
        return {"trace": self(traces["trace"], pre, post, eta)}


class ProductRule(TraceRule):
    """A rule that writes the product of pre and post activity; it may write an eligibility trace in its place."""

    @abstractmethod
    def write(self, trace: Tensor, product: Tensor, eta: Tensor | float) -> Tensor:
        """Return the trace after ``product``, shaped like the trace, was written with the rate ``eta``."""

    def __call__(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
        """See :class:`TraceRule`."""
        return self.write(trace, pre.unsqueeze(-1) * post.unsqueeze(-2), eta)


@dataclass(frozen=True)
class Hebb(ProductRule):
    """Hebbian trace with decay (paper, eq. 2): ``(1 - eta) trace + eta pre_i post_j``."""

    name: ClassVar[str] = "hebb"

    def write(self, trace: Tensor, product: Tensor, eta: Tensor | float) -> Tensor:
        """See :class:`ProductRule`."""
        return (1 - eta) * trace + eta * product


@dataclass(frozen=True)
class Oja(TraceRule):
    """Oja's rule (paper, eq. 3): ``trace + eta post_j (pre_i - post_j trace)``."""

    name: ClassVar[str] = "oja"

    def __call__(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
        """See :class:`TraceRule`."""
        y = post.unsqueeze(-2)
        return trace + eta * (y * (pre.unsqueeze(-1) - y * trace))


@dataclass(frozen=True)
class Clip(ProductRule):
    """Hebbian trace without decay, kept within ``[-bound, bound]`` (Backpropamine).

    Raises:
        ValueError: the bound is negative or not a number.
    """

    name: ClassVar[str] = "clip"
    bound: float = 1.0

    def __post_init__(self) -> None:
        """Check the bound."""
        check_at_least("bound", self.bound, 0)

    def write(self, trace: Tensor, product: Tensor, eta: Tensor | float) -> Tensor:
        """See :class:`ProductRule`."""
        return (trace + eta * product).clamp(-self.bound, self.bound)


@dataclass(frozen=True)
class SoftClip(ProductRule):
    """Hebbian trace whose changes shrink as it comes near to 1 or -1 (Backpropamine's code).

    ``(1 - |d|) trace + d`` with ``d = eta pre_i post_j``, which is ``trace + max(d, 0) (1 - trace) + min(d, 0)
    (1 + trace)``.
    """

    name: ClassVar[str] = "soft_clip"

    def write(self, trace: Tensor, product: Tensor, eta: Tensor | float) -> Tensor:
        """See :class:`ProductRule`."""
        change = eta * product
        return (1 - change.abs()) * trace + change


@dataclass(frozen=True)
class Retroactive(Rule):
    """Retroactive modulation (Backpropamine): what was active together is noted, and written when a signal comes.

    ``trace`` is written by ``rule`` with the present rate, which a modulator makes, from the ``eligibility`` before
    this step. Then ``eligibility <- (1 - decay) eligibility + decay pre_i post_j``.

    Args:
        rule: how the trace is written.
        decay: scalar, the learning rate of the eligibility trace; the paper's eta.

    Raises:
        ValueError: the rule writes more than a product of activities, as Oja's does.
    """

    name: ClassVar[str] = "retroactive"
    traces: ClassVar[tuple[str, ...]] = ("trace", "eligibility")
    rule: ProductRule
    decay: Tensor | float

    def __post_init__(self) -> None:
        """Check the rule."""
        check_retroactive(self.rule)

    def step(self, traces: Mapping[str, Tensor], pre: Tensor, post: Tensor, eta: Tensor | float) -> dict[str, Tensor]:
        """See :class:`Rule`."""
        eligibility = traces["eligibility"]
        return {
            "trace": self.rule.write(traces["trace"], eligibility, eta),
            "eligibility": Hebb()(eligibility, pre, post, self.decay),
        }


@dataclass(frozen=True)
class FunctionRule(TraceRule):
    """A rule given as a function of the user's."""

    function: RuleFunction

    @property
    def name(self) -> str:  # type: ignore[override]
        """The function's name."""
        return getattr(self.function, "__name__", repr(self.function))

    def __call__(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
        """See :class:`TraceRule`."""
        return self.function(trace, pre, post, eta)


BUILT_IN: dict[str, type[TraceRule]] = {
    rule.name: rule for rule in (Hebb, Oja, Clip, SoftClip)
}  # those that choices.py lists


def get_rule(rule: str | Rule | RuleFunction) -> TraceRule:
    """Return the rule with this name and its default settings, this rule object, or the rule that a function defines.

    Raises:
        ValueError: no rule has this name, or the rule carries more than the trace.
    """
    if isinstance(rule, TraceRule):
        return rule
    if isinstance(rule, Rule):
        raise ValueError(
            f"the rule {rule.name} carries {', '.join(rule.traces)}: expected a rule that carries the trace only"
        )
    if callable(rule):
        return FunctionRule(rule)
    check_choice("rule", rule, RULES, ", or a function")
    return BUILT_IN[rule]()


def check_retroactive(rule: Rule) -> None:
    """Raise ValueError if a rule cannot write an eligibility trace."""
    if not isinstance(rule, ProductRule):
        able = ", ".join(name for name, kind in BUILT_IN.items() if issubclass(kind, ProductRule))
        raise ValueError(
            f"the rule {rule.name} has no retroactive modulation: expected one of {able}, which write the product of "
            "two activities"
        )


def rule_of(rule: TraceRule, retroactive: bool, eta: Tensor | float) -> Rule:
    """Return the rule that steps all traces of a network: the rule itself, or as retroactive modulation uses it."""
    if not retroactive:
        return rule
    check_retroactive(rule)
    assert isinstance(rule, ProductRule)
    return Retroactive(rule, eta)


def step_traces(
    rule: Rule, traces: Mapping[str, Tensor], pre: Tensor, post: Tensor, eta: Tensor | float
) -> dict[str, Tensor]:
    """Return the traces after one step of a rule, and check their names and shapes: the rule may be a user's.

    Raises:
        ValueError: a trace is missing or has another shape.
    """
    new = rule.step(traces, pre, post, eta)
    if new.keys() != traces.keys():
        raise ValueError(f"the rule returned {', '.join(new)}: expected {', '.join(traces)}")
    for name, trace in traces.items():
        if new[name].shape != trace.shape:
            raise ValueError(
                f"the rule returned a {name} of shape {tuple(new[name].shape)}: expected {tuple(trace.shape)}"
            )
    return new

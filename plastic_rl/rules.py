"""The plasticity rules: how a trace changes in one time step.

These three functions are the only definition of the mathematics in this package; every faster engine is
tested against them. A rule is any function ``rule(trace, pre, post, eta) -> trace``, so a rule of your own
can be passed wherever a rule's name is accepted.

Shapes, with any leading batch dimensions ``(...)``:
    trace: ``(..., N_pre, N_post)``, the Hebbian trace of every connection, index order ``[pre i, post j]``.
    pre: ``(..., N_pre)``, the activity at the start of the connection, one step earlier: ``x_i(t-1)``.
    post: ``(..., N_post)``, the activity at its end: ``x_j(t)``.
    eta: scalar tensor or float, the learning rate of the trace.

Sources: Miconi, Stanley and Clune, "Differentiable plasticity", ICML 2018 (arXiv:1804.02464) for ``hebb`` and
``oja``; Miconi et al., "Backpropamine", ICLR 2019, for ``clip``.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor

Rule = Callable[[Tensor, Tensor, Tensor, "Tensor | float"], Tensor]

RULE_NAMES = ("hebb", "oja", "clip")


def hebb(trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
    """Hebbian trace with decay (paper, eq. 2): ``(1 - eta) trace + eta pre_i post_j``."""
    return (1 - eta) * trace + eta * (pre.unsqueeze(-1) * post.unsqueeze(-2))


def oja(trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
    """Oja's rule (paper, eq. 3): ``trace + eta post_j (pre_i - post_j trace)``."""
    y = post.unsqueeze(-2)
    return trace + eta * (y * (pre.unsqueeze(-1) - y * trace))


def clip(trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float, bound: float = 1.0) -> Tensor:
    """Hebbian trace without decay, held within ``[-bound, bound]`` (Backpropamine)."""
    return (trace + eta * (pre.unsqueeze(-1) * post.unsqueeze(-2))).clamp(-bound, bound)


def updated(rule: Rule, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor | float) -> Tensor:
    """Return the trace after a step of a rule.

    Raises:
        ValueError: the rule is a function that returns something of another shape.
    """
    new = rule(trace, pre, post, eta)
    if new.shape != trace.shape:
        raise ValueError(f"the rule returned a trace of shape {tuple(new.shape)}: expected {tuple(trace.shape)}")
    return new


def get_rule(rule: str | Rule, bound: float = 1.0) -> Rule:
    """Return the rule of that name (with ``bound`` for ``clip``); a callable is returned as it is.

    Raises:
        ValueError: if no rule has that name, or the bound is negative.
    """
    if callable(rule):
        return rule
    if rule == "clip":
        if not bound >= 0:
            raise ValueError(f"bound is {bound}: expected at least 0")
        return partial(clip, bound=bound)
    if rule == "hebb":
        return hebb
    if rule == "oja":
        return oja
    raise ValueError(f"unknown rule {rule!r}: expected one of {', '.join(RULE_NAMES)}, or a function")

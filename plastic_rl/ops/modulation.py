"""Neuromodulation: a network's own signal that says when, and how much, its traces change.

Source: Miconi et al., "Backpropamine: training self-modifying neural networks with differentiable neuromodulated
plasticity", ICLR 2019 (arXiv:2002.10585).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from plastic_rl.choices import Modulation as Kind
from plastic_rl.choices import ModulatorNonlinearity


class Modulation(NamedTuple):
    r"""A modulator, :math:`M(t) = f(\sum_j a_j x_j(t) + b)`, one number per episode and step, and how it acts.

    Its signal reaches neuron j as :math:`\eta_j(t) = p_j M(t) + q_j`. With ``"simple"`` modulation, that is the rate of
    the plasticity rule at this step, in place of eta. With ``"retroactive"`` modulation, it is the rate at which the
    eligibility trace is written into the trace; eta is the rate of the eligibility trace.

    Attributes:
        weight: ``(N,)``, a. bias: scalar, b. Both None: the signal is given.
        kind: ``"simple"`` or ``"retroactive"``.
        nonlinearity: f, ``"tanh"`` or ``"sigmoid"``.
        gain: ``(N,)``, p; None: 1. offset: ``(N,)``, q; None: 0.
        signal: ``(T, B)``, M(t) where it is given rather than computed: a signal of your own, or none.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    kind: Kind = "simple"
    nonlinearity: ModulatorNonlinearity = "tanh"
    gain: Tensor | None = None
    offset: Tensor | None = None
    signal: Tensor | None = None

    def signal_of(self, x: Tensor) -> Tensor:
        """Return M ``(...)`` for activities ``(..., N)``."""
        assert self.weight is not None
        assert self.bias is not None
        return getattr(torch, self.nonlinearity)(x @ self.weight + self.bias)

    def rates(self, signal: Tensor) -> Tensor:
        """Return the rate of every neuron, ``(..., N)``, or ``(..., 1)`` for all alike, for signals ``(...)``."""
        rates = signal.unsqueeze(-1)
        rates = rates if self.gain is None else rates * self.gain
        return rates if self.offset is None else rates + self.offset

"""The modulator: a network's own signal that says when, and how much, its traces change."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from plastic_rl.choices import FanOut, ModulatorNonlinearity
from plastic_rl.choices import Modulation as Kind
from plastic_rl.ops import Modulation


class Modulator(nn.Module):
    r"""Computes a network's modulatory signal from its activity, :math:`M(t) = f(\sum_j a_j x_j(t) + b)`.

    The signal is one number per episode and step. It reaches neuron j as the rate :math:`\eta_j(t) = p_j M(t) + q_j`;
    :class:`plastic_rl.ops.Modulation` says what the rates do (Miconi et al. 2019, section 3.2; p and q are in the
    authors' code only).

    Initial values: a and b as in ``torch.nn.Linear``, and p = 1. With a sigmoid, the initial rate is added to b as its
    logit, so that M begins near that rate, and q = 0. With tanh, M begins near 0, and q is the initial rate. So
    neurons begin near the rate of a network without modulation; only tanh without fan-out, the paper's modulator,
    begins near 0.

    Args:
        hidden_size: number of neurons, N.
        kind: ``"simple"`` or ``"retroactive"``.
        fan_out: ``"none"``: p = 1 and q = 0 for all neurons; ``"neuron"``: each neuron has a p and a q.
        nonlinearity: f, ``"tanh"`` or ``"sigmoid"``.
        initial_rate: of the neurons, 0 to 1.

    Attributes:
        weight: ``(N,)``, a. bias: scalar, b.
        gain: ``(N,)``, p. offset: ``(N,)``, q. Both None without fan-out.
        signal: the signal, where it is given rather than computed; see :meth:`given`.
    """

    def __init__(
        self,
        hidden_size: int,
        kind: Kind = "simple",
        fan_out: FanOut = "none",
        nonlinearity: ModulatorNonlinearity = "tanh",
        initial_rate: float = 0.01,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.kind, self.fan_out, self.nonlinearity = hidden_size, kind, fan_out, nonlinearity
        self.initial_rate = initial_rate
        self.signal: Tensor | None = None
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(hidden_size, **options))
        self.bias = nn.Parameter(torch.empty((), **options))
        self.gain: nn.Parameter | None = None
        self.offset: nn.Parameter | None = None
        if fan_out == "neuron":
            self.gain = nn.Parameter(torch.empty(hidden_size, **options))
            self.offset = nn.Parameter(torch.empty(hidden_size, **options))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights; see the class."""
        sigmoid = self.nonlinearity == "sigmoid"
        bound = 1 / math.sqrt(self.hidden_size)
        center = _logit(self.initial_rate) if sigmoid else 0.0
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, center - bound, center + bound)
        if self.gain is not None and self.offset is not None:
            nn.init.ones_(self.gain)
            nn.init.constant_(self.offset, 0.0 if sigmoid else self.initial_rate)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return M, ``(...)``, for activities ``(..., N)``: the given signal if there is one."""
        if self.signal is not None:
            return self.signal.to(hidden).expand(hidden.shape[:-1])
        return self._computed().signal_of(hidden)

    def modulation(self, steps: int, batch_size: int) -> Modulation:
        """Return what an op needs for a sequence of ``steps`` steps and ``batch_size`` episodes."""
        if self.signal is None:
            return self._computed()
        signal = self.signal.to(self.weight).expand(steps, batch_size)
        return Modulation(None, None, self.kind, self.nonlinearity, self.gain, self.offset, signal)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest signal that can be computed."""
        return (0.0, 1.0) if self.nonlinearity == "sigmoid" else (-1.0, 1.0)

    @contextmanager
    def given(self, signal: Tensor | float) -> Iterator[None]:
        """Give the signal for a while, in place of the one that the network computes.

        Args:
            signal: M, of a shape that broadcasts to ``(T, B)``: a number, ``(B,)`` or ``(T, B)``.
        """
        before = self.signal
        self.signal = torch.as_tensor(signal)
        try:
            yield
        finally:
            self.signal = before

    def extra_repr(self) -> str:
        """Describe the modulator in its ``repr``."""
        return f"{self.hidden_size}, {self.kind}, fan_out={self.fan_out}, nonlinearity={self.nonlinearity}"

    def _computed(self) -> Modulation:
        return Modulation(self.weight, self.bias, self.kind, self.nonlinearity, self.gain, self.offset)


def _logit(rate: float) -> float:
    """Return the bias at which a sigmoid is ``rate``, or close to it where that is 0 or 1."""
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate))

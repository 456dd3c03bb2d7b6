"""Recurrent layers with plastic connections."""

from typing import Any

import torch
from torch import Tensor

from plastic_rl.checks import check_choice
from plastic_rl.choices import NONLINEARITIES, Alpha, Engine, FanOut, Modulation, ModulatorNonlinearity
from plastic_rl.modules.connections import Plasticity
from plastic_rl.modules.recurrent import PlasticRecurrent
from plastic_rl.rules import Rule, RuleFunction


class _PlasticRNN(PlasticRecurrent):
    """The parameters of a plastic recurrent network, and how they run over a sequence."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        plasticity: Plasticity,
        nonlinearity: str,
        bias: bool,
        engine: Engine,
        options: dict[str, Any],
    ) -> None:
        super().__init__(input_size, hidden_size, plasticity, bias, engine, options)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.nonlinearity = nonlinearity
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        return f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity}, {super().extra_repr()}"

    def _kind(self) -> dict[str, Any]:
        return {"nonlinearity": self.nonlinearity}


class PlasticRNN(_PlasticRNN):
    r"""A recurrent layer with plastic connections, called like :class:`torch.nn.RNN`.

    Every connection has a fixed weight ``w`` and a plastic part ``alpha * trace``. The trace changes by a Hebbian rule
    at every step (Miconi et al. 2018, eq. 1 and 2):
    :math:`x_j(t) = f(W_{in} in(t) + b + \sum_i x_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t)))`.

    With modulation, the network computes the rates of its own plasticity (Miconi et al. 2019): see
    :class:`plastic_rl.modules.Modulator`. They may be negative, under which only the rules ``"clip"``, the paper's, and
    ``"soft_clip"`` keep the trace bounded.

    Args:
        input_size: number of input features. With 0 there are no input weights and no bias, and only clamps drive the
            network.
        hidden_size: number of neurons, N.
        rule: ``"hebb"``, ``"oja"``, ``"clip"``, ``"soft_clip"``, or a function like those in ``plastic_rl.rules``.
            None: ``"clip"`` with a modulation, and ``"hebb"`` without.
        alpha: plasticity coefficients: one per ``"connection"`` (N, N), one per post ``"neuron"`` (1, N), or one
            ``"shared"`` by all connections (1,).
        nonlinearity: ``"tanh"`` or ``"relu"``.
        eta: initial learning rate of the trace. With retroactive modulation it is that of the eligibility trace. With
            simple modulation, there is no eta but in the initial values of the modulator.
        learn_eta: whether eta is a parameter; otherwise it is a buffer.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
        bias: whether the neurons have a bias.
        bound: the ``clip`` rule keeps the trace within [-bound, bound].
        engine: see :func:`plastic_rl.ops.plastic_rnn`.
        modulation: what the modulator's signal does: ``"simple"``: it sets the rate of the rule; ``"retroactive"``: it
            sets the rate at which an eligibility trace is written into the trace; None: there is no modulator.
        fan_out: how the signal reaches the neurons: ``"none"``: alike; ``"neuron"``: by a gain and an offset of each.
        modulator_nonlinearity: ``"tanh"`` or ``"sigmoid"``.

    Shape:
        - input: ``(T, B, input_size)``, ``(B, T, input_size)`` if batch_first, or ``(T, input_size)`` unbatched.
        - state: ``PlasticState(hidden (B, N), trace (B, N, N))``, without the B if unbatched; None: zeros. With
          retroactive modulation, ``RetroactiveState``, which adds eligibility (B, N, N).
        - output: like the input, with N features. The second result is the state after the last step.

    Raises:
        ValueError: an unknown name, a negative bound, fan-out without modulation, retroactive modulation with oja or a
            function, or a wrong shape.
        TypeError: a state of another kind.

    Example:
        >>> import torch
        >>> from plastic_rl import PlasticRNN
        >>> rnn = PlasticRNN(5, 20, rule="oja")
        >>> output, state = rnn(torch.randn(30, 8, 5))
        >>> output.shape, state.trace.shape
        (torch.Size([30, 8, 20]), torch.Size([8, 20, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rule: str | Rule | RuleFunction | None = None,
        alpha: Alpha = "connection",
        nonlinearity: str = "tanh",
        eta: float = 0.01,
        learn_eta: bool = True,
        batch_first: bool = False,
        bias: bool = True,
        bound: float = 1.0,
        engine: Engine = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        modulation: Modulation | None = None,
        fan_out: FanOut = "none",
        modulator_nonlinearity: ModulatorNonlinearity = "tanh",
    ) -> None:
        plasticity = Plasticity(rule, alpha, eta, learn_eta, bound, modulation, fan_out, modulator_nonlinearity)
        options = {"device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, plasticity, nonlinearity, bias, engine, options)
        self.batch_first = batch_first

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        return super().extra_repr() + (", batch_first=True" if self.batch_first else "")

    def forward(
        self, input: Tensor, state: Any = None, *, clamp: Tensor | None = None, episode_start: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run over a sequence.

        Args:
            input: see the class.
            state: the state before the first step; None: the start of a lifetime.
            clamp: shaped like the output; a neuron takes this value unless it is NaN.
            episode_start: booleans, shaped like the input without features; the state is zero before a step that is
                true.
        """
        return self._run_layer(input, state, self.batch_first, clamp, episode_start)


class PlasticRNNCell(_PlasticRNN):
    """One step of :class:`PlasticRNN`, with the same parameters and names.

    Shape:
        - input: ``(B, input_size)`` or ``(input_size,)``.
        - state: as in PlasticRNN; None: the start of a lifetime.
        - returns: the output ``(B, N)`` or ``(N,)``, and the new state.

    Example:
        >>> import torch
        >>> from plastic_rl import PlasticRNNCell
        >>> cell, state = PlasticRNNCell(5, 20), None
        >>> for input in torch.randn(30, 8, 5):
        ...     output, state = cell(input, state)
        >>> output.shape
        torch.Size([8, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rule: str | Rule | RuleFunction | None = None,
        alpha: Alpha = "connection",
        nonlinearity: str = "tanh",
        eta: float = 0.01,
        learn_eta: bool = True,
        bias: bool = True,
        bound: float = 1.0,
        engine: Engine = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        modulation: Modulation | None = None,
        fan_out: FanOut = "none",
        modulator_nonlinearity: ModulatorNonlinearity = "tanh",
    ) -> None:
        plasticity = Plasticity(rule, alpha, eta, learn_eta, bound, modulation, fan_out, modulator_nonlinearity)
        options = {"device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, plasticity, nonlinearity, bias, engine, options)

    def forward(self, input: Tensor, state: Any = None, *, clamp: Tensor | None = None) -> tuple[Tensor, Any]:
        """Take one step. clamp: ``(B, N)`` or ``(N,)``; a neuron takes this value unless it is NaN."""
        return self._run_cell(input, state, clamp)

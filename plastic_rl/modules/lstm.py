"""LSTMs with plastic connections."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plastic_rl.checks import whole_number
from plastic_rl.choices import Alpha, Engine, FanOut, Modulation, ModulatorNonlinearity
from plastic_rl.modules.connections import Plasticity
from plastic_rl.modules.recurrent import PlasticRecurrent
from plastic_rl.rules import Rule, RuleFunction


class _PlasticLSTM(PlasticRecurrent):
    """The parameters of a plastic LSTM, and how they run over a sequence."""

    lstm: ClassVar[bool] = True
    blocks: ClassVar[int] = 4  # in the order of torch.nn.LSTM: input gate, forget gate, cells' input, output gate

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        plasticity: Plasticity,
        bias: bool,
        forget_bias: float,
        engine: Engine,
        options: dict[str, Any],
    ) -> None:
        input_size = whole_number("input_size", input_size, 1)
        if forget_bias and not bias:
            raise ValueError(f"forget_bias is {forget_bias} without bias: expected 0, or a bias")
        super().__init__(input_size, hidden_size, plasticity, bias, engine, options)
        self.forget_bias = forget_bias
        self.gates = nn.Parameter(torch.empty(hidden_size, 3 * hidden_size, **options))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, uniform in +-1/sqrt(hidden_size) as in ``torch.nn.LSTM``; eta stays as it is."""
        super().reset_parameters()
        assert self.encode is not None
        for weights in (*self.encode.parameters(), self.gates):
            nn.init.uniform_(weights, -self.initial_bound, self.initial_bound)
        if self.forget_bias:
            with torch.no_grad():
                self.encode.bias[self.hidden_size : 2 * self.hidden_size] += self.forget_bias

    def recurrent_weights(self) -> list[Tensor]:
        """Return the parameters that the settings' ``init_scale`` applies to."""
        return [*super().recurrent_weights(), self.gates]

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        text = f"{self.input_size}, {self.hidden_size}, {super().extra_repr()}"
        return text + (f", forget_bias={self.forget_bias}" if self.forget_bias else "")

    def _kind(self) -> dict[str, Any]:
        return {"gates": self.gates}


class PlasticLSTM(_PlasticLSTM):
    r"""An LSTM with plastic connections from its output to its cells' input (Miconi et al. 2019, task 3).

    It is called like :class:`plastic_rl.PlasticRNN`, but its neurons cannot be clamped. The gates i, f and o are those
    of :class:`torch.nn.LSTM`; the cells' input is
    :math:`z_j(t) = \tanh(W_{in} in(t) + b + \sum_i h_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t)))`. The trace changes by
    :math:`h(t-1)` and :math:`z(t)`. A modulator reads the output :math:`h(t)`.

    Args:
        input_size: number of input features.
        hidden_size: number of memory cells, N.
        rule, alpha, eta, learn_eta, batch_first, bound, engine, modulation, fan_out, modulator_nonlinearity: see
            :class:`plastic_rl.PlasticRNN`.
        bias: whether gates and cells have a bias.
        forget_bias: added to the initial bias of the forget gates. With 0 they begin as those of
            :class:`torch.nn.LSTM`, so that this layer and the control :class:`plastic_rl.LSTMCore` differ in plasticity
            only; with 1, cells remember longer from the start (Jozefowicz et al. 2015).

    Shape:
        - input: ``(T, B, input_size)``, ``(B, T, input_size)`` if batch_first, or ``(T, input_size)`` unbatched.
        - state: ``PlasticLSTMState(hidden (B, N), cell (B, N), trace (B, N, N))``, without the B if unbatched; None:
          zeros. With retroactive modulation, ``RetroactiveLSTMState``, which adds eligibility (B, N, N).
        - output: like the input, with N features. The second result is the state after the last step.

    Raises:
        ValueError: an unknown name, a negative bound, fan-out without modulation, retroactive modulation with oja or a
            function, a forget_bias without bias, or a wrong shape.
        TypeError: a state of another kind.

    Example:
        >>> import torch
        >>> from plastic_rl import PlasticLSTM
        >>> lstm = PlasticLSTM(5, 20, rule="clip", modulation="retroactive")
        >>> output, state = lstm(torch.randn(30, 8, 5))
        >>> output.shape, state.cell.shape, state.eligibility.shape
        (torch.Size([30, 8, 20]), torch.Size([8, 20]), torch.Size([8, 20, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rule: str | Rule | RuleFunction | None = None,
        alpha: Alpha = "connection",
        eta: float = 0.01,
        learn_eta: bool = True,
        batch_first: bool = False,
        bias: bool = True,
        forget_bias: float = 0.0,
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
        super().__init__(input_size, hidden_size, plasticity, bias, forget_bias, engine, options)
        self.batch_first = batch_first

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        return super().extra_repr() + (", batch_first=True" if self.batch_first else "")

    def forward(self, input: Tensor, state: Any = None, *, episode_start: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run over a sequence; arguments as in :class:`plastic_rl.PlasticRNN`."""
        return self._run_layer(input, state, self.batch_first, None, episode_start)


class PlasticLSTMCell(_PlasticLSTM):
    """One step of :class:`PlasticLSTM`, with the same parameters and names.

    Shape:
        - input: ``(B, input_size)`` or ``(input_size,)``.
        - state: as in PlasticLSTM; None: the start of a lifetime.
        - returns: the output ``(B, N)`` or ``(N,)``, and the new state.

    Example:
        >>> import torch
        >>> from plastic_rl import PlasticLSTMCell
        >>> cell, state = PlasticLSTMCell(5, 20), None
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
        eta: float = 0.01,
        learn_eta: bool = True,
        bias: bool = True,
        forget_bias: float = 0.0,
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
        super().__init__(input_size, hidden_size, plasticity, bias, forget_bias, engine, options)

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Take one step."""
        return self._run_cell(input, state, None)

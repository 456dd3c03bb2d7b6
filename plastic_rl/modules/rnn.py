"""Recurrent layers with plastic connections."""

from typing import Any

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_at_least, check_choice, check_shape
from plastic_rl.choices import ENGINES, NONLINEARITIES, Alpha, Engine
from plastic_rl.modules.batching import Layout, layout_of, unpack_state
from plastic_rl.modules.connections import PlasticConnections
from plastic_rl.modules.stepping import ModuleStepper, Stepper, check_step
from plastic_rl.ops.arguments import checked
from plastic_rl.ops.engines import why_not_fused
from plastic_rl.ops.rnn import plastic_rnn
from plastic_rl.ops.state import PlasticState
from plastic_rl.rules import Rule, RuleFunction


class _Plastic(PlasticConnections):
    """The parameters of a plastic recurrent network, and how they run over a sequence."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rule: str | Rule | RuleFunction = "hebb",
        alpha: Alpha = "connection",
        nonlinearity: str = "tanh",
        eta: float = 0.01,
        learn_eta: bool = True,
        bias: bool = True,
        bound: float = 1.0,
        engine: Engine = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        check_at_least("input_size", input_size, 0)
        check_at_least("hidden_size", hidden_size, 1)
        super().__init__(hidden_size, hidden_size, rule, alpha, eta, learn_eta, bound, options)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("engine", engine, ENGINES)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.nonlinearity, self.engine = nonlinearity, engine
        self.encode = nn.Linear(input_size, hidden_size, bias=bias, **options) if input_size else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, uniform in +-1/sqrt(hidden_size) as in ``torch.nn.RNN``; eta stays as it is."""
        if self.encode is not None:
            self.encode.reset_parameters()
        nn.init.uniform_(self.w, -self.initial_bound, self.initial_bound)
        nn.init.uniform_(self.alpha, -self.initial_bound, self.initial_bound)

    def recurrent_weights(self) -> list[Tensor]:
        """Return the parameters that the settings' ``init_scale`` applies to."""
        return [self.w, self.alpha]

    def initial_state(self, batch_size: int) -> PlasticState:
        """Return the state at the start of a lifetime: zeros, ``(B, N)`` and ``(B, N, N)``."""
        n = self.hidden_size
        return PlasticState(self.w.new_zeros(batch_size, n), self.w.new_zeros(batch_size, n, n))

    def stepper(self, state: PlasticState, steps: int) -> Stepper:
        """Return a stepper for ``steps`` steps from ``state``, one at a time, without gradients."""
        state = unpack_state(PlasticState, state)
        self._check_state(state, state.hidden.shape[:-1])
        check_at_least("steps", steps, 1)
        if self.engine in ("reference", "traceless") or why_not_fused(self.w, self.trace_rule):
            return ModuleStepper(self._run, state, self.input_size)
        return _FusedStepper(self, state, steps)

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        return f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity}, {super().extra_repr()}"

    def _net_input(self, input: Tensor) -> Tensor:
        """Return the net input of every neuron, ``(..., N)``, from an input ``(..., input_size)``."""
        if self.encode is None:
            return input.new_zeros(*input.shape[:-1], self.hidden_size)
        return self.encode(input).to(self.w.dtype)  # autocast changes the dtype

    def _bring_in(self, layout: Layout, sequence: Tensor, state: PlasticState | None) -> PlasticState | None:
        """Bring a caller's state to ``(B, ...)``."""
        if state is None:
            return None
        state = unpack_state(PlasticState, state)
        self._check_state(state, layout.batch_shape(sequence))
        return layout.state(state)

    def _check_state(self, state: PlasticState, batch_shape: tuple[int, ...]) -> None:
        check_shape("hidden", state.hidden, (*batch_shape, self.hidden_size))
        check_shape("trace", state.trace, (*batch_shape, self.hidden_size, self.hidden_size))

    def _run(
        self,
        input: Tensor,
        state: PlasticState | None,
        clamp: Tensor | None = None,
        episode_start: Tensor | None = None,
    ) -> tuple[Tensor, PlasticState]:
        """Run over ``(T, B, input_size)``."""
        if state is None:
            state = self.initial_state(input.shape[1])
        return plastic_rnn(
            self._net_input(input),
            self.w,
            self.alpha,
            self.eta,
            state.hidden,
            state.trace,
            rule=self.trace_rule,
            nonlinearity=self.nonlinearity,
            clamp=clamp,
            episode_start=episode_start,
            engine=self.engine,
        )


class _FusedStepper(Stepper):
    """Steps a layer by the fused engine, after the layer's input weights."""

    def __init__(self, layer: _Plastic, state: PlasticState, steps: int) -> None:
        from plastic_rl.ops.cpu.stepper import Stepper as Fused  # loads Numba

        self._layer, self._first = layer, state
        u = state.hidden.new_empty(steps, *state.hidden.shape)
        self._fused = Fused(
            checked(u, layer.w, layer.alpha, layer.eta, state._asdict(), layer.trace_rule, nonlinearity=layer.nonlinearity)
        )

    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        check_step(input, episode_start, self._first.hidden.shape[0], self._layer.input_size)
        with torch.no_grad():
            return self._fused.step(self._layer._net_input(input), episode_start)

    @property
    def state(self) -> PlasticState:
        return PlasticState(**self._fused.state())

    @property
    def outputs(self) -> Tensor:  # type: ignore[override]
        return self._fused.outputs

    def replay(self, input: Tensor) -> Tensor:
        if self._fused.can_replay:
            return self._fused.replay(self._layer._net_input(input))
        return self._layer._run(input, self._first, episode_start=self._fused.episode_start)[0]


class PlasticRNN(_Plastic):
    r"""A recurrent layer with plastic connections, called like :class:`torch.nn.RNN`.

    Every connection has a fixed weight ``w`` and a plastic part ``alpha * trace``. The trace changes by a Hebbian rule
    at every step (Miconi et al. 2018, eq. 1 and 2):
    :math:`x_j(t) = f(W_{in} in(t) + b + \sum_i x_i(t-1) (w_{ij} + \alpha_{ij} H_{ij}(t)))`.

    Args:
        input_size: number of input features. With 0 there are no input weights and no bias, and only clamps drive the
            network.
        hidden_size: number of neurons, N.
        rule: ``"hebb"``, ``"oja"``, ``"clip"``, or a function like those in ``plastic_rl.rules``.
        alpha: plasticity coefficients: one per ``"connection"`` (N, N), one per post ``"neuron"`` (1, N), or one
            ``"shared"`` by all connections (1,).
        nonlinearity: ``"tanh"`` or ``"relu"``.
        eta: initial learning rate of the trace.
        learn_eta: whether eta is a parameter; otherwise it is a buffer.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
        bias: whether the neurons have a bias.
        bound: the ``clip`` rule keeps the trace within [-bound, bound].
        engine: see :func:`plastic_rl.ops.plastic_rnn`.

    Shape:
        - input: ``(T, B, input_size)``, ``(B, T, input_size)`` if batch_first, or ``(T, input_size)`` unbatched.
        - state: ``PlasticState(hidden (B, N), trace (B, N, N))``, without the B if unbatched; None: zeros.
        - output: like the input, with N features. The second result is the state after the last step.

    Raises:
        ValueError: an unknown rule, alpha, nonlinearity or engine, a negative bound, or a wrong shape.

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
        rule: str | Rule | RuleFunction = "hebb",
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
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            rule,
            alpha,
            nonlinearity,
            eta,
            learn_eta,
            bias,
            bound,
            engine,
            device,
            dtype,
        )
        self.batch_first = batch_first

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        return super().extra_repr() + (", batch_first=True" if self.batch_first else "")

    def forward(
        self,
        input: Tensor,
        state: PlasticState | None = None,
        *,
        clamp: Tensor | None = None,
        episode_start: Tensor | None = None,
    ) -> tuple[Tensor, PlasticState]:
        """Run over a sequence.

        Args:
            input: see the class.
            state: the state before the first step; None: the start of a lifetime.
            clamp: shaped like the output; a neuron takes this value unless it is NaN.
            episode_start: booleans, shaped like the input without features; the state is zero before a step that is
                true.
        """
        layout = layout_of(input, self.input_size, self.batch_first)
        sequence = layout.sequence(input)
        if clamp is not None:
            check_shape("clamp", clamp, (*input.shape[:-1], self.hidden_size))
        if episode_start is not None:
            check_shape("episode_start", episode_start, input.shape[:-1])
        output, state = self._run(
            sequence,
            self._bring_in(layout, sequence, state),
            None if clamp is None else layout.sequence(clamp),
            None if episode_start is None else layout.sequence(episode_start),
        )
        return layout.restore(output), layout.restore_state(state)


class PlasticRNNCell(_Plastic):
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

    def forward(
        self, input: Tensor, state: PlasticState | None = None, *, clamp: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Take one step. clamp: ``(B, N)`` or ``(N,)``; a neuron takes this value unless it is NaN."""
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"input has shape {tuple(input.shape)}: expected (B, {self.input_size}) or ({self.input_size},)"
            )
        layout = layout_of(input.unsqueeze(0), self.input_size, False)
        sequence = layout.sequence(input.unsqueeze(0))
        if clamp is not None:
            check_shape("clamp", clamp, (*input.shape[:-1], self.hidden_size))
            clamp = layout.sequence(clamp.unsqueeze(0))
        output, state = self._run(sequence, self._bring_in(layout, sequence, state), clamp)
        return layout.restore(output)[0], layout.restore_state(state)

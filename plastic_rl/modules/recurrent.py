"""The base of the plastic recurrent layers and cells: their input weights, their state, and their layouts."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_choice, check_shape, whole_number
from plastic_rl.choices import ENGINES, Engine
from plastic_rl.modules.batching import Layout, check_tensor, layout_of, unpack_state
from plastic_rl.modules.connections import PlasticConnections, Plasticity
from plastic_rl.modules.modulation import Modulator
from plastic_rl.modules.stepping import ModuleStepper, Stepper, check_step, part_of
from plastic_rl.ops.arguments import Arguments, checked
from plastic_rl.ops.engines import why_not_fused
from plastic_rl.ops.rnn import run
from plastic_rl.ops.state import make_state, state_type


class PlasticRecurrent(PlasticConnections):
    """Plastic recurrent connections among N neurons, behind input weights.

    A subclass creates the weights that it has beside these, and then calls ``reset_parameters``.

    Attributes:
        encode: the input weights, a ``torch.nn.Linear``; None without input.
        modulator: a :class:`Modulator`; None without modulation.
        state_type: the class of the state, a NamedTuple.
    """

    lstm: ClassVar[bool] = False
    blocks: ClassVar[int] = 1  # net inputs of each neuron

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        plasticity: Plasticity,
        bias: bool,
        engine: Engine,
        options: dict[str, Any],
    ) -> None:
        input_size = whole_number("input_size", input_size, 0)
        hidden_size = whole_number("hidden_size", hidden_size, 1)
        check_choice("engine", engine, ENGINES)
        super().__init__(hidden_size, hidden_size, plasticity, options)
        self.input_size, self.hidden_size, self.engine = input_size, hidden_size, engine
        self.encode = nn.Linear(input_size, self.blocks * hidden_size, bias=bias, **options) if input_size else None
        self.modulator: Modulator | None = None
        if plasticity.modulation is not None:
            self.modulator = Modulator(
                hidden_size,
                plasticity.modulation,
                plasticity.fan_out,
                plasticity.modulator_nonlinearity,
                plasticity.eta,
                **options,
            )

    def reset_parameters(self) -> None:
        """Draw new weights, uniform in +-1/sqrt(hidden_size) as in ``torch.nn.RNN``; eta stays as it is."""
        if self.encode is not None:
            self.encode.reset_parameters()
        nn.init.uniform_(self.w, -self.initial_bound, self.initial_bound)
        nn.init.uniform_(self.alpha, -self.initial_bound, self.initial_bound)
        if self.modulator is not None:
            self.modulator.reset_parameters()

    def recurrent_weights(self) -> list[Tensor]:
        """Return the parameters that the settings' ``init_scale`` applies to."""
        return [self.w, self.alpha]

    @property
    def state_type(self) -> Any:
        """The class of the state."""
        return state_type(self.lstm, self.plasticity.modulation == "retroactive")

    def initial_state(self, batch_size: int) -> Any:
        """Return the state at the start of a lifetime: zeros, ``(B, N)`` and ``(B, N, N)``."""
        return self.state_type(*(self.w.new_zeros(shape) for shape in self._state_shapes((batch_size,)).values()))

    def stepper(self, state: Any, steps: int) -> Stepper:
        """Return a stepper for ``steps`` steps from ``state``, one at a time, without gradients."""
        state = unpack_state(self.state_type, state)
        self._check_state(state, state.hidden.shape[:-1])
        steps = whole_number("steps", steps, 1)
        given = self.modulator is not None and self.modulator.signal is not None  # which may change at every step
        if given or self.engine in ("reference", "traceless") or why_not_fused(self.w, self.trace_rule):
            return ModuleStepper(self._run, state, self.input_size)
        return _FusedStepper(self, state, steps)

    def _kind(self) -> dict[str, Any]:
        """Return the arguments of the op that only this kind of network has."""
        raise NotImplementedError

    def _arguments(self, u: Tensor, state: Any, clamp: Tensor | None, episode_start: Tensor | None) -> Arguments:
        """Return the op's arguments for net inputs ``(T, B, blocks N)``."""
        return checked(
            u,
            self.w,
            self.alpha,
            0.0 if self.eta is None else self.eta,
            state._asdict(),
            self.trace_rule,
            modulation=None if self.modulator is None else self.modulator.modulation(*u.shape[:2]),
            clamp=clamp,
            episode_start=episode_start,
            **self._kind(),
        )

    def _run(
        self, input: Tensor, state: Any, clamp: Tensor | None = None, episode_start: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run over ``(T, B, input_size)``."""
        state = self.initial_state(input.shape[1]) if state is None else state
        return run(self._arguments(self._net_input(input), state, clamp, episode_start), self.engine)

    def _net_input(self, input: Tensor) -> Tensor:
        """Return the net inputs of every neuron, ``(..., blocks N)``, from an input ``(..., input_size)``."""
        if self.encode is None:
            return input.new_zeros(*input.shape[:-1], self.blocks * self.hidden_size)
        return self.encode(input).to(self.w.dtype)  # autocast changes the dtype

    def _run_layer(
        self, input: Tensor, state: Any, batch_first: bool, clamp: Tensor | None, episode_start: Tensor | None
    ) -> tuple[Tensor, Any]:
        """Run over a sequence in the caller's layout."""
        layout = layout_of(input, self.input_size, batch_first)
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

    def _run_cell(self, input: Tensor, state: Any, clamp: Tensor | None) -> tuple[Tensor, Any]:
        """Take one step in the caller's layout."""
        check_tensor(input)
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"input has shape {tuple(input.shape)}: expected (B, {self.input_size}) or ({self.input_size},)"
            )
        if clamp is not None:
            check_shape("clamp", clamp, (*input.shape[:-1], self.hidden_size))
            clamp = clamp.unsqueeze(0)
        output, state = self._run_layer(input.unsqueeze(0), state, False, clamp, None)
        return output[0], state

    def _bring_in(self, layout: Layout, sequence: Tensor, state: Any) -> Any:
        """Bring a caller's state to ``(B, ...)``."""
        if state is None:
            return None
        state = unpack_state(self.state_type, state)
        self._check_state(state, layout.batch_shape(sequence))
        return layout.state(state)

    def _check_state(self, state: Any, batch_shape: tuple[int, ...]) -> None:
        for name, shape in self._state_shapes(batch_shape).items():
            check_shape(name, getattr(state, name), shape)

    def _state_shapes(self, batch_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each part of the state."""
        n = self.hidden_size
        sizes = {"hidden": (n,), "cell": (n,), "trace": (n, n), "eligibility": (n, n)}
        return {name: (*batch_shape, *sizes[name]) for name in self.state_type._fields}


class _FusedStepper(Stepper):
    """Steps a layer by the fused engine, after the layer's input weights."""

    def __init__(self, layer: PlasticRecurrent, state: Any, steps: int) -> None:
        from plastic_rl.ops.cpu.stepper import Stepper as Fused  # loads Numba

        self._layer, self._first = layer, state
        batch, n = state.hidden.shape
        u = state.hidden.new_empty(steps, batch, layer.blocks * n)
        self._fused = Fused(layer._arguments(u, state, None, None))

    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        check_step(input, episode_start, self._first.hidden.shape[0], self._layer.input_size)
        with torch.no_grad():
            return self._fused.step(self._layer._net_input(input), episode_start)

    @property
    def state(self) -> Any:
        return make_state(self._fused.state())

    @property
    def outputs(self) -> Tensor:  # type: ignore[override]
        return self._fused.outputs

    def replay(self, input: Tensor, which: Tensor | None = None) -> Tensor:
        if which is None and self._fused.can_replay:
            return self._fused.replay(self._layer._net_input(input))
        first, starts = part_of(which, self._first, self._fused.episode_start)
        return self._layer._run(input, first, episode_start=starts)[0]

"""The controls: recurrent cores without plasticity, PyTorch's own layers with the interface of PlasticRNN."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from plastic_rl.checks import check_choice, check_shape, whole_number
from plastic_rl.choices import NONLINEARITIES
from plastic_rl.modules.batching import check_episode_start, layout_of, unpack_state
from plastic_rl.modules.stepping import ModuleStepper, Stepper, begun
from plastic_rl.ops.reference import ACTIVATIONS


class RNNState(NamedTuple):
    """State of :class:`RNNCore`, :class:`GRUCore` and :class:`MemorylessCore`: the last activity, ``(B, N)``."""

    hidden: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron."""
        return ("hidden",)


class LSTMState(NamedTuple):
    """State of :class:`LSTMCore`: the last activity and the memory cells, ``(B, N)`` each."""

    hidden: Tensor
    cell: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron."""
        return ("hidden", "cell")


# Recurrent weights per episode from which memory traffic for them dominates the time of a step, so that the steps below
# beat torch.nn.LSTM: an update with 2,050 cells and one episode takes half the time.
WIDE = 1 << 20


class _OneProduct(torch.autograd.Function):
    """Computes the gradient of a recurrent matrix as one product over all steps.

    Autograd alone adds up one matrix per step, which dominates the time in a wide network: a whole update takes 1.5
    times as long with 2,050 neurons and 11 steps, and 2.2 times with 1,025 neurons and 225 steps.

    The net input u ``(T, B, M)`` passes through unchanged. The recurrence fills ``before`` with the activity ``(B, N)``
    before each step.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, weight: Tensor, before: list[Tensor]) -> Tensor:
        ctx.before = before
        return u.view_as(u)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gu: Tensor) -> tuple[Tensor, Tensor, None]:
        return gu, gu.flatten(0, 1).T @ torch.cat(ctx.before), None


def _recur(
    step: Callable[[int, Tensor, Any], Any], net_input: Tensor, weight: Tensor, state: Any
) -> tuple[Tensor, Any]:
    """Run ``state = step(t, z, state)`` over net inputs ``(T, B, M)``; z is the net input of step t with recurrence."""
    outputs: list[Tensor] = []
    before: list[Tensor] = []
    for t, u in enumerate(_OneProduct.apply(net_input, weight, before).unbind()):
        hidden = state.hidden.detach()
        before.append(hidden if t else hidden.clone())  # the first belongs to the caller, who may change it
        state = step(t, u + F.linear(state.hidden, weight.detach()), state)
        outputs.append(state.hidden)
    return torch.stack(outputs), state


class _Core(nn.Module):
    """A control around one layer, which runs piece by piece between the starts of episodes."""

    state_type: Any  # the class of the state, a NamedTuple
    least_input_size: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool) -> None:
        super().__init__()
        self.input_size = whole_number("input_size", input_size, self.least_input_size)
        self.hidden_size = whole_number("hidden_size", hidden_size, 1)
        self.batch_first = batch_first

    def forward(self, input: Tensor, state: Any = None, *, episode_start: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run over a sequence; arguments, shapes and results as in :class:`plastic_rl.PlasticRNN`."""
        return self._call(input, state, episode_start)

    def recurrent_weights(self) -> list[Any]:
        """Return the parameters that the settings' ``init_scale`` applies to."""
        return []

    def initial_state(self, batch_size: int) -> Any:
        """Return the state at the start of a lifetime: zeros, ``(B, N)``."""
        zeros = next(self.parameters()).new_zeros
        return self.state_type(*(zeros(batch_size, self.hidden_size) for _ in self.state_type._fields))

    def stepper(self, state: Any, steps: int) -> Stepper:
        """Return a stepper for ``steps`` steps from ``state``, one at a time, without gradients."""
        return ModuleStepper(self._run, unpack_state(self.state_type, state), self.input_size, self._cell)

    def _cell(self, input: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take one step with input ``(B, input_size)``; PyTorch's layers take twice as long for it as its cells."""
        output, state = self._layer(input[None], state, None)
        return output[0], state

    def _layer(self, input: Tensor, state: Any, clamp: Tensor | None) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def _call(
        self, input: Tensor, state: Any, episode_start: Tensor | None, clamp: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run over a sequence in the caller's layout."""
        layout = layout_of(input, self.input_size, self.batch_first)
        sequence = layout.sequence(input)
        if state is None:
            state = self.initial_state(sequence.shape[1])
        else:
            state = unpack_state(self.state_type, state)
            for name, tensor in state._asdict().items():
                check_shape(name, tensor, (*layout.batch_shape(sequence), self.hidden_size))
            state = layout.state(state)
        if episode_start is not None:
            check_episode_start(episode_start, input.shape[:-1])
            episode_start = layout.sequence(episode_start)
        if clamp is not None:
            check_shape("clamp", clamp, (*input.shape[:-1], self.hidden_size))
            clamp = layout.sequence(clamp)
        output, state = self._run(sequence, state, episode_start, clamp)
        return layout.restore(output), layout.restore_state(state)

    def _run(
        self, sequence: Tensor, state: Any, episode_start: Tensor | None, clamp: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run over ``(T, B, input_size)``."""
        if episode_start is None:
            return self._layer(sequence, state, clamp)
        cuts = [0, *(t for t in episode_start.any(1).nonzero().flatten().tolist() if t > 0), len(sequence)]
        pieces = []
        for begin, end in pairwise(cuts):
            state = begun(state, episode_start[begin])
            part = None if clamp is None else clamp[begin:end]
            piece, state = self._layer(sequence[begin:end], state, part)
            pieces.append(piece)
        return torch.cat(pieces), state


class RNNCore(_Core):
    """:class:`torch.nn.RNN` with the interface of :class:`plastic_rl.PlasticRNN`: the network without plasticity.

    Args:
        input_size: number of input features. With 0 there are no input weights, and only clamps drive the network.
        hidden_size: number of neurons, N.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
        device, dtype: of the weights.
    """

    state_type = RNNState
    least_input_size = 0
    layer: nn.RNN | nn.ParameterDict

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.nonlinearity = nonlinearity
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        if self.input_size:
            self.layer = nn.RNN(self.input_size, self.hidden_size, nonlinearity=nonlinearity, **options)
        else:  # nn.RNN refuses it: the same recurrent weights under the same names
            n = self.hidden_size
            bound = 1 / n**0.5
            self.layer = nn.ParameterDict()
            for name, shape in {"weight_hh_l0": (n, n), "bias_hh_l0": (n,)}.items():
                self.layer[name] = nn.Parameter(torch.empty(shape, **options).uniform_(-bound, bound))

    def recurrent_weights(self) -> list[Any]:
        """Return the parameters that the settings' ``init_scale`` applies to."""
        return [self.layer.weight_hh_l0]

    def forward(
        self,
        input: Tensor,
        state: Any = None,
        *,
        clamp: Tensor | None = None,
        episode_start: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Run over a sequence; arguments, shapes and results as in :class:`plastic_rl.PlasticRNN`."""
        return self._call(input, state, episode_start, clamp)

    def _cell(self, input: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        if not self.input_size:
            return super()._cell(input, state)
        cell = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        hidden = cell(input, state.hidden, *self.layer.parameters())
        return hidden, RNNState(hidden)

    def _layer(self, input: Tensor, state: RNNState, clamp: Tensor | None) -> tuple[Tensor, RNNState]:
        if clamp is None and isinstance(self.layer, nn.RNN):
            output, hidden = self.layer(input, state.hidden.unsqueeze(0))
            return output, RNNState(hidden.squeeze(0))
        layer: Any = self.layer  # nn.RNN creates its weights' names at run time, so that no type checker knows them
        function = ACTIVATIONS[self.nonlinearity]
        net_input = layer.bias_hh_l0.expand(*input.shape[:2], -1)
        if self.input_size:
            net_input = net_input + F.linear(input, layer.weight_ih_l0, layer.bias_ih_l0)

        def step(t: int, z: Tensor, state: RNNState) -> RNNState:
            x = function(z)
            return RNNState(x if clamp is None else torch.where(clamp[t].isnan(), x, clamp[t]))

        return _recur(step, net_input, layer.weight_hh_l0, state)


def _through_gates(t: int, z: Tensor, state: LSTMState) -> LSTMState:
    """Take one step of an LSTM; the gates are in PyTorch's order."""
    take, keep, new, show = z.chunk(4, -1)
    cell = keep.sigmoid() * state.cell + take.sigmoid() * new.tanh()
    return LSTMState(show.sigmoid() * cell.tanh(), cell)


class LSTMCore(_Core):
    """:class:`torch.nn.LSTM` with the interface of :class:`plastic_rl.PlasticRNN`; its neurons cannot be clamped.

    Args:
        input_size: number of input features.
        hidden_size: number of memory cells, N.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
        device, dtype: of the weights.
    """

    state_type = LSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.layer = nn.LSTM(self.input_size, self.hidden_size, **options)

    def _cell(self, input: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        state = LSTMState(*torch.lstm_cell(input, tuple(state), *self.layer.parameters()))
        return state.hidden, state

    def _layer(self, input: Tensor, state: LSTMState, clamp: Tensor | None) -> tuple[Tensor, LSTMState]:
        layer: Any = self.layer  # as in RNNCore
        if input.device.type == "cpu" and layer.weight_hh_l0.numel() >= WIDE * input.shape[1]:
            net_input = F.linear(input, layer.weight_ih_l0, layer.bias_ih_l0 + layer.bias_hh_l0)
            return _recur(_through_gates, net_input, layer.weight_hh_l0, state)
        output, (hidden, cell) = layer(input, (state.hidden.unsqueeze(0), state.cell.unsqueeze(0)))
        return output, LSTMState(hidden.squeeze(0), cell.squeeze(0))


class GRUCore(_Core):
    """:class:`torch.nn.GRU` with the interface of :class:`plastic_rl.PlasticRNN`; its neurons cannot be clamped.

    Args:
        input_size: number of input features.
        hidden_size: number of neurons, N.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
        device, dtype: of the weights.
    """

    state_type = RNNState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        self.layer = nn.GRU(self.input_size, self.hidden_size, device=device, dtype=dtype)

    def _cell(self, input: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        hidden = torch.gru_cell(input, state.hidden, *self.layer.parameters())
        return hidden, RNNState(hidden)

    def _layer(self, input: Tensor, state: RNNState, clamp: Tensor | None) -> tuple[Tensor, RNNState]:
        output, hidden = self.layer(input, state.hidden.unsqueeze(0))
        return output, RNNState(hidden.squeeze(0))


class MemorylessCore(_Core):
    """A layer without memory, with the interface of PlasticRNN: it shows how far a task needs no memory.

    Args:
        input_size: number of input features.
        hidden_size: number of neurons, N.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
        device, dtype: of the weights.
    """

    state_type = RNNState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.nonlinearity = nonlinearity
        self.layer = nn.Linear(self.input_size, self.hidden_size, device=device, dtype=dtype)

    def _layer(self, input: Tensor, state: RNNState, clamp: Tensor | None) -> tuple[Tensor, RNNState]:
        output = ACTIVATIONS[self.nonlinearity](self.layer(input))
        return output, RNNState(output[-1])

    def _run(
        self, sequence: Tensor, state: Any, episode_start: Tensor | None, clamp: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        return self._layer(sequence, state, clamp)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters of a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def matching_hidden_size(core: nn.Module, build: Callable[[int], nn.Module]) -> int:
    """Return the hidden size whose ``build(hidden_size)`` comes closest to ``core`` in number of parameters.

    Example:
        >>> from plastic_rl import LSTMCore, PlasticRNN, matching_hidden_size
        >>> matching_hidden_size(PlasticRNN(15, 100), lambda n: LSTMCore(15, n))
        65
    """

    def count(size: int) -> int:
        with torch.device("meta"):
            return count_parameters(build(size))

    wanted = count_parameters(core)
    high = 1
    while count(high) < wanted:
        high *= 2
    low = max(1, high // 2)
    while low < high:
        middle = (low + high) // 2
        if count(middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return min(range(max(1, low - 1), low + 1), key=lambda size: abs(count(size) - wanted))

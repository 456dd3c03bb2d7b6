"""Recurrent cores without plasticity, to compare with: the same interface, PyTorch's own layers inside."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plastic_rl.modules.layout import layout_of
from plastic_rl.modules.stepping import ModuleStepper, Stepper


class RNNState(NamedTuple):
    """State of :class:`RNNCore`: the last activity, ``(B, N)``."""

    hidden: Tensor


class LSTMState(NamedTuple):
    """State of :class:`LSTMCore`: the last activity and the memory cells, ``(B, N)`` each."""

    hidden: Tensor
    cell: Tensor


class _Core(nn.Module):
    """What both controls share: a PyTorch layer, run between the starts of episodes."""

    state_type: type
    layer: nn.RNNBase

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first

    def initial_state(self, batch_size: int) -> Any:
        """Return the state at the start of a lifetime: zeros, ``(B, N)``."""
        zeros = next(self.parameters()).new_zeros
        return self.state_type(*(zeros(batch_size, self.hidden_size) for _ in self.state_type._fields))

    def stepper(self, state: Any, steps: int) -> Stepper:
        """Return what takes the network through so many steps from this state, one at a time, without gradients."""
        return ModuleStepper(self.forward, state)

    def _layer(self, input: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def forward(self, input: Tensor, state: Any = None, *, episode_start: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run over a sequence; arguments, shapes and results as in :class:`plastic_rl.PlasticRNN`."""
        layout = layout_of(input, self.input_size, self.batch_first)
        sequence = layout.sequence(input)
        state = self.initial_state(sequence.shape[1]) if state is None else self.state_type(*map(layout.state, state))
        if episode_start is None:
            output, state = self._layer(sequence, state)
        else:
            starts = layout.sequence(episode_start)
            cuts = [0, *(t for t in starts.any(1).nonzero().flatten().tolist() if t > 0), len(sequence)]
            pieces = []
            for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
                keep = ~starts[begin].unsqueeze(-1)
                state = self.state_type(*(torch.where(keep, s, 0.0) for s in state))
                piece, state = self._layer(sequence[begin:end], state)
                pieces.append(piece)
            output = torch.cat(pieces)
        return layout.restore(output), self.state_type(*map(layout.restore_state, state))


class RNNCore(_Core):
    """:class:`torch.nn.RNN` with the interface of :class:`plastic_rl.PlasticRNN`: the network without plasticity.

    Args:
        input_size: features of the input.
        hidden_size: neurons, N.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
    """

    state_type = RNNState

    def __init__(
        self, input_size: int, hidden_size: int, nonlinearity: str = "tanh", batch_first: bool = False
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        self.layer = nn.RNN(input_size, hidden_size, nonlinearity=nonlinearity)

    def _layer(self, input: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        output, hidden = self.layer(input, state.hidden.unsqueeze(0))
        return output, RNNState(hidden.squeeze(0))


class LSTMCore(_Core):
    """:class:`torch.nn.LSTM` with the interface of :class:`plastic_rl.PlasticRNN`.

    Args:
        input_size: features of the input.
        hidden_size: memory cells, N.
        batch_first: whether input and output are ``(B, T, ...)`` rather than ``(T, B, ...)``.
    """

    state_type = LSTMState

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool = False) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        self.layer = nn.LSTM(input_size, hidden_size)

    def _layer(self, input: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        output, (hidden, cell) = self.layer(input, (state.hidden.unsqueeze(0), state.cell.unsqueeze(0)))
        return output, LSTMState(hidden.squeeze(0), cell.squeeze(0))


def count_parameters(module: nn.Module) -> int:
    """Return how many numbers gradient descent trains in this module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def matching_hidden_size(core: nn.Module, build: Callable[[int], nn.Module]) -> int:
    """Return the hidden size for which ``build(hidden_size)`` has nearest to as many parameters as ``core``.

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

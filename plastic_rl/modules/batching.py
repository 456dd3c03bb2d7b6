"""Batch layouts: brings ``torch.nn.RNN``'s three layouts to time-major ``(T, B, ...)`` and back."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from plastic_rl.checks import check_shape


class Layout(NamedTuple):
    """How a caller lays out sequences and states."""

    batched: bool
    batch_first: bool

    def sequence(self, tensor: Tensor) -> Tensor:
        """Bring a sequence to ``(T, B, ...)``."""
        if not self.batched:
            return tensor.unsqueeze(1)
        return tensor.transpose(0, 1) if self.batch_first else tensor

    def restore(self, tensor: Tensor) -> Tensor:
        """Bring a ``(T, B, ...)`` sequence to the caller's layout."""
        if not self.batched:
            return tensor.squeeze(1)
        return tensor.transpose(0, 1) if self.batch_first else tensor

    def batch_shape(self, sequence: Tensor) -> tuple[int, ...]:
        """Return the batch dimensions of the caller's state, given a ``(T, B, ...)`` sequence: (B,) or ()."""
        return (sequence.shape[1],) if self.batched else ()

    def state(self, state: Any) -> Any:
        """Bring all parts of a state to ``(B, ...)``."""
        return state if self.batched else map_state(lambda part: part.unsqueeze(0), state)

    def restore_state(self, state: Any) -> Any:
        """Bring all parts of a state, ``(B, ...)``, to the caller's layout."""
        return state if self.batched else map_state(lambda part: part.squeeze(0), state)


def layout_of(input: Tensor, input_size: int, batch_first: bool) -> Layout:
    """Return the layout of an input.

    Raises:
        TypeError: the input is not a tensor.
        ValueError: the input is not ``(T, B, input_size)``, ``(B, T, input_size)`` or ``(T, input_size)``, or has no
            steps.
    """
    check_tensor(input)
    if input.ndim not in (2, 3) or input.shape[-1] != input_size:
        order = "(B, T" if batch_first else "(T, B"
        raise ValueError(
            f"input has shape {tuple(input.shape)}: expected {order}, {input_size}), or (T, {input_size}) unbatched"
        )
    layout = Layout(input.ndim == 3, batch_first)
    if not len(layout.sequence(input)):
        raise ValueError(f"input has shape {tuple(input.shape)}: expected at least one step")
    return layout


def check_tensor(input: Any) -> None:
    """Raise TypeError if an input is not a tensor."""
    if isinstance(input, PackedSequence):
        raise TypeError(
            "input is a PackedSequence: expected a tensor; pad the sequences, with "
            "torch.nn.utils.rnn.pad_packed_sequence, and take from the outputs those of each one's own steps"
        )
    if not isinstance(input, Tensor):
        raise TypeError(f"input is a {type(input).__name__}: expected a tensor")


def check_episode_start(episode_start: Tensor, shape: tuple[int, ...]) -> None:
    """Check the marks of where episodes begin.

    Raises:
        ValueError: they have another shape.
        TypeError: they are not booleans.
    """
    check_shape("episode_start", episode_start, shape)
    if episode_start.dtype != torch.bool:
        raise TypeError(f"episode_start is {episode_start.dtype}: expected torch.bool")


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """Apply a function to every part of a state; return a state of the same type."""
    return type(state)(*map(function, state))


def unpack_state(kind: Any, state: Any) -> Any:
    """Return a caller's state, which may be a plain tuple, as a NamedTuple of this kind.

    Raises:
        TypeError: the number of parts is wrong, as for the single tensor of ``torch.nn.RNN``'s state, or their names.
    """
    if getattr(state, "_fields", kind._fields) == kind._fields:
        with suppress(TypeError):
            return kind(*state)
    parts = ", ".join(kind._fields)
    raise TypeError(f"state is a {type(state).__name__}: expected {kind.__name__}({parts}), or None")

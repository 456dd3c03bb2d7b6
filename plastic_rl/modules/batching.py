"""Where the batch is: ``torch.nn.RNN``'s three layouts, brought to time-major ``(T, B, ...)`` and back."""

from typing import Any, NamedTuple

from torch import Tensor


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
        """Return the first dimensions of a caller's state, given a ``(T, B, ...)`` sequence: (B,), or none."""
        return (sequence.shape[1],) if self.batched else ()

    def state(self, tensor: Tensor) -> Tensor:
        """Bring a state to ``(B, ...)``."""
        return tensor if self.batched else tensor.unsqueeze(0)

    def restore_state(self, tensor: Tensor) -> Tensor:
        """Bring a ``(B, ...)`` state to the caller's layout."""
        return tensor if self.batched else tensor.squeeze(0)


def layout_of(input: Tensor, input_size: int, batch_first: bool) -> Layout:
    """Tell an input's layout.

    Raises:
        ValueError: if it is not ``(T, B, input_size)``, ``(B, T, input_size)`` or ``(T, input_size)``.
    """
    if input.ndim not in (2, 3) or input.shape[-1] != input_size:
        order = "(B, T" if batch_first else "(T, B"
        raise ValueError(
            f"input has shape {tuple(input.shape)}: expected {order}, {input_size}), or (T, {input_size}) unbatched"
        )
    return Layout(input.ndim == 3, batch_first)


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Check a tensor, in the caller's layout.

    Raises:
        ValueError: if it has another shape.
    """
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {tuple(shape)}")


def unpack_state(kind: Any, state: Any) -> Any:
    """Return a caller's state as that kind of NamedTuple.

    Raises:
        TypeError: if it has not that many parts, as the one tensor of ``torch.nn.RNN``'s state.
    """
    try:
        return kind(*state)
    except TypeError as error:
        parts = ", ".join(kind._fields)
        raise TypeError(f"state is a {type(state).__name__}: expected {kind.__name__}({parts}), or None") from error

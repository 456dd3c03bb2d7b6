"""What a plastic network carries from one step to the next: a NamedTuple for each kind of network."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor


class PlasticState(NamedTuple):
    """State of a plastic network.

    hidden: ``(B, N)``, the last activity. trace: ``(B, N, N)``, the Hebbian trace of every connection,
    ``[pre i, post j]``; it starts each lifetime at zero.
    """

    hidden: Tensor
    trace: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron; the others have one value per connection."""
        return ("hidden",)


class RetroactiveState(NamedTuple):
    """State of a plastic network with retroactive modulation: that of :class:`PlasticState`, and

    eligibility: ``(B, N, N)``, what was active together; it starts each lifetime at zero.
    """

    hidden: Tensor
    trace: Tensor
    eligibility: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron; the others have one value per connection."""
        return ("hidden",)


class PlasticLSTMState(NamedTuple):
    """State of a plastic LSTM: that of :class:`PlasticState`, and cell: ``(B, N)``, the memory cells."""

    hidden: Tensor
    cell: Tensor
    trace: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron; the others have one value per connection."""
        return ("hidden", "cell")


class RetroactiveLSTMState(NamedTuple):
    """State of a plastic LSTM with retroactive modulation: that of all the others."""

    hidden: Tensor
    cell: Tensor
    trace: Tensor
    eligibility: Tensor

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """Names of the parts with one value per neuron; the others have one value per connection."""
        return ("hidden", "cell")


State = PlasticState | RetroactiveState | PlasticLSTMState | RetroactiveLSTMState

_TYPES: dict[tuple[bool, bool], Any] = {
    (False, False): PlasticState,
    (False, True): RetroactiveState,
    (True, False): PlasticLSTMState,
    (True, True): RetroactiveLSTMState,
}


def state_type(lstm: bool, retroactive: bool) -> Any:
    """Return the class of a network's state."""
    return _TYPES[lstm, retroactive]


def make_state(parts: Mapping[str, Tensor]) -> Any:
    """Return the state with these parts."""
    return state_type("cell" in parts, "eligibility" in parts)(**parts)

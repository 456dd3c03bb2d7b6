"""The networks of the completion tasks, and the settings of the core in any task's network."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from plastic_rl.modules import LSTMCore, PlasticRNN, RNNCore
from plastic_rl.modules.connections import Alpha

Core = Literal["plastic", "rnn", "lstm", "fixed"]
Drive = Literal["clamp", "add"]

GAIN = 20.0  # of an added input: tanh of it is as good as clamped


@dataclass(frozen=True)
class CoreSettings:
    """Settings of a network's core: a recurrent one, or a plastic output layer.

    Attributes:
        core: ``"plastic"``, or a control without plasticity: ``"rnn"``, ``"lstm"``, or ``"fixed"``, an output layer
            without any memory.
        hidden_size: neurons; None: as many as the task needs at least.
        rule, alpha, eta, learn_eta: of :class:`plastic_rl.PlasticRNN`.
        init_scale: standard deviation of the normal distribution that recurrent weights and plasticity coefficients
            are drawn from; None: drawn as the core itself does. An lstm always draws its own.
        init_alpha: added to the plasticity coefficients that are drawn. Above 0, a network begins as a memory of what
            its neurons did together, and learns from there.

    Raises:
        ValueError: an unknown core, no neurons, or a negative scale.
    """

    core: Core = "plastic"
    hidden_size: int | None = None
    rule: Literal["hebb", "oja", "clip"] = "hebb"
    alpha: Alpha = "connection"
    eta: float = 0.01
    learn_eta: bool = True
    init_scale: float | None = None
    init_alpha: float = 0.0

    def __post_init__(self) -> None:
        """Check what the core does not check itself."""
        if self.core not in get_args(Core):
            raise ValueError(f"unknown core {self.core!r}: expected one of {', '.join(get_args(Core))}")
        if self.hidden_size is not None and self.hidden_size < 1:
            raise ValueError(f"hidden_size is {self.hidden_size}: expected at least 1")
        if self.init_scale is not None and not self.init_scale >= 0:
            raise ValueError(f"init_scale is {self.init_scale}: expected at least 0")

    def sized(self, neurons: int, least: int = 1) -> "CoreSettings":
        """Return these settings with a size: so many neurons if none is set.

        Raises:
            ValueError: the size that is set is below the least.
        """
        size = neurons if self.hidden_size is None else self.hidden_size
        if size < least:
            raise ValueError(f"hidden_size is {size}: expected at least {least} for this task")
        return replace(self, hidden_size=size)

    def build(self, input_size: int) -> PlasticRNN | RNNCore | LSTMCore:
        """Return a new core for an input of so many features; all three are called alike.

        Raises:
            ValueError: no size is set, or the core is not recurrent.
        """
        if self.core == "fixed":
            raise ValueError("a core fixed has no memory: expected one of plastic, rnn, lstm")
        if self.hidden_size is None:
            raise ValueError("hidden_size is None: expected a number of neurons; sized() sets one")
        if self.core == "lstm":
            return LSTMCore(input_size, self.hidden_size)
        core: PlasticRNN | RNNCore
        drawn: list[Any]  # the names of the control's weights are made up as it is built, so types cannot be checked
        if self.core == "rnn":
            core = RNNCore(input_size, self.hidden_size)
            drawn = [core.layer.weight_hh_l0]
        else:
            core = PlasticRNN(
                input_size, self.hidden_size, rule=self.rule, alpha=self.alpha, eta=self.eta, learn_eta=self.learn_eta
            )
            drawn = [core.w, core.alpha]
        if self.init_scale is not None:
            for weight in drawn:
                nn.init.normal_(weight, std=self.init_scale)
        if isinstance(core, PlasticRNN):
            with torch.no_grad():
                core.alpha.add_(self.init_alpha)
        return core


def completion_network(settings: CoreSettings, items: int, drive: Drive = "clamp") -> nn.Module:
    """Return a network that is shown some of its items and outputs them all.

    Called with what is shown, ``(T, B, items)``, NaN where nothing is, it returns its output, ``(T, B, items)``. A
    plastic or rnn core has a neuron for every item and one more that is always 1, the bias; neurons beyond these are
    free. An lstm core has input weights and a linear readout.

    Args:
        settings: of the core; without a size, items + 1 neurons.
        items: pixels or bits.
        drive: whether shown items clamp their neurons, or are added to their net input, times 20.

    Raises:
        ValueError: there are fewer than items + 1 neurons, or ``"add"`` is asked of another core than a plastic one.
    """
    if drive not in get_args(Drive):
        raise ValueError(f"unknown drive {drive!r}: expected one of {', '.join(get_args(Drive))}")
    if drive == "add" and settings.core != "plastic":
        raise ValueError(f"a core {settings.core} cannot be driven by {drive!r}: expected 'clamp'")
    if settings.core == "lstm":
        return ReadoutNetwork(settings.sized(items + 1), items)
    settings = settings.sized(items + 1, least=items + 1)
    return (ClampedNetwork if drive == "clamp" else AddedNetwork)(settings, items)


def _with_bias(shown: Tensor, size: int) -> Tensor:
    """Add the bias neuron, always 1, and free neurons (NaN) up to a size."""
    filled = shown.new_full((*shown.shape[:-1], size), torch.nan)
    filled[..., : shown.shape[-1]] = shown
    filled[..., shown.shape[-1]] = 1.0
    return filled


class ClampedNetwork(nn.Module):
    """A plastic or rnn core without input weights, whose first neurons are clamped to what is shown."""

    def __init__(self, settings: CoreSettings, items: int) -> None:
        super().__init__()
        self.items = items
        self.core = settings.build(0)

    def forward(self, shown: Tensor) -> Tensor:
        """See ``completion_network``."""
        output, _ = self.core(shown[..., :0], clamp=_with_bias(shown, self.core.hidden_size))
        return output[..., : self.items]


class AddedNetwork(nn.Module):
    """A plastic core; what is shown is added, times a gain, to the net input of its first neurons."""

    def __init__(self, settings: CoreSettings, items: int) -> None:
        super().__init__()
        self.items = items
        assert settings.hidden_size is not None
        self.core = settings.build(settings.hidden_size)
        assert isinstance(self.core, PlasticRNN)
        assert self.core.encode is not None
        with torch.no_grad():
            self.core.encode.weight.copy_(GAIN * torch.eye(self.core.hidden_size))
            self.core.encode.bias.zero_()
        self.core.encode.requires_grad_(False)

    def forward(self, shown: Tensor) -> Tensor:
        """See ``completion_network``."""
        output, _ = self.core(_with_bias(shown, self.core.hidden_size).nan_to_num(0.0))
        return output[..., : self.items]


class ReadoutNetwork(nn.Module):
    """A core with input weights and a linear readout; what is not shown is an input of 0."""

    def __init__(self, settings: CoreSettings, items: int) -> None:
        super().__init__()
        self.core = settings.build(items)
        self.readout = nn.Linear(self.core.hidden_size, items)

    def forward(self, shown: Tensor) -> Tensor:
        """See ``completion_network``."""
        output, _ = self.core(shown.nan_to_num(0.0))
        return self.readout(output)

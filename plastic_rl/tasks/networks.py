"""The networks of the completion tasks."""

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_choice
from plastic_rl.choices import COMPLETION_CORES, DRIVES, Drive
from plastic_rl.modules import PlasticRNN
from plastic_rl.modules.cores import CoreSettings

CLAMPED_CORES = ("plastic", "rnn")
GAIN = 20.0  # of an added input: its tanh is as close to -1 or 1 as if it were clamped


def completion_network(settings: CoreSettings, items: int, drive: Drive = "clamp") -> nn.Module:
    """Return a network that is shown some of its items and outputs all of them.

    The network takes what is shown, ``(T, B, items)``, NaN where nothing is shown, and returns ``(T, B, items)``. A
    plastic or rnn core has one neuron for each item, and a bias neuron that is always 1; further neurons are free. A
    core with gates, whose outputs cannot be set from outside, has input weights and a linear readout.

    Args:
        settings: settings of the core; without a size, there are items + 1 neurons.
        items: number of pixels or bits.
        drive: ``"clamp"``: shown items clamp their neurons; ``"add"``: they are added to the net input, times 20.

    Raises:
        ValueError: a core without memory, fewer than items + 1 neurons, or ``"add"`` with a core that is not plastic.
    """
    check_choice("drive", drive, DRIVES)
    if settings.core not in COMPLETION_CORES:
        raise ValueError(f"a core {settings.core} cannot complete items: expected one of {', '.join(COMPLETION_CORES)}")
    if drive == "add" and settings.core != "plastic":
        raise ValueError(f"a core {settings.core} cannot be driven by {drive!r}: expected 'clamp'")
    if settings.core not in CLAMPED_CORES:
        return ReadoutNetwork(settings.sized(items + 1), items)
    settings = settings.sized(items + 1, least=items + 1)
    return (ClampedNetwork if drive == "clamp" else AddedNetwork)(settings, items)


def _with_bias(shown: Tensor, size: int) -> Tensor:
    """Add the bias neuron, always 1, and free neurons (NaN) up to ``size``."""
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
    """A plastic core that adds what is shown, times a gain, to the net input of its first neurons."""

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
    """A core with input weights and a linear readout; the input is 0 where nothing is shown."""

    def __init__(self, settings: CoreSettings, items: int) -> None:
        super().__init__()
        self.core = settings.build(items)
        self.readout = nn.Linear(self.core.hidden_size, items)

    def forward(self, shown: Tensor) -> Tensor:
        """See ``completion_network``."""
        output, _ = self.core(shown.nan_to_num(0.0))
        return self.readout(output)

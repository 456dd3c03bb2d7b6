"""Plastic layers within any network: finds them, and removes their plasticity for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from plastic_rl.checks import check_choice
from plastic_rl.choices import ABLATIONS, Ablation


def plastic_layers(network: nn.Module) -> list[Any]:
    """Return the plastic layers of a network: the modules that have ``alpha``, ``eta`` and ``constrain_``."""
    return [layer for layer in network.modules() if all(hasattr(layer, n) for n in ("alpha", "eta", "constrain_"))]


@contextmanager
def ablated(network: nn.Module, ablation: Ablation) -> Iterator[None]:
    """Remove the plasticity of a network's plastic layers; restore it at the end.

    ``"trace_zero"`` sets eta to 0, so that traces, which begin each lifetime at zero, stay there. ``"alpha_zero"`` sets
    alpha to 0, so that traces change without effect. By eq. 1 of the paper, only the fixed weights act in both cases:
    if the results differ, an engine is wrong; if they are no worse than before, the network makes no use of plasticity.

    Raises:
        ValueError: an unknown ablation, or a network without plastic layers.
    """
    check_choice("ablation", ablation, ABLATIONS)
    layers = plastic_layers(network)
    if not layers:
        raise ValueError("the network has no plastic layer: there is nothing to remove")
    zeroed = [layer.eta if ablation == "trace_zero" else layer.alpha for layer in layers]
    kept = [tensor.detach().clone() for tensor in zeroed]
    with torch.no_grad():
        for tensor in zeroed:
            tensor.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in zip(zeroed, kept, strict=True):
                tensor.copy_(before)

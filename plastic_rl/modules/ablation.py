"""Plastic layers within any network: finding them, and taking their plasticity away for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import nn

Ablation = Literal["trace_zero", "alpha_zero"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)


def plastic_layers(network: nn.Module) -> list[Any]:
    """Return the plastic layers of a network: the modules that have ``alpha``, ``eta`` and ``constrain_``."""
    return [layer for layer in network.modules() if all(hasattr(layer, n) for n in ("alpha", "eta", "constrain_"))]


@contextmanager
def ablated(network: nn.Module, ablation: Ablation) -> Iterator[None]:
    """Take the plasticity of a network's plastic layers away; they are as before in the end.

    ``"trace_zero"`` sets eta to 0, so that traces, which begin each lifetime at zero, stay there; ``"alpha_zero"``
    sets alpha to 0, so that traces change without effect. By eq. 1 of the paper both leave the fixed weights alone at
    work: where they differ, an engine is wrong, and where they cost nothing, the network does without its plasticity.

    Raises:
        ValueError: an unknown ablation, or a network without plastic layers.
    """
    if ablation not in ABLATIONS:
        raise ValueError(f"unknown ablation {ablation!r}: expected one of {', '.join(ABLATIONS)}")
    layers = plastic_layers(network)
    if not layers:
        raise ValueError("the network has no plastic layer: there is nothing to take away")
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

"""Plastic layers within any network: finds them, and removes parts of their plasticity for a while."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_choice
from plastic_rl.choices import ABLATIONS, Ablation
from plastic_rl.modules.modulation import Modulator


def plastic_layers(network: nn.Module) -> list[Any]:
    """Return the plastic layers of a network: the modules that have ``alpha``, ``eta`` and ``constrain_``."""
    return [layer for layer in network.modules() if all(hasattr(layer, n) for n in ("alpha", "eta", "constrain_"))]


def modulator_of(layer: Any) -> Modulator | None:
    """Return what modulates a layer's plasticity; None where nothing does."""
    return getattr(layer, "modulator", None)


def ablations_of(network: nn.Module) -> list[Ablation]:
    """Return the ablations that take something from a network: none without plastic layers."""
    return [name for name in ABLATIONS if any(_has(layer, name) for layer in plastic_layers(network))]


@contextmanager
def ablated(network: nn.Module, ablation: Ablation) -> Iterator[None]:
    """Remove a part of the plasticity of a network's plastic layers; restore it at the end.

    Traces begin each lifetime at zero.

    - ``"trace_zero"`` keeps them there: eta is 0, or with modulation the rates of all neurons are.
    - ``"alpha_zero"`` sets alpha to 0, so that traces change without effect. By eq. 1 of the first paper, only the
      fixed weights act in both cases: if the results differ, an engine is wrong; if they are no worse than before, the
      network makes no use of plasticity.
    - ``"modulation_zero"`` keeps the modulatory signal at 0. Without fan-out, traces then stay at zero; with fan-out,
      each neuron has a constant rate, its offset.
    - ``"eligibility_zero"`` sets the eligibility's eta to 0, so that there is nothing to write into the traces.

    Raises:
        ValueError: an unknown ablation, or a network without the part that it removes.
    """
    check_choice("ablation", ablation, ABLATIONS)
    layers = [layer for layer in plastic_layers(network) if _has(layer, ablation)]
    if not layers:
        kind = {"modulation_zero": "modulated", "eligibility_zero": "retroactive"}.get(ablation, "plastic")
        raise ValueError(f"the network has no {kind} layer: there is nothing to remove")
    zeroed = [tensor for layer in layers for tensor in _zeroed(layer, ablation)]
    kept = [tensor.detach().clone() for tensor in zeroed]
    with ExitStack() as stack:
        if ablation in ("trace_zero", "modulation_zero"):
            for modulator in filter(None, map(modulator_of, layers)):
                stack.enter_context(modulator.given(0.0))
        with torch.no_grad():
            for tensor in zeroed:
                tensor.zero_()
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, before in zip(zeroed, kept, strict=True):
                    tensor.copy_(before)


def _has(layer: Any, ablation: Ablation) -> bool:
    """Whether a plastic layer has what an ablation removes."""
    modulator = modulator_of(layer)
    if ablation == "modulation_zero":
        return modulator is not None
    return ablation != "eligibility_zero" or (modulator is not None and modulator.kind == "retroactive")


def _zeroed(layer: Any, ablation: Ablation) -> list[Tensor]:
    """Return the tensors of a layer that an ablation sets to 0, besides the modulatory signal."""
    if ablation == "alpha_zero":
        return [layer.alpha]
    modulator = modulator_of(layer)
    if ablation == "eligibility_zero" or (ablation == "trace_zero" and modulator is None):
        return [layer.eta]
    return [modulator.offset] if ablation == "trace_zero" and modulator and modulator.offset is not None else []

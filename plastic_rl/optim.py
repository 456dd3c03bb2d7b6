"""One step of gradient descent, as every training in this package makes it."""

import math

import torch
from torch import Tensor, nn

from plastic_rl.errors import DivergenceError
from plastic_rl.modules.ablation import plastic_layers


def gradient_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, max_grad_norm: float | None, when: str
) -> float:
    """Compute the gradient, clip it, make a step, and bring the eta of every plastic layer back into [0, 1].

    Args:
        network: the network to train, with all its plastic layers.
        optimizer: optimizer of the network's parameters.
        loss: the loss, a scalar.
        max_grad_norm: norm to which the gradient is clipped; None: it is not clipped.
        when: the time of the step for the error message, such as ``"step 1200"``.

    Returns:
        The norm of the gradient before clipping.

    Raises:
        DivergenceError: the loss or the gradient is not finite, and the weights are as they were before; or the
            optimizer's step overflows.
    """
    optimizer.zero_grad()
    loss.backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, math.inf if max_grad_norm is None else max_grad_norm)
    for what, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value.item()):
            raise DivergenceError(
                f"training diverged at {when}: the {what} is {value.item()}; "
                "try a smaller learning rate, or clip gradients to a smaller norm"
            )
    try:
        optimizer.step()
    except RuntimeError as error:
        raise DivergenceError(f"training diverged at {when}: {error}") from error
    for layer in plastic_layers(network):
        layer.constrain_()
    return norm.item()

"""The reference engine: the rules, stepped under autograd. Slow, on any device, and the truth."""

from collections.abc import Callable

import torch
from torch import Tensor

from plastic_rl.rules import Rule, updated

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


def sequence(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    trace: Tensor,
    rule: Rule,
    nonlinearity: str,
    clamp: Tensor | None,
    episode_start: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run eq. 1 and a rule over a whole sequence. Shapes as in ``plastic_rl.ops.plastic_rnn``.

    Returns:
        outputs (T, B, N), the last hidden state (B, N) and the last trace (B, N, N).
    """
    activation = NONLINEARITIES[nonlinearity]
    outputs = []
    for t in range(u.shape[0]):
        if episode_start is not None:
            start = episode_start[t]
            hidden = torch.where(start[:, None], 0.0, hidden)
            trace = torch.where(start[:, None, None], 0.0, trace)
        recurrent = (hidden.unsqueeze(1) @ (w + alpha * trace)).squeeze(1)
        x = activation(u[t] + recurrent)
        if clamp is not None:
            x = torch.where(clamp[t].isnan(), x, clamp[t])
        trace = updated(rule, trace, hidden, x, eta)
        hidden = x
        outputs.append(x)
    return torch.stack(outputs), hidden, trace

"""The reference engine: the rules, stepped under autograd. It is slow, runs on any device, and defines the truth."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from plastic_rl.rules import Rule, step_traces

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


def sequence(
    u: Tensor,
    w: Tensor,
    alpha: Tensor,
    eta: Tensor,
    hidden: Tensor,
    traces: Mapping[str, Tensor],
    rule: Rule,
    nonlinearity: str,
    clamp: Tensor | None,
    episode_start: Tensor | None,
) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
    """Run eq. 1 and a rule over a whole sequence. Shapes are those of ``plastic_rl.ops.plastic_rnn``.

    traces: all ``(B, N, N)`` tensors that the rule carries, by name. All are zero at an episode's start.

    Returns:
        The outputs (T, B, N), the last hidden state (B, N) and the last traces, by name.
    """
    activation = ACTIVATIONS[nonlinearity]
    outputs = []
    for t in range(u.shape[0]):
        if episode_start is not None:
            start = episode_start[t]
            hidden = torch.where(start[:, None], 0.0, hidden)
            traces = {name: torch.where(start[:, None, None], 0.0, trace) for name, trace in traces.items()}
        recurrent = (hidden.unsqueeze(1) @ (w + alpha * traces["trace"])).squeeze(1)
        x = activation(u[t] + recurrent)
        if clamp is not None:
            x = torch.where(clamp[t].isnan(), x, clamp[t])
        traces = step_traces(rule, traces, hidden, x, eta)
        hidden = x
        outputs.append(x)
    return torch.stack(outputs), hidden, traces

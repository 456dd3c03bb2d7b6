"""The reference engine: the rules, stepped under autograd. It is slow, runs on any device, and defines the truth."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from plastic_rl.ops.arguments import Arguments
from plastic_rl.rules import rule_of, step_traces

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


def sequence(a: Arguments) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Run eq. 1 and a rule over a whole sequence.

    Returns:
        The outputs (T, B, N) and the last state, by name.
    """
    rule = rule_of(a.rule, a.retroactive, a.eta)
    state, outputs = dict(a.state), []
    for t in range(a.u.shape[0]):
        if a.episode_start is not None:
            start = a.episode_start[t]
            for name, part in state.items():
                state[name] = torch.where(start.view(-1, *[1] * (part.ndim - 1)), 0.0, part)
        before = state["hidden"]
        recurrent = (before.unsqueeze(1) @ (a.w + a.alpha * state["trace"])).squeeze(1)
        if a.gates is None:
            x = post = ACTIVATIONS[a.nonlinearity](a.u[t] + recurrent)
            if a.clamp is not None:
                x = post = torch.where(a.clamp[t].isnan(), x, a.clamp[t])
        else:
            x, post, state["cell"] = _through_gates(a.u[t], recurrent, before @ a.gates, state["cell"])
        traces = {name: state[name] for name in rule.traces}
        state |= step_traces(rule, traces, before, post, _rate(a, t, x))
        state["hidden"] = x
        outputs.append(x)
    return torch.stack(outputs), state


def _through_gates(u: Tensor, recurrent: Tensor, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take one step of an LSTM; return the output, the cells' input, which is the traces' post, and the cells."""
    ui, uf, ug, uo = u.chunk(4, -1)
    take, keep, show = gates.chunk(3, -1)
    new = torch.tanh(ug + recurrent)
    cell = (uf + keep).sigmoid() * cell + (ui + take).sigmoid() * new
    return (uo + show).sigmoid() * cell.tanh(), new, cell


def _rate(a: Arguments, t: int, x: Tensor) -> Tensor:
    """Return the rate of step t: the scalar eta, or ``(B, 1, N)`` or ``(B, 1, 1)``."""
    if a.rates is not None:
        return a.rates[t].unsqueeze(-2)
    if a.modulation is not None:
        return a.modulation.rates(a.modulation.signal_of(x)).unsqueeze(-2)
    return a.eta

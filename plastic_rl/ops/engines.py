"""The engines that compute a sequence, in order of preference, and why each may refuse one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from plastic_rl import choices
from plastic_rl.ops import reference, traceless
from plastic_rl.ops.arguments import Arguments
from plastic_rl.rules import BUILT_IN, Hebb, TraceRule

TRACELESS_FROM = 4  # neurons per step with a free neuron from which the traceless engine is the faster one

Result = tuple[Tensor, Mapping[str, Tensor]]  # outputs (T, B, N), and the state after the last step, by name


class Engine(NamedTuple):
    """One way to compute a sequence.

    obstacle: says why the engine cannot compute a sequence; empty if it can.
    pays: whether "auto" takes the engine where it can do the job.
    """

    name: choices.Engine
    obstacle: Callable[[Arguments], str]
    pays: Callable[[Arguments], bool]
    run: Callable[[Arguments], Result]


def why_not_fused(u: Tensor, rule: TraceRule) -> str:
    """Say why the fused engine cannot take an input with this dtype and device, or this rule; empty if it can."""
    if type(rule) not in BUILT_IN.values():  # a subclass may compute something else
        return f"knows the rules {', '.join(BUILT_IN)} and not a function of your own"
    if u.device.type != "cpu":
        return f"runs on the CPU and the input is on {u.device}"
    if u.dtype not in (torch.float32, torch.float64):
        return f"computes in float32 and float64 and the input is {u.dtype}"
    return ""


def why_not_traceless(a: Arguments) -> str:
    """Say why the traceless engine cannot compute a sequence; empty if it can."""
    if type(a.rule) is not Hebb:
        return "knows the rule hebb only"
    if a.alpha.ndim > 1 and a.alpha.shape[-2] != 1:
        return "takes one alpha for all connections, or one per post neuron, and not one per connection"
    if a.modulated:
        return "takes one eta for all neurons and steps, and no modulation"
    if a.gates is not None:
        return "knows no LSTM"
    if a.episode_start is not None:
        return "runs one episode in a sequence and takes no episode_start"
    return ""


def choose(name: choices.Engine, arguments: Arguments) -> Engine:
    """Return the engine with this name; for "auto", the first that can compute the sequence and is expected to pay.

    Raises:
        ValueError: the engine cannot compute the sequence; the message says why.
    """
    transformed = not torch.compiler.is_compiling() and _transforming()
    for engine in ENGINES:
        if name not in ("auto", engine.name):
            continue
        obstacle = engine.obstacle(arguments)
        if not obstacle and transformed and engine is not REFERENCE:
            obstacle = "cannot be transformed by torch.func, nor differentiated in forward mode"
        if obstacle and name != "auto":
            raise ValueError(f"engine {name!r} {obstacle}; use engine='auto' or 'reference'")
        if not obstacle and (name != "auto" or engine.pays(arguments)):
            return engine if arguments.u.shape[1] else REFERENCE  # of no episodes there is nothing to compute
    return REFERENCE


def _transforming() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation is active: it sees PyTorch's own ops only."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _traceless_pays(a: Arguments) -> bool:
    """Whether reading the earlier steps costs less than reading the trace.

    Without a trace, all steps are kept, and a step with a free neuron reads those before it. With a trace, it reads
    the whole trace.
    """
    steps, _, n = a.u.shape
    return not a.u.is_meta and steps <= n and TRACELESS_FROM * sum(traceless.free_steps(steps, a.clamp)) <= n


def _run_traceless(a: Arguments) -> Result:
    hidden, trace = a.state["hidden"], a.state["trace"]
    outputs, hidden, trace = traceless.sequence(a.u, a.w, a.alpha, a.eta, hidden, trace, a.nonlinearity, a.clamp)
    return outputs, {"hidden": hidden, "trace": trace}


def _run_fused(a: Arguments) -> Result:
    from plastic_rl.ops.cpu import autograd  # loads Numba

    return autograd.sequence(a)


REFERENCE = Engine("reference", lambda a: "", lambda a: True, reference.sequence)
# In the order in which "auto" tries them.
ENGINES = (
    Engine("traceless", why_not_traceless, _traceless_pays, _run_traceless),
    Engine("fused", lambda a: why_not_fused(a.u, a.rule), lambda a: True, _run_fused),
    REFERENCE,
)

"""Many lifetimes in mazes side by side: when the goal is hit, and what is left of an agent without its memory."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.agents import PlasticA2C
from plastic_rl.modules import MemorylessCore, PlasticRNN
from plastic_rl.modules.ablation import ABLATIONS as OF_NETWORK
from plastic_rl.modules.ablation import ablated

# So many steps after the first hit its reward has been seen and been written into the trace.
LEARNED = 5

State = tuple[np.ndarray, ...]
Change = Callable[[State, State, np.ndarray, np.ndarray], State]


class Lifetimes(NamedTuple):
    """What happened in E lifetimes of T steps.

    Attributes:
        rewards: ``(E, T)``.
    """

    rewards: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """Whether the step reached the goal, ``(E, T)`` booleans: nothing else pays."""
        return self.rewards > 0

    def summary(self) -> dict[str, float | None]:
        """Return the mean return, its standard deviation, and how long hits take.

        steps_to_first_hit is a mean over the lifetimes that have a hit; steps_between_hits a mean, over all later
        hits, of the steps since the one before; None where there are none. The agent begins again at a random place
        after each hit: that it finds the goal sooner than at first is learning within the lifetime.
        """
        returns = self.rewards.sum(1)
        steps = [np.flatnonzero(hits) for hits in self.hits]
        first = [1 + s[0] for s in steps if len(s)]
        later = np.concatenate([np.diff(s) for s in steps])
        return {
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "share_with_a_hit": float(self.hits.any(1).mean()),
            "steps_to_first_hit": float(np.mean(first)) if first else None,
            "steps_between_hits": float(later.mean()) if len(later) else None,
        }


def _where(mask: np.ndarray, yes: np.ndarray | float, no: np.ndarray) -> np.ndarray:
    return np.where(mask.reshape(-1, *[1] * (no.ndim - 1)), yes, no).astype(no.dtype)


def _freeze_trace(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return state[0], _where(since >= LEARNED, before[1], state[1])


def _clear_trace(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return state[0], _where(hit, 0.0, state[1])


def _clear_activity(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return tuple(_where(hit, 0.0, part) if part.ndim == 2 else part for part in state)


# What is done to the state between two steps. Arguments: the state before the step and after it, whether its move hit
# the goal (B,), and steps since the first hit (B,), -1 before it.
_CHANGES: dict[str, Change] = {
    "trace_frozen": _freeze_trace,
    "trace_cleared": _clear_trace,
    "hidden_cleared": _clear_activity,
}
ABLATIONS: dict[str, str] = {
    "trace_zero": "trace kept at zero",
    "alpha_zero": "alpha at zero",
    "trace_frozen": f"trace frozen {LEARNED} steps after the first hit",
    "trace_cleared": "trace cleared at each hit",
    "hidden_cleared": "hidden state cleared at each hit",
}


def ablations_of(agent: PlasticA2C) -> list[str]:
    """Return the ablations that take something from an agent's core."""
    if isinstance(agent.policy.core, PlasticRNN):
        return list(ABLATIONS)
    return [] if isinstance(agent.policy.core, MemorylessCore) else ["hidden_cleared"]


def live(
    agent: PlasticA2C,
    env: gym.vector.VectorEnv,
    lifetimes: int,
    seed: int,
    deterministic: bool = False,
    ablation: str | None = None,
) -> Lifetimes:
    """Let an agent live, in as many mazes side by side as there are in a vector environment.

    Args:
        agent: with any core.
        env: mazes of this package, natively batched.
        lifetimes: how many.
        seed: of the first maze, the next ones are those of the others; and of the agent's choices.
        deterministic: take the likeliest action instead of a sample.
        ablation: one of ``ABLATIONS``.

    Raises:
        ValueError: the agent's core has nothing that this ablation takes, or there are no lifetimes.
    """
    if ablation is not None and ablation not in ablations_of(agent):
        known = ", ".join(ablations_of(agent)) or "none"
        raise ValueError(f"there is no ablation {ablation!r} of this agent: expected one of {known}")
    if lifetimes < 1:
        raise ValueError(f"lifetimes is {lifetimes}: expected at least 1")
    maze: Any = env.unwrapped
    steps, batch = maze.config.lifetime, env.num_envs
    change = _CHANGES.get(ablation) if ablation else None
    torch.manual_seed(seed)
    observations, _ = env.reset(seed=seed)
    rewards = np.zeros((-(-lifetimes // batch), steps, batch))
    with ablated(agent.policy, ablation) if ablation in OF_NETWORK else nullcontext():
        for own in rewards:
            state: State = tuple(s.numpy(force=True) for s in agent.policy.core.initial_state(batch))
            hit, since = np.zeros(batch, bool), np.full(batch, -1)
            starts = np.ones(batch, bool)
            for t in range(steps):
                actions, after = agent.predict(observations, state, starts, deterministic)
                assert after is not None
                observations, own[t], _, _, _ = env.step(actions)
                hit, starts = own[t] > 0, np.zeros(batch, bool)
                since = np.where(since >= 0, since + 1, np.where(hit, 0, -1))
                state = change(state, after, hit, since) if change else after
    return Lifetimes(rewards.transpose(0, 2, 1).reshape(-1, steps)[:lifetimes])

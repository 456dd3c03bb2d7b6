"""Many lifetimes side by side: their rewards, with an agent's memory and without parts of it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.agents import RecurrentAgent
from plastic_rl.checks import check_at_least
from plastic_rl.choices import ABLATIONS as OF_NETWORK
from plastic_rl.envs.protocols import Measured
from plastic_rl.modules import ablation as networks

# Steps after the first hit (a positive reward), by which its reward was observed and written into the trace.
LEARNED = 5
SHUFFLED = "modulation_shuffled"

State = Any  # a core's state, a NamedTuple of arrays
Change = Callable[[State, State, np.ndarray, np.ndarray], State]


class Lifetimes(NamedTuple):
    """Rewards of E lifetimes of T steps.

    Attributes:
        rewards: ``(E, T)``.
    """

    rewards: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """Whether each step had a positive reward, such as that of a maze's goal: ``(E, T)`` booleans."""
        return self.rewards > 0

    def summary(self, env: Measured) -> dict[str, float | None]:
        """Return the mean return, its standard deviation, and what the environment says about such lifetimes."""
        returns = self.rewards.sum(1)
        return {
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            **env.digest(self.rewards),
        }


def _where(mask: np.ndarray, yes: np.ndarray | float, no: np.ndarray) -> np.ndarray:
    """Choose between two parts of a state, for each of their B agents."""
    return np.where(mask.reshape(-1, *[1] * (no.ndim - 1)), yes, no).astype(no.dtype)


def _freeze_trace(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return state._replace(trace=_where(since >= LEARNED, before.trace, state.trace))


def _clear_trace(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return state._replace(trace=_where(hit, 0.0, state.trace))


def _clear_eligibility(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return state._replace(eligibility=_where(hit, 0.0, state.eligibility))


def _clear_activity(before: State, state: State, hit: np.ndarray, since: np.ndarray) -> State:
    return state._replace(**{name: _where(hit, 0.0, getattr(state, name)) for name in state.per_neuron})


# Changes to the state between two steps. Arguments: the state before the step and after it, whether the step was a
# hit (B,), and the steps since the first hit (B,), -1 before it.
_CHANGES: dict[str, Change] = {
    "trace_frozen": _freeze_trace,
    "trace_cleared": _clear_trace,
    "eligibility_cleared": _clear_eligibility,
    "hidden_cleared": _clear_activity,
}
ABLATIONS: dict[str, str] = {  # in words, where {hit} stands for what the environment calls a positive reward
    "trace_zero": "trace kept at zero",
    "alpha_zero": "alpha at zero",
    "modulation_zero": "modulation kept at zero",
    SHUFFLED: "modulation shuffled over time",
    "eligibility_zero": "eligibility kept at zero",
    "trace_frozen": f"trace frozen {LEARNED} steps after the first {{hit}}",
    "trace_cleared": "trace cleared at each {hit}",
    "eligibility_cleared": "eligibility cleared at each {hit}",
    "hidden_cleared": "hidden state cleared at each {hit}",
}


def ablations_of(agent: RecurrentAgent) -> list[str]:
    """Return the ablations that remove something from an agent's core."""
    policy = agent.policy
    parts = {*policy.initial_state(1)._fields} - (set() if policy.has_memory else {"hidden"})
    found = {*networks.ablations_of(policy), *(name for name in _CHANGES if name.partition("_")[0] in parts)}
    return [name for name in ABLATIONS if name in found or (name == SHUFFLED and policy.is_modulated)]


def live(
    agent: RecurrentAgent,
    env: gym.vector.VectorEnv,
    lifetimes: int,
    seed: int,
    deterministic: bool = False,
    ablation: str | None = None,
) -> Lifetimes:
    """Let an agent live through lifetimes, side by side in all environments of a vector environment.

    Args:
        agent: with any core.
        env: environments of this package, natively batched.
        lifetimes: their number.
        seed: of the agent's actions and of the first environment; the seeds of the others follow it.
        deterministic: whether to take the likeliest action instead of a sample.
        ablation: one of ``ABLATIONS``. With ``"modulation_shuffled"``, all lifetimes are first lived without ablation,
            from the same seed. Then each lifetime is lived again with the signals M(t) of its first time, in a random
            order of its steps that is drawn for each lifetime. So M has the same values, but no relation to what
            happens.

    Raises:
        ValueError: the agent's core has nothing that this ablation removes, or lifetimes is below 1.
    """
    if ablation is not None and ablation not in ablations_of(agent):
        known = ", ".join(ablations_of(agent)) or "none"
        raise ValueError(f"there is no ablation {ablation!r} of this agent: expected one of {known}")
    check_at_least("lifetimes", lifetimes, 1)
    rounds = -(-lifetimes // env.num_envs)
    signals = None
    if ablation == SHUFFLED:
        _, own = _live(agent, env, rounds, seed, deterministic)
        signals = np.random.default_rng(seed).permuted(own, axis=1)
    with networks.ablated(agent.policy, ablation) if ablation in OF_NETWORK else nullcontext():
        rewards, _ = _live(agent, env, rounds, seed, deterministic, _CHANGES.get(ablation or ""), signals)
    return Lifetimes(rewards.transpose(0, 2, 1).reshape(-1, rewards.shape[1])[:lifetimes])


def _live(
    agent: RecurrentAgent,
    env: gym.vector.VectorEnv,
    rounds: int,
    seed: int,
    deterministic: bool,
    change: Change | None = None,
    signals: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Live through some rounds of lifetimes, B side by side.

    Args:
        change: made to the state after each step.
        signals: ``(rounds, T, B)``, modulatory signals in place of those that the agent computes.

    Returns:
        Rewards and modulatory signals, ``(rounds, T, B)`` each; signals of 0 without modulation.
    """
    measured, batch, policy = env.unwrapped, env.num_envs, agent.policy
    assert isinstance(measured, Measured)
    torch.manual_seed(seed)
    observations, _ = env.reset(seed=seed)
    rewards, found = np.zeros((2, rounds, measured.lifetime, batch))
    for r, t in np.ndindex(rounds, measured.lifetime):
        if t == 0:
            state: State = policy.initial_state(batch)
            hit, since = np.zeros(batch, bool), np.full(batch, -1)
        with nullcontext() if signals is None else policy.with_modulation(signals[r, t]):
            actions, after = agent.predict(observations, state, np.full(batch, t == 0), deterministic)
            if policy.is_modulated:
                found[r, t] = policy.modulation(after)
        observations, rewards[r, t], _, _, _ = env.step(actions)
        hit = rewards[r, t] > 0
        since = np.where(since >= 0, since + 1, np.where(hit, 0, -1))
        state = change(state, after, hit, since) if change else after
    return rewards, found

"""One lifetime of an agent, step by step, with a record of what its network does."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from plastic_rl.agents import RecurrentAgent
from plastic_rl.envs.protocols import Pictured, Snapshot
from plastic_rl.viewing.mind import Mind, Scales

LONGEST_REHEARSAL = 1000  # steps


class Lifetime:
    """A lifetime; iterating over it plays it, with a stop before each action and one after the end.

    Attributes:
        frozen: whether the trace keeps its present values, so that nothing more is learned or forgotten; it can be
            changed between two steps. It has no effect on an agent without plasticity.

    Args:
        agent: the agent, which samples with PyTorch's generator.
        env: the environment; it is reset when the iteration begins.
        seed: seed of the environment.
        deterministic: whether to take the most likely action instead of sampling one.
        frozen: initial value of the attribute.
    """

    def __init__(
        self, agent: RecurrentAgent, env: gym.Env, seed: int, deterministic: bool = False, frozen: bool = False
    ) -> None:
        self.agent, self.env, self.seed, self.deterministic, self.frozen = agent, env, seed, deterministic, frozen
        self._activity: list[np.ndarray] = []
        self._values: list[float] = []
        self._strengths: list[float] = []
        self._modulation: list[float] = []
        self._hits: list[int] = []
        self._misses: list[int] = []
        self._plastic: np.ndarray | None = None
        self._eligibility: np.ndarray | None = None
        self._decided = np.zeros(0)
        self._chosen: int | None = None

    def __iter__(self) -> Iterator["Lifetime"]:
        """Play the lifetime; yield this object at each stop."""
        observation, _ = self.env.reset(seed=self.seed)
        self._state: Any = None
        start, over = np.ones(1, bool), False
        while not over:
            action, new = self.agent.predict(observation, self._state, start, self.deterministic)
            self._state = self._kept(self._state, new)
            self._look(self._state, action)
            yield self
            observation, _, terminated, truncated, _ = self.env.step(action)
            start, over = np.zeros(1, bool), bool(terminated or truncated)
            self._mark()
        self._chosen = None
        yield self

    def _kept(self, before: Any, after: Any) -> Any:
        """Return the state after a step; if the trace is frozen, with the trace of the state before the step."""
        if not self._is_frozen:
            return after
        return after._replace(trace=np.zeros_like(after.trace) if before is None else before.trace)

    @property
    def _is_frozen(self) -> bool:
        return self.frozen and self.agent.policy.is_plastic

    def _look(self, state: Any, action: Any) -> None:
        """Record what the network has just computed."""
        policy = self.agent.policy
        values, decided = policy.look(state)
        self._activity.append(state.hidden[0])
        self._values.append(float(values[0]))
        if policy.is_plastic:
            self._plastic = policy.plastic_weights(state)[0]
            self._strengths.append(float(np.abs(self._plastic).mean()))
        if policy.is_modulated:
            self._modulation.append(float(policy.modulation(state)[0]))
        if policy.is_retroactive:
            self._eligibility = policy.eligible_weights(state)[0]
        space = self.agent.action_space
        if isinstance(space, spaces.Discrete):
            self._decided, self._chosen = decided[0], int(action - space.start)
        elif isinstance(space, spaces.Box) and space.is_bounded():
            low, high = space.low.ravel(), space.high.ravel()
            self._decided = np.clip((2 * decided[0] - low - high) / (high - low), -1, 1)

    def _mark(self) -> None:
        """Record whether the next observation is the first after a hit or a miss."""
        now = self._now
        if now is not None:
            for steps, count in ((self._hits, now.hits), (self._misses, now.misses)):
                steps += [len(self._values)] * (count - len(steps))

    @property
    def _now(self) -> Snapshot | None:
        """The present moment of the environment, if it tells."""
        return self.env.unwrapped.snapshot() if isinstance(self.env.unwrapped, Pictured) else None

    @property
    def mind(self) -> Mind:
        """What the network is doing now."""
        now, policy = self._now, self.agent.policy
        return Mind(
            activity=np.array(self._activity),
            plastic=self._plastic,
            strengths=tuple(self._strengths),
            values=tuple(self._values),
            actions=self._decided,
            chosen=self._chosen,
            signed=isinstance(self.agent.action_space, spaces.Box),
            names=() if now is None else now.actions,
            counts=now is None or now.awaits_action,
            hits=tuple(self._hits),
            misses=tuple(self._misses),
            outcomes=("", "") if now is None else now.outcomes,
            eligibility=self._eligibility,
            modulation=tuple(self._modulation),
            modulation_range=policy.modulation_range if policy.is_modulated else (-1.0, 1.0),
            frozen=self._is_frozen,
        )


def rehearse(agent: RecurrentAgent, env: gym.Env, seed: int, deterministic: bool = False) -> Scales:
    """Return the scales that suit a lifetime, by playing it, or the first part of a long one, without showing it."""
    torch.manual_seed(seed)
    lifetime = Lifetime(agent, env, seed, deterministic)
    for _ in islice(lifetime, LONGEST_REHEARSAL):
        pass
    return Scales.of(lifetime.mind)

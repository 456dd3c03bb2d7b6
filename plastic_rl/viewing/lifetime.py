"""One lifetime of an agent, a step at a time, and what goes on in its network meanwhile."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from plastic_rl.agents import PlasticA2C
from plastic_rl.envs.protocols import Pictured
from plastic_rl.modules import PlasticRNN
from plastic_rl.viewing.panel import Kind, Mind, Scales

LONGEST_REHEARSAL = 1000  # steps


class Lifetime:
    """A lifetime that is lived as it is iterated over: before each action, and once more when it is over.

    Attributes:
        frozen: whether the trace is kept as it is from now on, so that nothing more is learned or forgotten. Of no
            effect without plasticity.

    Args:
        agent: acts, and samples with PyTorch's generator.
        env: is reset when the iteration begins.
        seed: of the environment's lifetime.
        deterministic: whether the likeliest action is taken instead of a sample.
        frozen: as the attribute.
    """

    def __init__(
        self, agent: PlasticA2C, env: gym.Env, seed: int, deterministic: bool = False, frozen: bool = False
    ) -> None:
        self.agent, self.env, self.seed, self.deterministic, self.frozen = agent, env, seed, deterministic, frozen
        self._activity: list[np.ndarray] = []
        self._values: list[float] = []
        self._strengths: list[float] = []
        self._hits: list[int] = []
        self._plastic: np.ndarray | None = None
        self._decided = np.zeros(0)
        self._chosen: int | None = None
        core = agent.policy.core
        self._alpha = core.alpha.detach().cpu().numpy() if isinstance(core, PlasticRNN) else None

    def __iter__(self) -> Iterator["Lifetime"]:
        """Live; yield this object itself."""
        observation, _ = self.env.reset(seed=self.seed)
        maze: Any = self.env.unwrapped
        counts_hits, hits = isinstance(maze, Pictured), 0
        state: Any = None
        start, over = np.ones(1, bool), False
        while not over:
            action, new = self.agent.predict(observation, state, start, self.deterministic)
            assert new is not None
            if self.frozen and self._alpha is not None:
                new = new._replace(trace=np.zeros_like(new.trace) if state is None else state.trace)
            state = new
            self._look(state, action)
            yield self
            observation, _, terminated, truncated, _ = self.env.step(action)
            start, over = np.zeros(1, bool), bool(terminated or truncated)
            if counts_hits and maze.maze_state().hits > hits:
                hits += 1
                self._hits.append(len(self._values))
        self._chosen = None
        yield self

    def _look(self, state: Any, action: Any) -> None:
        """Keep what the network has just computed."""
        values, decided = self.agent.policy.look(state)
        self._activity.append(state.hidden[0])
        self._values.append(float(values[0]))
        if self._alpha is not None:
            self._plastic = self._alpha * state.trace[0]
            self._strengths.append(float(np.abs(self._plastic).mean()))
        space = self.agent.action_space
        if isinstance(space, spaces.Discrete):
            self._decided, self._chosen = decided[0], int(action - space.start)
        elif isinstance(space, spaces.Box) and space.is_bounded():
            low, high = space.low.ravel(), space.high.ravel()
            self._decided = np.clip((2 * decided[0] - low - high) / (high - low), -1, 1)

    @property
    def mind(self) -> Mind:
        """What the network is doing now."""
        return Mind(
            activity=np.array(self._activity),
            plastic=self._plastic,
            strengths=tuple(self._strengths),
            values=tuple(self._values),
            actions=self._decided,
            chosen=self._chosen,
            kind=self._kind(),
            hits=tuple(self._hits),
            frozen=self.frozen and self._alpha is not None,
        )

    def _kind(self) -> Kind:
        if isinstance(self.agent.action_space, spaces.Box):
            return "continuous"
        return "moves" if isinstance(self.env.unwrapped, Pictured) else "choices"


def rehearse(agent: PlasticA2C, env: gym.Env, seed: int, deterministic: bool = False) -> Scales:
    """Return the scales that suit a lifetime, by living it (or the first part of a long one) unseen."""
    torch.manual_seed(seed)
    lifetime = Lifetime(agent, env, seed, deterministic)
    for _ in islice(lifetime, LONGEST_REHEARSAL):
        pass
    return Scales.of(lifetime.mind)

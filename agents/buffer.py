"""A rollout buffer that keeps the steps in time order."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor


class Lifetimes(NamedTuple):
    """A rollout, time-major: T steps of B environments."""

    observations: Tensor  # (T, B, *observation)
    actions: Tensor  # (T, B, *action)
    advantages: Tensor  # (T, B)
    returns: Tensor  # (T, B)
    episode_starts: Tensor  # (T, B) booleans
    lived: Tensor  # (T, B) booleans, false in a step that belongs to no episode


class LifetimeBuffer(RolloutBuffer):
    """A rollout buffer whose ``get`` yields the whole rollout once, in time order.

    Stable-Baselines3's own buffer flattens and shuffles the steps, but backpropagation through a lifetime needs their
    order.
    """

    def reset(self) -> None:
        """Forget all steps."""
        if isinstance(self.observation_space, spaces.MultiDiscrete):  # which may have any number of dimensions
            self.obs_shape = self.observation_space.shape
        super().reset()
        self.lived = np.ones((self.buffer_size, self.n_envs), dtype=np.bool_)

    def add(  # type: ignore[override]
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        episode_start: np.ndarray,
        lived: Sequence[bool] | bool = True,
    ) -> None:
        """Record one step of every environment, without values and log-probabilities.

        Values are set at the end of the rollout; log-probabilities are computed when it is replayed. ``lived`` says
        whether the step of each environment belongs to an episode.
        """
        t = self.pos
        self.observations[t] = obs.reshape(self.observations.shape[1:])
        self.actions[t] = action.reshape(self.actions.shape[1:])
        self.rewards[t], self.episode_starts[t], self.lived[t] = reward, episode_start, lived
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def get(self, batch_size: int | None = None) -> Generator[Lifetimes, None, None]:  # type: ignore[override]
        """Yield the whole rollout as one batch."""
        if batch_size not in (None, self.buffer_size * self.n_envs):
            raise ValueError(f"batch_size is {batch_size}: expected None, as a LifetimeBuffer is one batch")
        yield Lifetimes(
            self.to_torch(self.observations, copy=False),
            self.to_torch(self.actions, copy=False),
            self.to_torch(self.advantages, copy=False),
            self.to_torch(self.returns, copy=False),
            torch.as_tensor(self.episode_starts.astype(np.bool_), device=self.device),
            torch.as_tensor(self.lived, device=self.device),
        )

"""Environments that the tests of several algorithms learn."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces


class Target(gym.Env):
    """A hidden number: the reward is minus the action's distance to it, and the last reward is observed."""

    observation_space = spaces.Box(-4, 4, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.target, self.t = 0.7, 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        reward = -abs(float(action[0]) - self.target)
        return np.array([reward, self.t / 10], np.float32), reward, False, self.t == 10, {}


@pytest.fixture
def target_env():
    """Return the class of an environment with a continuous action."""
    return Target

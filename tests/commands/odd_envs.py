"""Environments that register themselves as users' do: ``--env odd_envs:Odd/Dict-v0``."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

FLAT = spaces.Box(-1.0, 1.0, (3,), np.float32)


class Odd(gym.Env):
    """Ends after ten steps; rewards nothing, or what is not a number."""

    def __init__(self, observation_space=FLAT, action_space=None, reward=0.0, render_mode=None):
        self.observation_space = observation_space
        self.action_space = action_space or spaces.Discrete(2)
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), self.reward, False, self.steps == 10, {}


class Blind(Odd):
    """Can draw, but on no machine."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as in Gymnasium

    def render(self):
        raise RuntimeError("OpenGL cannot be initialized")


gym.register("Odd/Plain-v0", Odd)
gym.register("Odd/Blind-v0", Blind)
gym.register("MyPlasticRL/Plain-v0", Odd)
gym.register("Odd/Dict-v0", Odd, kwargs={"observation_space": spaces.Dict(a=FLAT, b=FLAT)})
gym.register("Odd/Many-v0", Odd, kwargs={"action_space": spaces.MultiDiscrete([2, 3])})
gym.register(
    "Odd/Switches-v0",
    Odd,
    kwargs={"observation_space": spaces.MultiDiscrete([[2], [3]]), "action_space": spaces.MultiBinary(2)},
)
gym.register("Odd/Text-v0", Odd, kwargs={"action_space": spaces.Text(3)})
gym.register("Odd/Image-v0", Odd, kwargs={"observation_space": spaces.Box(0, 255, (36, 36, 3), np.uint8)})
gym.register("Odd/Nan-v0", Odd, kwargs={"reward": float("nan")})

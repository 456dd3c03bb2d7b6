"""The cue tasks themselves: many lifetimes stepped at once with numpy, without a Python loop over environments.

The single and the vector environments both run this code, the single ones with a batch of 1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from plastic_rl.envs.base import Bools, Floats, Ints, Observations
from plastic_rl.envs.cues.config import AnyCueConfig, CueRewardConfig
from plastic_rl.envs.cues.trials import draw_lifetimes
from plastic_rl.envs.streams import Keys, draw

# The attributes that a lifetime changes; what it shows follows from its key.
_STATE = (
    "steps", "hits", "answers", "returns", "lifetimes", "given", "_key", "_last_action", "_last_reward", "_stream",
)  # fmt: skip


class CueDynamics:
    """A batch of cue tasks with the same settings, each at any step of its lifetime.

    Args:
        config: the settings.
        num_envs: number of environments.

    Attributes:
        lives: the running lifetimes.
        steps: steps taken in the running lifetime, shape (num_envs,).
        answers: actions that counted in it, shape (num_envs,).
        hits: right ones among them, shape (num_envs,).
        given: the actions that counted, by trial, -1 where there is none yet, shape (num_envs, trials).
        returns: sum of its rewards, shape (num_envs,).
        lifetimes: lifetimes begun since the stream was seeded, shape (num_envs,).
    """

    def __init__(self, config: AnyCueConfig, num_envs: int) -> None:
        self.config = config
        self.num_envs = num_envs
        self._everyone = np.arange(num_envs)
        self._row = self._everyone * (config.lifetime + 1)  # where each one's steps begin in a flat table of steps
        # The last row stands for "no action yet".
        self._one_hot = np.eye(config.actions + 1, config.actions, dtype=np.float32)
        self._key: Keys = np.zeros(num_envs, dtype=np.uint64)
        self.lives = draw_lifetimes(config, self._key)

        self.steps = np.zeros(num_envs, dtype=np.int64)
        self.hits = np.zeros(num_envs, dtype=np.int64)
        self.answers = np.zeros(num_envs, dtype=np.int64)
        self.given = np.full((num_envs, config.most_trials), -1, dtype=np.int32)
        self.returns = np.zeros(num_envs)
        self.lifetimes = np.zeros(num_envs, dtype=np.int64)
        self._last_action = np.full(num_envs, config.actions)
        self._last_reward = np.zeros(num_envs)
        self._stream: Keys = np.zeros(num_envs, dtype=np.uint64)

    def seed(self, keys: Keys, where: Bools) -> None:
        """Give the environments ``where`` new random streams; both arguments have shape (num_envs,)."""
        self._stream[where] = keys[where]
        self.lifetimes[where] = 0

    def begin(self, which: Ints) -> None:
        """Begin the next lifetime of the environments with the indices ``which``, shape (k,)."""
        self._key[which] = draw(self._stream[which], self.lifetimes[which])
        self.lifetimes[which] += 1
        for name, drawn in draw_lifetimes(self.config, self._key[which])._asdict().items():
            getattr(self.lives, name)[which] = drawn
        self.steps[which] = 0
        self.hits[which] = 0
        self.answers[which] = 0
        self.given[which] = -1
        self.returns[which] = 0.0
        self._last_action[which] = self.config.actions
        self._last_reward[which] = 0.0

    def step(self, actions: Ints) -> tuple[Floats, Bools]:
        """Act once everywhere.

        Args:
            actions: shape (num_envs,); they count where the go signal was observed.

        Returns:
            The rewards, and whether each lifetime has now ended, both of shape (num_envs,). The arrays are new and
            belong to the caller.
        """
        now = self._row + self.steps
        counted = self.lives.go.take(now)
        right = counted & (actions == self.lives.right.take(now))
        rewards = 2.0 * right - counted
        asked = counted.nonzero()[0]
        self.given[asked, self.answers[asked]] = actions[asked]
        self.answers += counted
        self.hits += right
        self.returns += rewards
        self.steps += 1
        self._last_action = actions.copy()
        self._last_reward = rewards.copy()
        return rewards, self.steps >= self.config.lifetime

    def observe(self) -> Observations:
        """Return fresh observations, shape (num_envs, config.observation_size)."""
        bits, now = self.config.bits, self._row + self.steps
        observations = np.empty((self.num_envs, self.config.observation_size), dtype=np.float32)
        observations[:, :bits] = self.lives.codes[self._everyone, self.lives.cue.take(now)]  # -1 is the blank one
        observations[:, bits] = self.lives.go.take(now)
        observations[:, bits + 1] = 1.0
        observations[:, bits + 2] = self.steps / self.config.lifetime
        observations[:, bits + 3] = self._last_reward
        observations[:, bits + 4 :] = self._one_hot.take(self._last_action, axis=0)
        return observations

    def info(self) -> dict[str, Ints]:
        """Return fresh arrays, shape (num_envs,) each; see the environments."""
        now = self._row + self.steps
        info = {
            "trial": self.lives.trial.take(now) + 1,
            "answers": self.answers.copy(),
            "hits": self.hits.copy(),
            "cue": self.lives.cue.take(now),
            "right_action": self.lives.right.take(now),
        }
        if isinstance(self.config, CueRewardConfig):
            info["target"] = self.lives.hidden[:, 0].copy()
        return info

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of everything that changes, for ``set_state``."""
        kind = np.frombuffer(str(self.config).encode(), dtype=np.uint8)
        return {"kind": kind.copy(), **{name: getattr(self, name).copy() for name in _STATE}}

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state of the same number of environments with the same settings.

        Raises:
            ValueError: the state belongs to environments of another kind or number.
        """
        current = self.get_state()
        kind = bytes(np.asarray(state.get("kind", ()), dtype=np.uint8)).decode(errors="replace")
        if kind != str(self.config):
            raise ValueError(f"state is of {kind or 'something else'}: expected {self.config}")
        shapes = {name: array.shape for name, array in current.items()}
        given = {name: np.shape(array) for name, array in state.items()}
        if shapes != given:
            raise ValueError(f"state has arrays of shapes {given}: expected {shapes}, of {self.num_envs} environments")
        for name in _STATE:
            setattr(self, name, np.array(state[name], dtype=current[name].dtype))
        self.lives = draw_lifetimes(self.config, self._key)

"""Wrappers that make any task a lifetime for an agent that learns within it.

Such an agent must know its last action and the result. These wrappers add to each observation the previous
action, the previous reward and a flag that is 1 in the first observation of an episode.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

__all__ = ["PreviousActionReward", "PreviousActionRewardVector"]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class PreviousActionReward(gym.Wrapper[Floats, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Adds the previous action, the previous reward and an episode-start flag to the observation.

    The new observation is one flat float32 `Box`:

    | part | length |
    | --- | --- |
    | the observation, flattened; numbers of a `Discrete` or `MultiDiscrete` one-hot | its size, or the sum of all n |
    | the previous action, in the same way; zeros at first | its size, or the sum of all n |
    | the previous reward; 0 at first | 1 |
    | 1 in the first observation of an episode, otherwise 0 | 1 |

    Args:
        env: an environment with `Box`, `Discrete`, `MultiDiscrete` or `MultiBinary` observations and actions.

    Raises:
        TypeError: ``env`` has another kind of space.

    Example:
        >>> env = PreviousActionReward(gym.make("CartPole-v1"))
        >>> env.observation_space.shape  # 4 observed, 2 actions, reward, start flag
        (8,)
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._memory = _Memory(env.observation_space, env.action_space, 1, "gymnasium.wrappers")
        self.observation_space = self._memory.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Reset the environment; action and reward before the first observation are zeros."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._memory.clear(np.ones(1, dtype=np.bool_))
        return self._memory.extend([observation])[0], info

    def step(self, action: Any) -> tuple[Floats, Any, bool, bool, dict[str, Any]]:
        """Step the environment and add ``action`` and the reward to the observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._memory.record([action], [reward])
        return self._memory.extend([observation])[0], reward, terminated, truncated, info


class PreviousActionRewardVector(VectorWrapper):
    """:class:`PreviousActionReward` for vector environments, in every autoreset mode.

    The first observation of an episode has zeros for the previous action and reward, and a start flag of 1; this
    also holds after an autoreset. In the mode "SameStep" the observations in `info["final_obs"]` are extended too.

    Args:
        env: a vector environment with `Box` or `Discrete` observations and actions, and Gymnasium's
            `metadata["autoreset_mode"]`.

    Raises:
        TypeError: ``env`` has another kind of space.
        ValueError: the metadata of ``env`` has no valid autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        try:
            self._mode = AutoresetMode(env.metadata.get("autoreset_mode"))
        except ValueError as error:
            raise ValueError(
                f"metadata['autoreset_mode'] of {env} is {env.metadata.get('autoreset_mode')!r}: expected a "
                "gymnasium.vector.AutoresetMode; set it to the mode that the environment follows"
            ) from error
        self._memory = _Memory(
            env.single_observation_space, env.single_action_space, env.num_envs, "gymnasium.wrappers.vector"
        )
        self.single_observation_space = self._memory.space
        self.observation_space = batch_space(self._memory.space, env.num_envs)
        self._restarting = np.zeros(env.num_envs, dtype=np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Reset the environments, or those in ``options["reset_mask"]``."""
        # Read before the call: Gymnasium's vector environments remove the mask from the options.
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, dtype=np.bool_)))
        observations, infos = self.env.reset(seed=seed, options=options)
        self._memory.clear(mask)
        self._restarting = self._restarting & ~mask
        return self._memory.extend(observations), infos

    def step(self, actions: Any) -> tuple[Floats, Any, Any, Any, dict[str, Any]]:
        """Step the environments and add ``actions`` and the rewards to the observations."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        self._memory.record(actions, rewards)
        ended = np.asarray(terminations) | np.asarray(truncations)
        if self._mode is AutoresetMode.NEXT_STEP:
            # The environments that ended one step ago were reset and ignored these actions.
            self._memory.clear(self._restarting)
            self._restarting = ended
        elif self._mode is AutoresetMode.SAME_STEP and ended.any():
            if "final_obs" in infos:
                infos = {**infos, "final_obs": self._extended_final(infos["final_obs"], ended)}
            self._memory.clear(ended)
        return self._memory.extend(observations), rewards, terminations, truncations, infos

    def _extended_final(self, final_obs: Any, ended: Bools) -> npt.NDArray[np.object_]:
        which = ended.nonzero()[0]
        last = np.stack([np.asarray(final_obs[index]) for index in which])
        extended = np.full(self.num_envs, None, dtype=object)
        extended[which] = np.fromiter(self._memory.extend(last, which), dtype=object, count=len(which))
        return extended


class _Memory:
    """The previous actions, rewards and start flags of a batch, and the observations extended by them.

    Args:
        observation_space: observation space of one environment.
        action_space: action space of one environment.
        num_envs: number of environments.
        helpers: module whose wrappers turn other spaces into supported ones, for error messages.
    """

    def __init__(
        self, observation_space: gym.Space[Any], action_space: gym.Space[Any], num_envs: int, helpers: str
    ) -> None:
        self._observation = _Encoder(observation_space, "observation", f"{helpers}.FlattenObservation")
        self._action = _Encoder(action_space, "action", f"{helpers}.TransformAction")
        # Columns: action, reward, start flag.
        self._tail = np.zeros((num_envs, self._action.size + 2), dtype=np.float32)
        # The zeros that mean "no action yet" must lie within the bounds.
        low = (self._observation.low, np.minimum(self._action.low, 0.0), [-np.inf, 0.0])
        high = (self._observation.high, np.maximum(self._action.high, 0.0), [np.inf, 1.0])
        # Bounds beyond float32 become infinite.
        with np.errstate(over="ignore"):
            lowest, highest = (np.concatenate(bound).astype(np.float32) for bound in (low, high))
        self.space = spaces.Box(lowest, highest, dtype=np.float32)

    def clear(self, which: Bools) -> None:
        """Clear the memory of the environments ``which``, whose episodes begin."""
        self._tail[which] = 0.0
        self._tail[which, -1] = 1.0

    def record(self, actions: Any, rewards: Any) -> None:
        """Remember a step."""
        self._tail[:, :-2] = self._action.encode(actions)
        self._tail[:, -2] = rewards
        self._tail[:, -1] = 0.0

    def extend(self, observations: Any, which: npt.NDArray[np.intp] | None = None) -> Floats:
        """Return the observations of the environments ``which``, each followed by its memory."""
        tail = self._tail if which is None else self._tail[which]
        return np.concatenate([self._observation.encode(observations), tail], axis=1)


class _Encoder:
    """Turns batches of a `Box`, `Discrete`, `MultiDiscrete` or `MultiBinary` space into rows of float32.

    Attributes:
        size: length of a row.
        low: lower bounds of a row.
        high: upper bounds of a row.
    """

    def __init__(self, space: gym.Space[Any], kind: str, helper: str) -> None:
        self._start: Any = None  # of the numbers that become one-hot, if there are any
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
            counts = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec)
            self._start, self.size = np.ravel(space.start), int(counts.sum())
            self._first = counts.cumsum() - counts  # column of the first value of each number
        elif isinstance(space, (spaces.Box, spaces.MultiBinary)):
            self.size = int(np.prod(space.shape))
        else:
            raise TypeError(
                f"the {kind} space is {space}: expected a Box, Discrete, MultiDiscrete or MultiBinary space; "
                f"turn it into one first, for example with {helper}"
            )
        self.low, self.high = np.zeros(self.size), np.ones(self.size)
        if isinstance(space, spaces.Box):
            self.low, self.high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)

    def encode(self, batch: Sequence[Any] | npt.NDArray[Any]) -> Floats:
        """Return rows for a batch of elements of the space, shape (len(batch), size)."""
        elements = np.asarray(batch)
        if self._start is None:
            return elements.reshape(len(elements), self.size).astype(np.float32, copy=False)
        columns = self._first + elements.reshape(len(elements), -1) - self._start
        rows = np.zeros((len(elements), self.size), dtype=np.float32)
        np.put_along_axis(rows, columns, 1.0, axis=1)
        return rows

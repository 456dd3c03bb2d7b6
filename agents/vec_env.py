"""Gives Stable-Baselines3 a Gymnasium ``VectorEnv`` as it is: one call a step, no loop over environments."""

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import VecEnv


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium ``VectorEnv``, seen as a Stable-Baselines3 ``VecEnv``.

    Stable-Baselines3 expects the first observation of a new episode in the step that ended the old one, whose last
    observation goes into ``infos[i]["terminal_observation"]``. Environments that restart in the same step do so by
    themselves; those that do not restart, and those of Gymnasium's ``SyncVectorEnv`` and ``AsyncVectorEnv`` that would
    restart later, are reset by their mask. What the environment says of itself in its info is given at the end of an
    episode, ``is_success`` for example; in between infos are empty.

    Args:
        env: a vector environment; ``AutoresetMode.SAME_STEP`` or ``DISABLED``, or Gymnasium's sync or async one in
            any mode.

    Raises:
        ValueError: if the environment restarts in a later step and cannot be reset one by one.
    """

    def __init__(self, env: VectorEnv) -> None:
        self.env = env
        mode = env.metadata.get("autoreset_mode")
        self._same_step = mode is AutoresetMode.SAME_STEP
        by_mask = mode is AutoresetMode.DISABLED or isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv))
        if not (self._same_step or by_mask):
            raise ValueError(
                f"{env} restarts episodes in mode {mode}, but Stable-Baselines3 needs the first observation of a new "
                "episode in the same step: make it with autoreset_mode=AutoresetMode.SAME_STEP, or with "
                'gym.make_vec(..., vectorization_mode="sync")'
            )
        # Whether it writes all observations into the same arrays (copy=False); they are kept here beyond a step.
        self._reused = not getattr(env.unwrapped, "copy", True)
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Reset every environment, with what was given to ``seed()`` and ``set_options()``, if anything was.

        Raises:
            ValueError: options were given that are not alike for all: a vector environment takes them together.
        """
        seeds: Any = None if all(s is None for s in self._seeds) else list(self._seeds)
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError(f"the options of a vector environment's reset are common to all, and not {self._options}")
        observations, infos = self.env.reset(seed=seeds, options=options or None)
        self.reset_infos = [_of_one(infos, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return self._to_keep(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step every environment; return observations, rewards, dones and infos."""
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            said = info
            if self._same_step:  # info is of the new episodes, but for what Gymnasium's wrappers tell of the old ones
                said = {name: info[name] for name in ("episode", "_episode") if name in info}
                said |= info.get("final_info", {})
            for i in map(int, np.flatnonzero(dones)):
                infos[i] = _of_one(said, i) | {
                    "terminal_observation": info["final_obs"][i] if self._same_step else _row(observations, i),
                    "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                }
            if not self._same_step:
                observations, _ = self.env.reset(options={"reset_mask": dones})
        return self._to_keep(observations), rewards, dones, infos

    def _to_keep(self, observations: Any) -> Any:
        return copy.deepcopy(observations) if self._reused else observations

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the vector environment, once for each index: they share it."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, for all."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise NotImplementedError("a vector environment's attributes are common to all: leave out the indices")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector environment once; the result is given for each index."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Whether a wrapper of this class is around the vector environment."""
        env, found = self.env, False
        while isinstance(env, gym.vector.VectorWrapper):
            found = found or isinstance(env, wrapper_class)
            env = env.env
        return [found for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every environment."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)


def _row(observations: Any, index: int) -> Any:
    """A copy of one environment's observation."""
    if isinstance(observations, dict):
        return {name: _row(part, index) for name, part in observations.items()}
    return observations[index].copy()


def _of_one(infos: dict[str, Any], index: int, whole: bool = False) -> dict[str, Any]:
    """What a vector environment's infos say of one of its environments; of a ``whole`` dict nothing need be masked."""
    own: dict[str, Any] = {}
    for name, values in infos.items():
        said = infos.get(f"_{name}")
        if (whole and not name.startswith("_")) if said is None else said[index]:
            own[name] = _of_one(values, index, True) if isinstance(values, dict) else values[index]
    return own

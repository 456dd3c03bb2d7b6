"""An adapter from Gymnasium's ``VectorEnv`` to Stable-Baselines3: one call per step, no loop over environments."""

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import VecEnv


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium ``VectorEnv`` with the interface of a Stable-Baselines3 ``VecEnv``.

    When an episode ends, Stable-Baselines3 expects the first observation of the next episode in the same step, and the
    last observation of the old one in ``infos[i]["terminal_observation"]``. Environments with
    ``AutoresetMode.SAME_STEP`` do so by themselves. Environments with ``AutoresetMode.DISABLED``, and Gymnasium's
    ``SyncVectorEnv`` and ``AsyncVectorEnv`` in any other mode, are reset here with a ``reset_mask``.

    The environment's own infos, ``is_success`` for example, are passed on at the end of an episode; all other infos
    are empty.

    Args:
        env: a vector environment with ``AutoresetMode.SAME_STEP`` or ``DISABLED``, or Gymnasium's sync or async one in
            any mode.

    Raises:
        ValueError: the environment restarts episodes in a later step and cannot be reset with a mask.
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
        # Whether the environment writes all observations into the same arrays (copy=False): agents keep them longer.
        self._reused = not getattr(env.unwrapped, "copy", True)
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Reset every environment, with the seeds and options given to ``seed()`` and ``set_options()``, if any.

        Raises:
            ValueError: the options differ between environments; a vector environment takes one set for all.
        """
        seeds: Any = None if all(s is None for s in self._seeds) else list(self._seeds)
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError(f"the options are {self._options}: expected the same for all environments")
        observations, infos = self.env.reset(seed=seeds, options=options or None)
        self.reset_infos = [_info_of(infos, i) for i in range(self.num_envs)]
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
            ended = info  # the infos of the episodes that ended
            if self._same_step:  # info belongs to the new episodes, except for what Gymnasium's wrappers record
                ended = {name: info[name] for name in ("episode", "_episode") if name in info}
                ended |= info.get("final_info", {})
            for i in map(int, np.flatnonzero(dones)):
                infos[i] = _info_of(ended, i) | {
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
        """Return an attribute of the vector environment, once per index, as all environments share it."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, for all environments."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise NotImplementedError("all environments share this attribute: leave out the indices")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector environment once; return its result once per index."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Return whether a wrapper of this class is around the vector environment, once per index."""
        env, found = self.env, False
        while isinstance(env, gym.vector.VectorWrapper):
            found = found or isinstance(env, wrapper_class)
            env = env.env
        return [found for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every environment, or None where there is none."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)


def _row(observations: Any, index: int) -> Any:
    """Return a copy of one environment's observation."""
    if isinstance(observations, dict):
        return {name: _row(part, index) for name, part in observations.items()}
    return observations[index].copy()


def _info_of(infos: dict[str, Any], index: int, unmasked: bool = False) -> dict[str, Any]:
    """Return the info of one environment from a vector environment's infos.

    Each entry of ``infos`` has a mask, named like it with an underscore before, that is true where an environment gave
    the entry. ``unmasked``: entries without a mask count as given by all; it is so within a dict that has a mask.
    """
    info: dict[str, Any] = {}
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        given = (unmasked and not name.startswith("_")) if mask is None else mask[index]
        if given:
            info[name] = _info_of(values, index, True) if isinstance(values, dict) else values[index]
    return info

"""An adapter from Gymnasium's ``VectorEnv`` to Stable-Baselines3: one call per step, no loop over environments."""

import copy
import time
from collections import UserList
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import NormalizeReward
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

EMPTY = "plastic_rl.empty"  # in the info of an episode of one step that is no episode; see GymnasiumVecEnv


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium ``VectorEnv`` with the interface of a Stable-Baselines3 ``VecEnv``.

    When an episode ends, Stable-Baselines3 expects the first observation of the next episode in the same step, and the
    last observation of the old one in ``infos[i]["terminal_observation"]``. Environments with
    ``AutoresetMode.SAME_STEP`` do so by themselves. Environments with ``AutoresetMode.DISABLED``, and Gymnasium's
    ``SyncVectorEnv`` and ``AsyncVectorEnv`` in any other mode and without wrappers, are reset here with a
    ``reset_mask``.

    All others restart an episode in the step after its end, which takes no account of the action. That step is an
    episode of its own here, without reward, marked in its info by the key ``EMPTY``. The agents of this package do not
    learn from it, and :class:`EpisodeMonitor` does not count it.

    Args:
        env: a vector environment with any ``AutoresetMode``.

    Raises:
        ValueError: a wrapper around the environment cannot restart single episodes in its mode.
    """

    def __init__(self, env: VectorEnv) -> None:
        self.env = env
        mode = env.metadata.get("autoreset_mode")
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._by_mask = mode is AutoresetMode.DISABLED or (
            not self._same_step and isinstance(env, (SyncVectorEnv, AsyncVectorEnv))
        )
        if mode is AutoresetMode.DISABLED and any(isinstance(layer, NormalizeReward) for layer in _layers(env)):
            raise ValueError(
                f"{env} with AutoresetMode.DISABLED: NormalizeReward would forget the returns of all episodes when one "
                "restarts; make the environment with AutoresetMode.SAME_STEP"
            )
        # Whether the environment writes all observations into the same arrays (copy=False): agents keep them longer.
        self._reused = not getattr(env.unwrapped, "copy", True)
        self._actions: np.ndarray | None = None
        self._ended = np.zeros(env.num_envs, dtype=np.bool_)  # whose episodes restart in the next step
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Reset every environment, with the seeds and options given to ``seed()`` and ``set_options()``, if any.

        Raises:
            ValueError: the options differ between environments; a vector environment takes one set for all.
        """
        seeds: Any = list(self._seeds)
        first = seeds[0]
        if seeds == [None if first is None else first + i for i in range(self.num_envs)]:
            seeds = first  # means the same, and some environments take nothing else
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError(f"the options are {self._options}: expected the same for all environments")
        observations, infos = self.env.reset(seed=seeds, options=options or None)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)  # a new array: the old one may be a caller's
        self.reset_infos = _by_environment(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return self._to_keep(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
        """Step every environment; return observations, rewards, dones and infos."""
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        infos = _Infos(info, self.num_envs)
        dones = terminated | truncated
        empty = self._ended.nonzero()[0]
        for i in dones.nonzero()[0].tolist():
            ended = infos[i]
            if self._same_step:  # it is of the new episode, except for what Gymnasium's wrappers record
                last = ended["final_obs"]
                ended = {name: ended[name] for name in ("episode",) if name in ended} | ended.get("final_info", {})
            else:
                last = _row(observations, i)
            cut = bool(truncated[i] and not terminated[i])
            infos[i] = ended | {"terminal_observation": last, "TimeLimit.truncated": cut}
        if self._by_mask and dones.any():
            observations, _ = self.env.reset(options={"reset_mask": dones})
        elif not self._same_step:
            self._ended = dones
        if empty.size:
            dones, rewards = dones.copy(), rewards.copy()
            dones[empty], rewards[empty] = True, 0.0
            for i in empty.tolist():
                infos[i][EMPTY] = True
        return self._to_keep(observations), rewards, dones, infos

    def _to_keep(self, observations: Any) -> Any:
        return copy.deepcopy(observations) if self._reused else observations

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of each environment; of the vector environment, if it does not hold single ones."""
        base, which = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(base, (SyncVectorEnv, AsyncVectorEnv)):
            values = base.get_attr(attr_name)
            return [values[i] for i in which]
        return [getattr(self.env, attr_name) for _ in which]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of each environment; of the vector environment, if it does not hold single ones."""
        base, which = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(base, (SyncVectorEnv, AsyncVectorEnv)):
            others = [] if len(which) == self.num_envs else list(base.get_attr(attr_name))
            values = others or [value] * self.num_envs
            for i in which:
                values[i] = value
            base.set_attr(attr_name, values)
            return
        if len(which) != self.num_envs:
            raise NotImplementedError("all environments share this attribute: leave out the indices")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of each environment; of the vector environment once, if it does not hold single ones."""
        base, which = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(base, SyncVectorEnv):
            return [base.envs[i].get_wrapper_attr(method_name)(*method_args, **method_kwargs) for i in which]
        if isinstance(base, AsyncVectorEnv):
            if len(which) != self.num_envs:
                raise NotImplementedError("an AsyncVectorEnv calls a method of all its environments: leave out indices")
            return list(base.call(method_name, *method_args, **method_kwargs))
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result for _ in which]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Return whether a wrapper of this class is around the vector environment, once per index."""
        found = any(isinstance(layer, wrapper_class) for layer in _layers(self.env))
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


def _layers(env: VectorEnv) -> Iterator[VectorEnv]:
    """Yield a vector environment's wrappers, the outermost first, and the environment itself."""
    while isinstance(env, VectorWrapper):
        yield env
        env = env.env
    yield env


def _by_environment(infos: Any, count: int) -> list[dict[str, Any]]:
    """Return the info of each environment from a vector environment's infos.

    An entry of ``infos`` holds a value for each environment. It may have a mask, named like it with an underscore
    before, that is true where an environment gave the entry. Gymnasium's ``DictInfoToList`` has made a list of it.
    """
    if isinstance(infos, list):
        return [dict(info) for info in infos]
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in infos.items():
        if name.startswith("_") and name[1:] in infos:
            continue
        parts: Any = _by_environment(values, count) if isinstance(values, dict) else values
        if np.shape(parts)[:1] != (count,):
            continue  # it is not of single environments
        mask = infos.get(f"_{name}")
        if mask is None or mask.all():
            for row, part in zip(rows, parts, strict=True):
                row[name] = part
        else:
            for i in mask.nonzero()[0].tolist():
                rows[i][name] = parts[i]
    return rows


class _Infos(UserList[dict[str, Any]]):
    """The info of each environment, made when it is first looked at: at most steps, nobody does."""

    def __init__(self, given: Any = (), count: int | None = None) -> None:
        if count is None:  # it is a copy, or a part
            super().__init__(given)
        else:
            self._given, self._count = given, count

    @cached_property
    def data(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return _by_environment(self._given, self._count)


class EpisodeMonitor(VecMonitor):
    """A ``VecMonitor`` that does not count the empty episodes of :class:`GymnasiumVecEnv`.

    Args:
        venv: the environment.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, Any]:
        """Step every environment; return observations, rewards, dones and infos."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self.episode_returns += rewards
        self.episode_lengths += 1
        for i in dones.nonzero()[0].tolist():
            if EMPTY not in infos[i]:
                seconds = round(time.time() - self.t_start, 6)
                infos[i]["episode"] = {"r": self.episode_returns[i], "l": self.episode_lengths[i], "t": seconds}
                self.episode_count += 1
            self.episode_returns[i] = self.episode_lengths[i] = 0
        return observations, rewards, dones, infos

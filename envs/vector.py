"""Many environments side by side, as a Gymnasium ``VectorEnv``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from plastic_rl.checks import check_choice, whole_number
from plastic_rl.envs.base import Bools, Family, Floats, Ints, Observations
from plastic_rl.envs.protocols import Snapshot
from plastic_rl.envs.streams import Keys, keys_from_range, keys_from_seeds

__all__ = ["BatchEnv"]


class BatchEnv(Family, VectorEnv[Observations, Ints, npt.NDArray[Any]]):
    """What the vector environments share.

    Args:
        num_envs: number of environments.
        render_mode: "rgb_array", "ansi" or None.
        autoreset_mode: what happens when a lifetime ends.
        settings: fields of ``settings_type``.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it as an instance attribute
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 12,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        **settings: Any,
    ) -> None:
        if not isinstance(autoreset_mode, AutoresetMode):
            check_choice("autoreset_mode", autoreset_mode, [mode.value for mode in AutoresetMode])
            autoreset_mode = AutoresetMode(autoreset_mode)
        self.num_envs = whole_number("num_envs", num_envs, 1)
        self._set_up(settings, self.num_envs, render_mode)
        self.autoreset_mode = autoreset_mode
        self.metadata = {**self.metadata, "autoreset_mode": autoreset_mode}
        self.single_observation_space, self.single_action_space = self._spaces()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._action_count = int(self.single_action_space.n)
        self._everywhere = np.ones(self.num_envs, dtype=np.bool_)
        self._seeded = np.zeros(self.num_envs, dtype=np.bool_)
        # Environments in which no lifetime runs, and whether there are any (None before the first reset).
        self._ended = self._everywhere.copy()
        self._any_ended: bool | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin a lifetime in every environment: the first one of its stream if it is seeded now, or the next one.

        Args:
            seed: environment i takes the stream of ``seed + i``, or of ``seed[i]`` unless that is None. One that was
                never seeded takes its stream from ``np_random``.
            options: ``reset_mask``, booleans of shape (num_envs,): only these environments are reset.

        Returns:
            The observations, and the infos with a mask of those that were reset.
        """
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        self.dynamics.begin(mask.nonzero()[0])
        self._ended = self._ended & ~mask
        self._any_ended = bool(self._ended.any())
        return self.dynamics.observe(), self._infos(mask)

    def step(self, actions: Ints) -> tuple[Observations, Floats, Bools, Bools, dict[str, Any]]:
        """Act once in every environment.

        Args:
            actions: one for each environment, shape (num_envs,).

        Returns:
            Observations, rewards, terminations, truncations (all False) and infos. What they hold at the end
            of a lifetime depends on ``autoreset_mode``.

        Raises:
            gymnasium.error.InvalidAction: the actions have another shape or kind, or there are no such ones.
            gymnasium.error.ResetNeeded: no lifetime has begun, or one has ended while autoreset is disabled.
        """
        checked = self._checked(actions)
        restart = self._ended if self._any_ended else None
        if restart is not None and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise ResetNeeded(
                f"No lifetime is running in environments {restart.nonzero()[0].tolist()}: reset them before step(), "
                'with options={"reset_mask": ...} for these alone.'
            )
        if self._any_ended is None:
            raise ResetNeeded("No lifetime has begun. Call reset() before step().")
        rewards, ended = self.dynamics.step(checked)
        if restart is not None:
            # Their action led past the end of the lifetime; the new lifetime replaces it.
            self.dynamics.begin(restart.nonzero()[0])
            rewards[restart] = 0.0
            ended[restart] = False
        infos: dict[str, Any] = {}
        self._ended = ended
        self._any_ended = bool(np.count_nonzero(ended))
        if self._any_ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._final(ended)
            self.dynamics.begin(ended.nonzero()[0])
            self._ended = np.zeros_like(ended)
            self._any_ended = False
        infos |= self._infos(self._everywhere)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self.dynamics.observe(), rewards, ended.copy(), truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture of every environment: uint8 arrays ("rgb_array") or texts ("ansi")."""
        if self.render_mode is None:
            self._warn_no_render_mode()
            return None
        moments = (self.snapshot(index) for index in range(self.num_envs))
        return tuple(now.text() if self.render_mode == "ansi" else now.picture() for now in moments)

    def snapshot(self, index: int = 0) -> Snapshot:
        """Return what a picture of environment ``index`` shows; see ``SingleEnv.snapshot``.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        if self._any_ended is None:
            raise ResetNeeded("There is nothing to show before the first reset().")
        return self._snapshot(index)

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state of every environment, random streams included, as arrays by name."""
        return {"seeded": self._seeded.copy(), "ended": self._ended.copy(), **self.dynamics.get_state()}

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``get_state`` returned for the same number of environments with the same settings.

        Raises:
            ValueError: the state belongs to environments of another kind or number.
        """
        self.dynamics.set_state({name: array for name, array in state.items() if name not in ("seeded", "ended")})
        self._seeded = np.array(state["seeded"], dtype=np.bool_)
        self._ended = np.array(state["ended"], dtype=np.bool_)
        self._any_ended = bool(self._ended.any())

    def _checked(self, actions: Any) -> Ints:
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise InvalidAction(
                f"actions are {given.dtype} of shape {given.shape}: expected whole numbers of shape ({self.num_envs},)"
            )
        given = given.astype(np.int64, copy=False)
        # As unsigned numbers, negative ones are the largest.
        wrong = given.view(np.uint64) >= self._action_count
        if np.count_nonzero(wrong):
            most = self._action_count - 1
            raise InvalidAction(f"an action is {given[wrong][0]}: expected a whole number from 0 to {most}")
        return given

    def _reset_mask(self, options: dict[str, Any] | None) -> Bools:
        if options is None or "reset_mask" not in options:
            return self._everywhere.copy()
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(
                f"options['reset_mask'] is {mask.dtype} of shape {mask.shape}: "
                f"expected booleans of shape ({self.num_envs},)"
            )
        if not mask.any():
            raise ValueError("options['reset_mask'] is False everywhere: expected at least one environment to reset")
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, mask: Bools) -> None:
        if seed is None or isinstance(seed, (int, np.integer)):
            super().reset(seed=None if seed is None else int(seed))
            if seed is not None:
                self.dynamics.seed(keys_from_range(int(seed), self.num_envs), mask)
                self._seeded |= mask
        else:
            if len(seed) != self.num_envs:
                raise ValueError(
                    f"seed has {len(seed)} seeds: expected one for each of the {self.num_envs} environments"
                )
            given = np.array([one is not None for one in seed]) & mask
            numbers = [one for one in seed if one is not None]
            if any(isinstance(one, bool) or int(one) != one or one < 0 for one in numbers):
                raise ValueError(f"seed is {list(seed)}: expected whole numbers of at least 0, or None")
            if numbers:
                super().reset(seed=int(numbers[0]))
            self.dynamics.seed(keys_from_seeds([0 if one is None else int(one) for one in seed]), given)
            self._seeded |= given
        unseeded = ~self._seeded  # also outside the mask: these may begin by themselves, in the next step
        if unseeded.any():
            keys: Keys = self.np_random.integers(2**64, size=self.num_envs, dtype=np.uint64)
            self.dynamics.seed(keys, unseeded)
            self._seeded[:] = True

    def _infos(self, mask: Bools) -> dict[str, Any]:
        infos: dict[str, Any] = self.dynamics.info()
        for name in tuple(infos):
            infos[f"_{name}"] = mask.copy()
        return infos

    def _final(self, ended: Bools) -> dict[str, Any]:
        """Return what Gymnasium keeps of lifetimes that end in a step and are followed by a new one at once."""
        last = self.dynamics.observe()[ended]
        final_obs = np.full(self.num_envs, None, dtype=object)
        # fromiter makes an array of arrays; if a list were assigned, numpy would spread its numbers.
        final_obs[ended] = np.fromiter(last, dtype=object, count=len(last))
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": self._infos(ended),
            "_final_info": ended.copy(),
        }

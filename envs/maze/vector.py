"""Many mazes side by side, as a Gymnasium ``VectorEnv``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from plastic_rl.checks import check_choice, whole_number
from plastic_rl.envs.maze.base import Maze, action_space, observation_space
from plastic_rl.envs.maze.dynamics import Bools, Floats, Ints, Observations
from plastic_rl.envs.maze.pictures import MazeState, draw_maze, maze_text
from plastic_rl.envs.streams import Keys, keys_from_range, keys_from_seeds

__all__ = ["MazeVectorEnv"]


class MazeVectorEnv(Maze, VectorEnv[Observations, Ints, npt.NDArray[Any]]):
    """What the vector mazes share.

    Args:
        num_envs: number of mazes.
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
        self.single_observation_space = observation_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = action_space()
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._everywhere = np.ones(self.num_envs, dtype=np.bool_)
        self._seeded = np.zeros(self.num_envs, dtype=np.bool_)
        # Mazes in which no lifetime runs, and whether there are any (None before the first reset).
        self._ended = self._everywhere.copy()
        self._any_ended: bool | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin a lifetime in every maze: the first one of its stream if it is seeded now, or the next one.

        Args:
            seed: maze i takes the stream of ``seed + i``, or of ``seed[i]`` unless that is None. A maze that
                was never seeded takes its stream from ``np_random``.
            options: ``reset_mask``, booleans of shape (num_envs,): only these mazes are reset.

        Returns:
            The observations, and the infos with a mask of the mazes that were reset.
        """
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        self.dynamics.begin(mask.nonzero()[0])
        self._ended = self._ended & ~mask
        self._any_ended = bool(self._ended.any())
        return self.dynamics.observe(), self._infos(mask)

    def step(self, actions: Ints) -> tuple[Observations, Floats, Bools, Bools, dict[str, Any]]:
        """Move every agent.

        Args:
            actions: values of :class:`Action`, shape (num_envs,).

        Returns:
            Observations, rewards, terminations, truncations (all False) and infos. What they hold at the end
            of a lifetime depends on ``autoreset_mode``.

        Raises:
            gymnasium.error.InvalidAction: the actions have another shape or kind, or lie outside 0 to 3.
            gymnasium.error.ResetNeeded: no lifetime has begun, or one has ended while autoreset is disabled.
        """
        moves = self._moves(actions)
        restart = self._ended if self._any_ended else None
        if restart is not None and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise ResetNeeded(
                f"No lifetime is running in mazes {restart.nonzero()[0].tolist()}: reset them before step(), "
                'with options={"reset_mask": ...} for these alone.'
            )
        if self._any_ended is None:
            raise ResetNeeded("No lifetime has begun. Call reset() before step().")
        rewards, ended = self.dynamics.step(moves)
        if restart is not None:
            # Their move led past the end of the lifetime; the new lifetime replaces it.
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
        """Return a picture of every maze: uint8 arrays ("rgb_array") or texts ("ansi")."""
        if self.render_mode is None:
            self._warn_no_render_mode()
            return None
        draw = maze_text if self.render_mode == "ansi" else draw_maze
        return tuple(draw(self.maze_state(index)) for index in range(self.num_envs))

    def maze_state(self, index: int = 0) -> MazeState:
        """Return what a picture of maze ``index`` shows; it has a trail if there is a render mode.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        if self._any_ended is None:
            raise ResetNeeded("There is no maze to show before the first reset().")
        return self._state_of(index)

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state of every maze, random streams included, as arrays by name."""
        return {"seeded": self._seeded.copy(), "ended": self._ended.copy(), **self.dynamics.get_state()}

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``get_state`` returned for the same number of mazes of the same kind.

        Raises:
            ValueError: the state belongs to mazes of another kind or number, or with other lifetimes.
        """
        self.dynamics.set_state({name: array for name, array in state.items() if name not in ("seeded", "ended")})
        self._seeded = np.array(state["seeded"], dtype=np.bool_)
        self._ended = np.array(state["ended"], dtype=np.bool_)
        self._any_ended = bool(self._ended.any())

    def _moves(self, actions: Any) -> Ints:
        moves = np.asarray(actions)
        if moves.shape != (self.num_envs,) or moves.dtype.kind not in "iu":
            raise InvalidAction(
                f"actions are {moves.dtype} of shape {moves.shape}: expected whole numbers of shape ({self.num_envs},)"
            )
        moves = moves.astype(np.int64, copy=False)
        # Any bit above the lowest two is set in negative numbers and in numbers from 4 on.
        if np.count_nonzero(moves & ~3):
            wrong = moves[(moves & ~3) != 0][0]
            raise InvalidAction(f"an action is {wrong}: expected a whole number from 0 to 3 (see Action)")
        return moves

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
            raise ValueError("options['reset_mask'] is False everywhere: expected at least one maze to reset")
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, mask: Bools) -> None:
        if seed is None or isinstance(seed, (int, np.integer)):
            super().reset(seed=None if seed is None else int(seed))
            if seed is not None:
                self.dynamics.seed(keys_from_range(int(seed), self.num_envs), mask)
                self._seeded |= mask
        else:
            if len(seed) != self.num_envs:
                raise ValueError(f"seed has {len(seed)} seeds: expected one for each of the {self.num_envs} mazes")
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
        infos["_goal"], infos["_position"], infos["_hits"] = mask.copy(), mask.copy(), mask.copy()
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

"""What the maze environments have in common: the Gymnasium interface, single and vector."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from plastic_rl.envs.maze import oracle
from plastic_rl.envs.maze.config import MazeConfig, require_choice, require_int
from plastic_rl.envs.maze.dynamics import Action, Bools, Floats, Ints, MazeDynamics, Observations
from plastic_rl.envs.maze.pictures import Frame, MazeState, MazeWindow, draw_maze, maze_text
from plastic_rl.envs.maze.walls import Layout
from plastic_rl.envs.streams import Keys, keys_from_range, keys_from_seeds

__all__ = ["MazeEnv", "MazeVectorEnv"]

# How many past cells a picture shows.
_TRAIL = 40
_FIRST = np.zeros(1, dtype=np.int64)


def _observation_space(config: MazeConfig) -> gym.Space[Any]:
    low = np.zeros(config.observation_size, dtype=np.float32)
    high = np.ones(config.observation_size, dtype=np.float32)
    low[-2], high[-2] = 0.0 - config.wall_penalty, config.reward
    return gym.spaces.Box(low, high, dtype=np.float32)


class _Yardsticks:
    """What play is measured against; shared by the single and the vector environments."""

    config: MazeConfig
    dynamics: MazeDynamics

    def oracle_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of an agent that knows the walls and the goal and plays its best.

        Found by breadth-first search from the goal and dynamic programming over the remaining steps.
        GridMaze: exact, over all goals; the arguments do not matter. RandomMaze: exact for each of
        ``lifetimes`` sampled mazes and goals, then averaged, so the mean carries their sampling error
        (about 1 % at 1000).

        Args:
            lifetimes: how many mazes to sample.
            seed: which mazes to sample.
        """
        return oracle.oracle_return(self.config, self.dynamics.layout, require_int("lifetimes", lifetimes, 1), seed)

    def random_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of uniformly random actions, measured over ``lifetimes`` lifetimes.

        Args:
            lifetimes: how many lifetimes to play.
            seed: which mazes and which actions to play.
        """
        return oracle.random_return(self.config, self.dynamics.layout, require_int("lifetimes", lifetimes, 1), seed)


def _state(dynamics: MazeDynamics, index: int) -> MazeState:
    agent, goal = (tuple(map(int, cells[index])) for cells in (dynamics.positions(), dynamics.goals()))
    return MazeState(
        walls=dynamics.walls()[index],
        agent=(agent[0], agent[1]),
        goal=(goal[0], goal[1]),
        view=dynamics.config.view,
        trail=dynamics.trail(index),
        step=int(dynamics.steps[index]),
        lifetime=dynamics.config.lifetime,
        total_reward=float(dynamics.returns[index]),
        hits=int(dynamics.hits[index]),
    )


def _warn_no_render_mode(env: str, modes: list[str]) -> None:
    gym.logger.warn(
        f"render() of {env} shows nothing, since no render_mode was chosen: pass one of {modes} when making it."
    )


class MazeEnv(_Yardsticks, gym.Env[Observations, Any]):
    """What the single mazes share; the subclasses choose the layout."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it as an instance attribute
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": 12,
    }

    def __init__(self, config: MazeConfig, layout: Layout, render_mode: str | None) -> None:
        if render_mode is not None:
            require_choice("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        self.config = config
        self.render_mode = render_mode
        self.observation_space = _observation_space(config)
        self.action_space = gym.spaces.Discrete(len(Action))
        self.dynamics = MazeDynamics(config, layout, 1, trail=_TRAIL if render_mode else 0)
        self._seeded = False
        self._running = False
        self._window: MazeWindow | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin a lifetime: the first one of the stream that ``seed`` names, or else the next one.

        Args:
            seed: names the stream of lifetimes. Without one, an environment that was never seeded takes
                its stream from ``np_random``.
            options: not used.

        Returns:
            The observation and the info.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.dynamics.seed(keys_from_range(seed, 1), np.ones(1, dtype=np.bool_))
        elif not self._seeded:
            keys = self.np_random.integers(2**64, size=1, dtype=np.uint64)
            self.dynamics.seed(keys, np.ones(1, dtype=np.bool_))
        self._seeded = True
        self.dynamics.begin(_FIRST)
        self._running = True
        if self.render_mode == "human":
            self.render()
        return self.dynamics.observe()[0], self._info()

    def step(self, action: int) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Move the agent.

        Args:
            action: a value of :class:`Action`.

        Returns:
            Observation, reward, terminated, truncated (always False) and info.

        Raises:
            gymnasium.error.InvalidAction: there is no such action.
            gymnasium.error.ResetNeeded: the lifetime has ended, or none has begun.
        """
        if not self.action_space.contains(action):
            raise InvalidAction(f"The action must be a whole number from 0 to 3 (see Action), but is {action!r}.")
        if not self._running:
            raise ResetNeeded("No lifetime is running: it has ended or was never begun. Call reset() before step().")
        rewards, ended = self.dynamics.step(np.array([action], dtype=np.int64))
        terminated = bool(ended[0])
        self._running = not terminated
        if self.render_mode == "human":
            self.render()
        return self.dynamics.observe()[0], float(rewards[0]), terminated, False, self._info()

    def render(self) -> Frame | str | None:
        """Show the maze as ``render_mode`` says.

        Returns:
            "rgb_array": uint8 of shape (height, width, 3); "ansi": text; "human": None, the picture goes
            to a window (reset() and step() show it unasked). Once the user has closed the window, it stays
            closed and the lifetime goes on.
        """
        if self.render_mode is None:
            _warn_no_render_mode(type(self).__name__, self.metadata["render_modes"])
            return None
        state = self.maze_state()
        if self.render_mode == "ansi":
            return maze_text(state)
        if self.render_mode == "rgb_array":
            return draw_maze(state)
        if self._window is None:
            self._window = MazeWindow(type(self).__name__, self.metadata["render_fps"])
        if not self._window.closed_by_user:
            self._window.show(draw_maze(state))
        return None

    def maze_state(self) -> MazeState:
        """Return what a picture of the maze shows; with a trail if the environment has a render mode.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        if not self._seeded:
            raise ResetNeeded("There is no maze to show before the first reset().")
        return _state(self.dynamics, 0)

    @property
    def window_closed(self) -> bool:
        """Whether the user has closed the window of render mode "human"."""
        return self._window is not None and self._window.closed_by_user

    def close(self) -> None:
        """Close the window, if there is one. The environment can be used on, and shows a new window then."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        # A window belongs to its process; a copy opens its own when it renders.
        return {**self.__dict__, "_window": None}

    def _info(self) -> dict[str, Any]:
        info = self.dynamics.info()
        return {"goal": info["goal"][0], "position": info["position"][0], "hits": int(info["hits"][0])}


class MazeVectorEnv(_Yardsticks, VectorEnv[Observations, Ints, npt.NDArray[Any]]):
    """What the vector mazes share; the subclasses choose the layout."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it as an instance attribute
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 12,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        config: MazeConfig,
        layout: Layout,
        num_envs: int,
        render_mode: str | None,
        autoreset_mode: str | AutoresetMode,
    ) -> None:
        if render_mode is not None:
            require_choice("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        if not isinstance(autoreset_mode, AutoresetMode):
            modes = tuple(mode.value for mode in AutoresetMode)
            autoreset_mode = AutoresetMode(require_choice("autoreset_mode", autoreset_mode, modes))
        self.config = config
        self.num_envs = require_int("num_envs", num_envs, 1)
        self.render_mode = render_mode
        self.autoreset_mode = autoreset_mode
        self.metadata = {**self.metadata, "autoreset_mode": autoreset_mode}
        self.single_observation_space = _observation_space(config)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = gym.spaces.Discrete(len(Action))
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.dynamics = MazeDynamics(config, layout, self.num_envs, trail=_TRAIL if render_mode else 0)
        self._everywhere = np.ones(self.num_envs, dtype=np.bool_)
        self._seeded = np.zeros(self.num_envs, dtype=np.bool_)
        # Mazes in which no lifetime runs, and whether there are any (None before the first reset).
        self._ended = self._everywhere.copy()
        self._any_ended: bool | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin a lifetime in every maze: the first one of a newly seeded stream, or else the next one.

        Args:
            seed: maze i takes the stream of ``seed + i``, or of ``seed[i]`` unless that is None. A maze
                never seeded takes its stream from ``np_random``.
            options: ``reset_mask``, booleans of shape (num_envs,), resets those mazes only.

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
            Observations, rewards, terminations, truncations (all False) and infos, where a lifetime's end
            is treated as ``autoreset_mode`` says.

        Raises:
            gymnasium.error.InvalidAction: actions of another shape or kind, or beyond 0 to 3.
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
            # Their move led past the lifetime's end; beginning anew wipes it out.
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
            _warn_no_render_mode(type(self).__name__, self.metadata["render_modes"])
            return None
        draw = maze_text if self.render_mode == "ansi" else draw_maze
        return tuple(draw(self.maze_state(index)) for index in range(self.num_envs))

    def maze_state(self, index: int = 0) -> MazeState:
        """Return what a picture of maze ``index`` shows; with a trail if there is a render mode.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        if self._any_ended is None:
            raise ResetNeeded("There is no maze to show before the first reset().")
        return _state(self.dynamics, index)

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return where every maze stands, random streams included, as arrays by name."""
        return {"seeded": self._seeded.copy(), "ended": self._ended.copy(), **self.dynamics.get_state()}

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Go on from what ``get_state`` of as many mazes of the same kind returned.

        Raises:
            ValueError: the state is of another kind or number of mazes, or of other lifetimes.
        """
        self.dynamics.set_state({name: array for name, array in state.items() if name not in ("seeded", "ended")})
        self._seeded = np.array(state["seeded"], dtype=np.bool_)
        self._ended = np.array(state["ended"], dtype=np.bool_)
        self._any_ended = bool(self._ended.any())

    def _moves(self, actions: Any) -> Ints:
        moves = np.asarray(actions)
        if moves.shape != (self.num_envs,) or moves.dtype.kind not in "iu":
            raise InvalidAction(
                f"The actions must be whole numbers of shape ({self.num_envs},), "
                f"but are {moves.dtype} of shape {moves.shape}."
            )
        moves = moves.astype(np.int64, copy=False)
        # Any bit above the lowest two is set in negative numbers and in numbers from 4 on.
        if np.count_nonzero(moves & ~3):
            wrong = moves[(moves & ~3) != 0][0]
            raise InvalidAction(f"Each action must be a whole number from 0 to 3 (see Action), but one is {wrong}.")
        return moves

    def _reset_mask(self, options: dict[str, Any] | None) -> Bools:
        if options is None or "reset_mask" not in options:
            return self._everywhere.copy()
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(
                f"options['reset_mask'] must be booleans of shape ({self.num_envs},), "
                f"but is {mask.dtype} of shape {mask.shape}."
            )
        if not mask.any():
            raise ValueError("options['reset_mask'] must name at least one maze to reset, but is False everywhere.")
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
                    f"A list of seeds must have one seed for each of the {self.num_envs} mazes, but has {len(seed)}."
                )
            given = np.array([one is not None for one in seed]) & mask
            numbers = [one for one in seed if one is not None]
            if any(isinstance(one, bool) or int(one) != one or one < 0 for one in numbers):
                raise ValueError(f"Seeds must be whole numbers, at least 0, or None, but are {list(seed)}.")
            if numbers:
                super().reset(seed=int(numbers[0]))
            self.dynamics.seed(keys_from_seeds([0 if one is None else int(one) for one in seed]), given)
            self._seeded |= given
        unseeded = ~self._seeded  # also beyond the mask: these may begin by themselves, in the next step
        if unseeded.any():
            keys: Keys = self.np_random.integers(2**64, size=self.num_envs, dtype=np.uint64)
            self.dynamics.seed(keys, unseeded)
            self._seeded[:] = True

    def _infos(self, mask: Bools) -> dict[str, Any]:
        infos: dict[str, Any] = self.dynamics.info()
        infos["_goal"], infos["_position"], infos["_hits"] = mask.copy(), mask.copy(), mask.copy()
        return infos

    def _final(self, ended: Bools) -> dict[str, Any]:
        """Return what Gymnasium keeps of lifetimes that end and begin anew in one step."""
        last = self.dynamics.observe()[ended]
        final_obs = np.full(self.num_envs, None, dtype=object)
        # fromiter makes an array of arrays; assigning the list would make numpy spread its numbers.
        final_obs[ended] = np.fromiter(last, dtype=object, count=len(last))
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": self._infos(ended),
            "_final_info": ended.copy(),
        }

"""What single and vector mazes share: their settings, what play is measured against, and their state for pictures."""

from dataclasses import fields
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from plastic_rl.checks import check_choice, check_names, whole_number
from plastic_rl.envs.maze import oracle
from plastic_rl.envs.maze.config import MazeConfig
from plastic_rl.envs.maze.dynamics import Action, MazeDynamics
from plastic_rl.envs.maze.pictures import MazeState
from plastic_rl.envs.maze.walls import make_layout

__all__ = ["Maze"]

_TRAIL = 40  # past cells that a picture shows


class Maze:
    """A batch of mazes of one kind, with its settings checked; the base of the single and the vector environment.

    Attributes:
        settings_type: dataclass of the settings, which are the keyword arguments of the environment.
        config: the settings.
        dynamics: the mazes themselves.
    """

    settings_type: ClassVar[type[MazeConfig]] = MazeConfig
    metadata: dict[str, Any]

    def _set_up(self, settings: dict[str, Any], num_envs: int, render_mode: str | None) -> None:
        """Check the arguments and make the mazes.

        Raises:
            TypeError: there is no such setting.
            ValueError: a setting or the render mode is out of its range.
        """
        own = [field.name for field in fields(self.settings_type)]
        check_names(type(self).__name__, settings, [*own, "render_mode"])
        if render_mode is not None:
            check_choice("render_mode", render_mode, self.metadata["render_modes"])
        self.config = self.settings_type(**settings)
        self.render_mode = render_mode
        trail = _TRAIL if render_mode else 0
        self.dynamics = MazeDynamics(self.config, make_layout(self.config), num_envs, trail)

    @property
    def lifetime(self) -> int:
        """Steps in a lifetime."""
        return self.config.lifetime

    def oracle_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of an agent that knows the walls and the goal and plays its best.

        It is computed by breadth-first search from the goal and dynamic programming over the remaining steps.
        GridMaze: exact, over all goals; the arguments do not matter. RandomMaze: exact for each of
        ``lifetimes`` sampled mazes and goals, then averaged, so the mean carries their sampling error
        (about 1 % at 1000).

        Args:
            lifetimes: number of mazes to sample.
            seed: seed of the sampled mazes.
        """
        return oracle.oracle_return(self.config, self.dynamics.layout, whole_number("lifetimes", lifetimes, 1), seed)

    def random_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of uniformly random actions, measured over ``lifetimes`` lifetimes.

        Args:
            lifetimes: number of lifetimes to play.
            seed: seed of the mazes and of the actions.
        """
        return oracle.random_return(self.config, self.dynamics.layout, whole_number("lifetimes", lifetimes, 1), seed)

    def _state_of(self, index: int) -> MazeState:
        dynamics = self.dynamics
        agent, goal = (tuple(map(int, cells[index])) for cells in (dynamics.positions(), dynamics.goals()))
        return MazeState(
            walls=dynamics.walls()[index],
            agent=(agent[0], agent[1]),
            goal=(goal[0], goal[1]),
            view=self.config.view,
            trail=dynamics.trail(index),
            step=int(dynamics.steps[index]),
            lifetime=self.config.lifetime,
            total_reward=float(dynamics.returns[index]),
            hits=int(dynamics.hits[index]),
        )

    def _warn_no_render_mode(self) -> None:
        modes = self.metadata["render_modes"]
        gym.logger.warn(
            f"render() of {type(self).__name__} shows nothing, since no render_mode was chosen: "
            f"pass one of {modes} when making it."
        )


def action_space() -> gym.spaces.Discrete:
    """Return the actions of one agent, see :class:`Action`."""
    return gym.spaces.Discrete(len(Action))


def observation_space(config: MazeConfig) -> gym.Space[Any]:
    """Return the observations of one agent."""
    low = np.zeros(config.observation_size, dtype=np.float32)
    high = np.ones(config.observation_size, dtype=np.float32)
    low[-2], high[-2] = 0.0 - config.wall_penalty, config.reward
    return gym.spaces.Box(low, high, dtype=np.float32)

"""What the mazes share: their dynamics, what play is measured against, their pictures, and their keys for a person."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from plastic_rl.checks import whole_number
from plastic_rl.envs.base import Family, Floats
from plastic_rl.envs.maze import oracle
from plastic_rl.envs.maze.config import MazeConfig
from plastic_rl.envs.maze.dynamics import Action, MazeDynamics
from plastic_rl.envs.maze.pictures import MazeState
from plastic_rl.envs.maze.walls import make_layout
from plastic_rl.envs.protocols import Measure, Words
from plastic_rl.envs.single import SingleEnv
from plastic_rl.envs.vector import BatchEnv

__all__ = ["MazeEnv", "MazeVectorEnv"]

_TRAIL = 40  # past cells that a picture shows
_KEYS = {
    "up": Action.UP, "right": Action.RIGHT, "down": Action.DOWN, "left": Action.LEFT,
    "w": Action.UP, "d": Action.RIGHT, "s": Action.DOWN, "a": Action.LEFT,
}  # fmt: skip


_WORDS = Words(
    oracle="oracle",
    oracle_in_full="all-knowing oracle",
    hit="hit",
    measures={
        "share_with_a_hit": Measure("with a hit", "{:.0%}"),
        "steps_to_first_hit": Measure("first hit", "{:.1f} steps"),
        "steps_between_hits": Measure("next hits", "{:.1f} steps"),
    },
    milestones=(60, 150),  # final returns of the plain and the plastic networks of Miconi et al. 2018 (fig. 6)
)


class Maze(Family):
    """A batch of mazes of one kind; the base of the single and the vector mazes."""

    settings_type: ClassVar[type[MazeConfig]] = MazeConfig
    config: MazeConfig
    dynamics: MazeDynamics

    def _make_dynamics(self, num_envs: int) -> MazeDynamics:
        trail = _TRAIL if self.render_mode else 0
        return MazeDynamics(self.config, make_layout(self.config), num_envs, trail)

    def _spaces(self) -> tuple[gym.Space[Any], gym.spaces.Discrete]:
        low = np.zeros(self.config.observation_size, dtype=np.float32)
        high = np.ones(self.config.observation_size, dtype=np.float32)
        low[-2], high[-2] = 0.0 - self.config.wall_penalty, self.config.reward
        return gym.spaces.Box(low, high, dtype=np.float32), gym.spaces.Discrete(len(Action))

    def keys(self) -> dict[str, int]:
        """Return the actions by the names of their keys."""
        return {key: int(action) for key, action in _KEYS.items()}

    def keys_help(self) -> str:
        """Return in words what the keys do."""
        return "arrows or WASD move"

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

    def digest(self, rewards: Floats) -> dict[str, float | None]:
        """Return how many lifetimes reached the goal, and how many steps that took.

        steps_to_first_hit is the mean over lifetimes with a hit. steps_between_hits is the mean over all later hits
        of the steps since the hit before. Each is None where there are no such hits. After each hit the agent starts
        again at a random place. If it then needs fewer steps than to the first hit, it has learned within its lifetime.

        Args:
            rewards: of E whole lifetimes of T steps, ``(E, T)``; no reward is positive but that of the goal.
        """
        hits = rewards > 0
        steps = [np.flatnonzero(lifetime) for lifetime in hits]
        first = [1 + s[0] for s in steps if len(s)]
        later = np.concatenate([np.diff(s) for s in steps])
        return {
            "share_with_a_hit": float(hits.any(1).mean()),
            "steps_to_first_hit": float(np.mean(first)) if first else None,
            "steps_between_hits": float(later.mean()) if len(later) else None,
        }

    def words(self) -> Words:
        """Return what the results are called."""
        return _WORDS

    def _snapshot(self, index: int) -> MazeState:
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


class MazeEnv(Maze, SingleEnv):
    """What the single mazes share."""

    def maze_state(self) -> MazeState:
        """Return what a picture of the maze shows; it has a trail if the environment has a render mode.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        state = self.snapshot()
        assert isinstance(state, MazeState)
        return state


class MazeVectorEnv(Maze, BatchEnv):
    """What the vector mazes share."""

    def maze_state(self, index: int = 0) -> MazeState:
        """Return what a picture of maze ``index`` shows; it has a trail if there is a render mode.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        state = self.snapshot(index)
        assert isinstance(state, MazeState)
        return state

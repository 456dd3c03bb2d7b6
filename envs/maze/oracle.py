"""The return of an agent that knows the whole maze, by breadth-first search and dynamic programming."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from plastic_rl.envs.maze.config import MazeConfig
from plastic_rl.envs.maze.dynamics import MOVES, Floats, Ints, MazeDynamics
from plastic_rl.envs.maze.walls import Layout, Walls
from plastic_rl.envs.streams import keys_from_range

__all__ = ["OracleAgent", "distances", "expected_returns", "oracle_return", "random_return"]


def distances(walls: Walls, goals: Ints) -> Ints:
    """Return the steps from every cell to the goal, by breadth-first search in all mazes at once.

    Args:
        walls: True for a wall, shape (mazes, size, size); the outermost cells must be walls.
        goals: row and column of each goal, shape (mazes, 2).

    Returns:
        Steps, shape (mazes, size, size); ``size ** 2`` for walls and for cells without a path to the goal.
    """
    mazes, size, _ = walls.shape
    steps = np.full(walls.shape, size * size, dtype=np.int64)
    wave = np.zeros_like(walls)
    wave[np.arange(mazes), goals[:, 0], goals[:, 1]] = True
    unseen = ~walls
    for step in range(size * size):
        wave &= unseen
        if not wave.any():
            break
        steps[wave] = step
        unseen &= ~wave
        spread = np.zeros_like(walls)
        spread[:, 1:] |= wave[:, :-1]
        spread[:, :-1] |= wave[:, 1:]
        spread[:, :, 1:] |= wave[:, :, :-1]
        spread[:, :, :-1] |= wave[:, :, 1:]
        wave = spread
    return steps


def expected_returns(config: MazeConfig, walls: Walls, goals: Ints, start: tuple[int, int]) -> Floats:
    """Return the expected return of the best play that knows the maze and the goal.

    The shortest path to the goal is best, since an earlier hit never leaves fewer steps for the next one. With
    F(n) the expected number of hits in the n steps after a teleport, and P(d) the probability of landing d
    steps from the goal,

        F(n) = sum over d from 1 to n of P(d) * (1 + F(n - d)).

    Args:
        config: settings of the maze; lifetime, reward and teleport are used.
        walls: shape (mazes, size, size).
        goals: row and column of each goal, shape (mazes, 2).
        start: row and column of the first cell.

    Returns:
        Expected sum of a lifetime's rewards in each maze, shape (mazes,).
    """
    mazes = len(walls)
    steps = distances(walls, goals)
    from_start = steps[:, start[0], start[1]]
    landing = from_start[:, None] if config.teleport == "center" else steps.reshape(mazes, -1)
    # No agent lands on a wall or on the goal itself (distance 0).
    rows, places = np.nonzero((landing > 0) & (landing < config.size**2))
    reached = landing[rows, places]
    longest = int(reached.max(initial=1))
    chance = np.zeros((longest, mazes))
    np.add.at(chance, (reached - 1, rows), 1.0)
    chance /= chance.sum(axis=0)

    hits = np.zeros((config.lifetime + 1, mazes))
    for n in range(1, config.lifetime + 1):
        reach = min(n, longest)
        before = hits[n - reach : n][::-1]
        hits[n] = (chance[:reach] * (1.0 + before)).sum(axis=0)
    left = config.lifetime - from_start
    return config.reward * np.where(left >= 0, 1.0 + hits[np.maximum(left, 0), np.arange(mazes)], 0.0)


def oracle_return(config: MazeConfig, layout: Layout, lifetimes: int, seed: int) -> float:
    """Return the mean over lifetimes of :func:`expected_returns`.

    It is exact for a fixed layout, where it runs over every goal. For random layouts it is the mean over the
    mazes and goals of ``lifetimes`` sampled lifetimes.
    """
    if layout.fixed:
        goals = MazeDynamics(config, layout, 1).possible_goals()
        walls = np.repeat(layout.draw(np.zeros(1, dtype=np.uint64)), len(goals), axis=0)
    else:
        dynamics = _begun(config, layout, lifetimes, seed)
        walls, goals = dynamics.walls(), dynamics.goals()
    return float(expected_returns(config, walls, goals, layout.start).mean())


def random_return(config: MazeConfig, layout: Layout, lifetimes: int, seed: int) -> float:
    """Return the mean return of uniformly random actions, played over ``lifetimes`` lifetimes."""
    dynamics = _begun(config, layout, lifetimes, seed)
    rng = np.random.default_rng(seed)
    for _ in range(config.lifetime):
        dynamics.step(rng.integers(len(MOVES), size=lifetimes))
    return float(dynamics.returns.mean())


class OracleAgent:
    """Takes the shortest path to the goal, which it reads from the environment.

    Args:
        env: a maze of this package, single or vector, wrapped or not.

    Raises:
        TypeError: ``env`` is not a maze of this package.
    """

    def __init__(self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> None:
        dynamics = getattr(env.unwrapped, "dynamics", None)
        if not isinstance(dynamics, MazeDynamics):
            raise TypeError(f"env is {env}: OracleAgent plays GridMaze and RandomMaze environments only")
        self._dynamics = dynamics
        size = dynamics.config.size
        self._distances = np.zeros((dynamics.num_envs, size, size), dtype=np.int64)
        self._known = np.full(dynamics.num_envs, -1, dtype=np.int64)

    def act(self) -> Ints:
        """Return the best action in each maze, shape (num_envs,); (1,) for a single environment."""
        dynamics = self._dynamics
        new = (self._known != dynamics.begun).nonzero()[0]
        if new.size:
            self._distances[new] = distances(dynamics.walls()[new], dynamics.goals()[new])
            self._known = dynamics.begun.copy()
        around = dynamics.positions()[:, None] + MOVES
        mazes = np.arange(dynamics.num_envs)[:, None]
        return self._distances[mazes, around[..., 0], around[..., 1]].argmin(axis=1)


def _begun(config: MazeConfig, layout: Layout, lifetimes: int, seed: int) -> MazeDynamics:
    """Return mazes at the beginning of a lifetime."""
    dynamics = MazeDynamics(config, layout, lifetimes)
    dynamics.seed(keys_from_range(seed, lifetimes), np.ones(lifetimes, dtype=np.bool_))
    dynamics.begin(np.arange(lifetimes))
    return dynamics

"""What the oracle is said to collect, against exhaustive search and against the oracle's own play."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from plastic_rl.envs import (
    GridMaze,
    GridMazeVector,
    OracleAgent,
    PreviousActionRewardVector,
    RandomMaze,
    RandomMazeVector,
)
from plastic_rl.envs.maze.config import MazeConfig
from plastic_rl.envs.maze.oracle import distances, expected_returns


def value_of_the_best_play(config, walls, goal, start):
    """Return the value of the first state, by backward induction over every state and action."""
    cells = [tuple(cell) for cell in np.argwhere(~walls).tolist()]
    landing = [start] if config.teleport == "center" else [cell for cell in cells if cell != goal]
    value = dict.fromkeys(cells, 0.0)
    for _ in range(config.lifetime):
        after_hit = config.reward + np.mean([value[cell] for cell in landing])
        new = {}
        for row, column in cells:
            options = []
            for target in ((row - 1, column), (row, column + 1), (row + 1, column), (row, column - 1)):
                if target == goal:
                    options.append(after_hit)
                elif walls[target]:
                    options.append(value[(row, column)] - config.wall_penalty)
                else:
                    options.append(value[target])
            new[(row, column)] = max(options)
        value = new
    return value[start]


@pytest.mark.parametrize("maze", [GridMaze, RandomMaze])
@pytest.mark.parametrize("teleport", ["random", "center"])
@pytest.mark.parametrize(("size", "lifetime"), [(5, 1), (5, 10), (7, 15), (9, 30)])
def test_expected_returns_are_those_of_the_best_play(maze, teleport, size, lifetime):
    config = MazeConfig(size=size, lifetime=lifetime, teleport=teleport)
    env = maze(size=size, lifetime=lifetime, teleport=teleport)
    for seed in range(4):
        _, info = env.reset(seed=seed)
        walls, goal, start = env.maze_state().walls, tuple(info["goal"]), tuple(info["position"])
        expected = value_of_the_best_play(config, walls, goal, start)
        returned = expected_returns(config, walls[None], np.array([goal]), start)
        assert returned == pytest.approx([expected])


@pytest.mark.parametrize(
    ("vector", "kwargs"),
    [
        (GridMazeVector, {}),
        (GridMazeVector, {"size": 13, "lifetime": 200, "wall_penalty": 0.0}),
        (GridMazeVector, {"goal": "periphery", "lifetime": 100}),
        (GridMazeVector, {"teleport": "center", "size": 7, "lifetime": 60}),
        (RandomMazeVector, {"lifetime": 100}),
        (RandomMazeVector, {"openness": 0.0, "size": 9, "lifetime": 100}),
    ],
)
def test_the_oracle_plays_to_its_figure(vector, kwargs):
    lifetimes = 2000
    envs = vector(lifetimes, **kwargs)
    envs.reset(seed=77)
    oracle = OracleAgent(envs)
    returns = np.zeros(lifetimes)
    for _ in range(envs.config.lifetime):
        _, rewards, terminated, _, _ = envs.step(oracle.act())
        returns += rewards
    assert terminated.all()
    assert rewards.min() >= 0.0
    error = returns.std() / np.sqrt(lifetimes)
    if vector is RandomMazeVector:
        # The figure is itself a mean over 1000 sampled mazes.
        error *= np.sqrt(1 + lifetimes / 1000)
    assert abs(returns.mean() - envs.oracle_return()) < 3.5 * error


def test_the_figure_of_the_paper_s_maze():
    assert GridMaze().oracle_return() == pytest.approx(405.35, abs=0.01)
    assert GridMaze().oracle_return() == GridMazeVector(3).oracle_return(lifetimes=1, seed=5)


def test_random_play_is_measured_as_it_is_played():
    envs = GridMazeVector(1500, size=7, lifetime=50)
    envs.reset(seed=5)
    rng = np.random.default_rng(8)
    returns = sum(envs.step(rng.integers(4, size=1500))[1] for _ in range(50))
    error = returns.std() / np.sqrt(1500) * np.sqrt(2)
    assert abs(returns.mean() - GridMaze(size=7, lifetime=50).random_return(1500)) < 4 * error
    assert GridMaze().random_return(20, seed=1) == GridMaze().random_return(20, seed=1)
    assert GridMaze().random_return(20, seed=1) != GridMaze().random_return(20, seed=2)
    assert GridMaze().random_return() < 0.1 * GridMaze().oracle_return()
    for method in (GridMaze().random_return, RandomMaze().oracle_return):
        with pytest.raises(ValueError, match="lifetimes is 0: expected a whole number of at least 1"):
            method(lifetimes=0)


@pytest.mark.parametrize("maze", [GridMaze, RandomMaze])
def test_the_oracle_plays_a_single_env_over_lifetimes(maze):
    env = gym.make(f"plastic_rl:PlasticRL/{maze.__name__}-v0", size=7, lifetime=25)
    oracle = OracleAgent(env)
    for seed in (0, None, None, 0, 1):
        _, info = env.reset(seed=seed)
        way = distances(env.unwrapped.maze_state().walls[None], info["goal"][None])[0]
        before = way[tuple(info["position"])]
        terminated = False
        while not terminated:
            _, reward, terminated, _, info = env.step(oracle.act().item())
            now = way[tuple(info["position"])]
            assert reward == 10.0 if before == 1 else now == before - 1
            before = now


def test_the_oracle_sees_that_a_state_was_set():
    first, second = (gym.make_vec("PlasticRL/RandomMaze-v0", num_envs=2) for _ in range(2))
    first.reset(seed=0)
    second.reset(seed=9)
    oracle = OracleAgent(second)
    oracle.act()
    second.set_state(first.get_state())
    assert (oracle.act() == OracleAgent(first).act()).all()


def test_the_oracle_looks_through_wrappers_and_refuses_other_tasks():
    wrapped = PreviousActionRewardVector(GridMazeVector(3))
    wrapped.reset(seed=0)
    assert OracleAgent(wrapped).act().shape == (3,)
    with pytest.raises(TypeError, match="GridMaze and RandomMaze environments only"):
        OracleAgent(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="only"):
        OracleAgent(SyncVectorEnv([functools.partial(GridMaze)]))


def test_distances_of_cells_without_a_way():
    walls = np.ones((1, 5, 5), dtype=bool)
    walls[0, 1, 1:4] = False
    walls[0, 3, 3] = False
    steps = distances(walls, np.array([[1, 1]]))[0]
    assert steps[1].tolist() == [25, 0, 1, 2, 25]
    assert steps[3, 3] == 25

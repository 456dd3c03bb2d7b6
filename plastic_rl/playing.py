"""Agents at play: testing them, watching them, and playing oneself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl import runs
from plastic_rl.agents import GymnasiumVecEnv, PlasticA2C
from plastic_rl.agents.archive import space_to_json
from plastic_rl.config import Evaluate, Play, Watch
from plastic_rl.envs import draw_maze
from plastic_rl.envs.rendering import MazeWindow
from plastic_rl.errors import UsageError, UserError
from plastic_rl.plots import animation
from plastic_rl.tables import table

# Training uses seeds from 0 to some thousands; tests begin here.
FRESH = 1_000_000_000
TOGETHER = 100


def make_vec(env_id: str, count: int, kwargs: dict[str, Any]) -> gym.vector.VectorEnv:
    """Make a vector environment; natively batched where there is one that restarts at once.

    Raises:
        UsageError: the id is unknown, or the environment refuses the settings.
    """
    try:
        spec = gym.spec(env_id)
        if spec.vector_entry_point is not None and spec.namespace == "PlasticRL":
            return gym.make_vec(env_id, num_envs=count, **kwargs)
        mode = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        return gym.make_vec(env_id, num_envs=count, vectorization_mode="sync", vector_kwargs=mode, **kwargs)
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise UsageError(f"--env {env_id}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{env_id} refuses these settings: {error}") from error


def make_single(config: dict[str, Any], render_mode: str | None) -> gym.Env:
    """Make a run's environment, once."""
    return gym.make(config["env"], render_mode=render_mode, **config["env_kwargs"])


def env_settings(folder: Path) -> dict[str, Any]:
    """Return id and keyword arguments of a run's environment."""
    config = runs.read_run(folder)
    return {"env": config.env, "env_kwargs": config.env_kwargs()}


def assess(
    agent: PlasticA2C, env_id: str, kwargs: dict[str, Any], episodes: int, seed: int, deterministic: bool = False
) -> dict[str, float]:
    """Play fresh lifetimes; return return_mean, return_std, random_return and, for a maze, oracle_return."""
    torch.manual_seed(FRESH + seed)
    env = make_vec(env_id, min(TOGETHER, episodes), kwargs)
    adapter: VecEnv = GymnasiumVecEnv(env)
    adapter.seed(FRESH + seed)
    returns, _ = evaluate_policy(agent, adapter, episodes, deterministic, return_episode_rewards=True, warn=False)
    results = {
        "episodes": episodes,
        "return_mean": float(np.mean(returns)),
        "return_std": float(np.std(returns)),
        "random_return": _random_return(env, episodes, FRESH + seed),
    }
    maze: Any = env.unwrapped
    if hasattr(maze, "oracle_return"):
        results["oracle_return"] = maze.oracle_return()
    env.close()
    return results


def _random_return(env: gym.vector.VectorEnv, episodes: int, seed: int) -> float:
    """The mean return of random actions."""
    maze: Any = env.unwrapped
    if hasattr(maze, "random_return"):
        return maze.random_return(max(episodes, 1000), seed)
    env.action_space.seed(seed)
    env.reset(seed=seed)
    total, finished, running = 0.0, 0, np.zeros(env.num_envs)
    while finished < episodes:
        _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        running += rewards
        over = terminated | truncated
        total, finished = total + float(running[over].sum()), finished + int(over.sum())
        running[over] = 0.0
    return total / finished


def comparison(results: dict[str, float]) -> str:
    """Return the results as a table: the agent beside random play and the oracle."""
    mean, spread = results["return_mean"], results["return_std"]
    error = spread / max(1.0, results["episodes"]) ** 0.5
    oracle = results.get("oracle_return")

    def share(value: float) -> str:
        return f"{max(0.0, value) / oracle:.1%}" if oracle else ""

    rows = [
        ["", "return", "of the oracle" if oracle else ""],
        ["random play", f"{results['random_return']:.1f}", share(results["random_return"])],
        ["this agent", f"{mean:.1f} +- {error:.1f}", share(mean)],
    ]
    if oracle:
        rows.append(["all-knowing oracle", f"{oracle:.1f}", share(oracle)])
    return table(rows)


def evaluate(config: Evaluate) -> None:
    """Test a run's agent, print a table and write summary.json."""
    agent, env = runs.load_agent(config.run), env_settings(config.run)
    out = config.out or config.run / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    results = assess(agent, env["env"], env["env_kwargs"], config.episodes, config.seed, config.deterministic)
    runs.write_json(
        out / runs.SUMMARY,
        {
            "run": str(config.run),
            **results,
            "seed": config.seed,
            "deterministic": config.deterministic,
            "trained_steps": agent.num_timesteps,
        },
    )
    print(comparison(results))
    print(f"{config.episodes} fresh lifetimes; written to {out / runs.SUMMARY}")


def live(agent: PlasticA2C, env: gym.Env, seed: int, deterministic: bool = False) -> Iterator[bool]:
    """Live lifetime after lifetime; yield before the first step and after each one, with whether it was the last."""
    while True:
        observation, _ = env.reset(seed=seed)
        seed += 1
        state, start, over = None, np.ones(1, bool), False
        yield False
        while not over:
            action, state = agent.predict(observation, state, start, deterministic)
            observation, _, terminated, truncated, _ = env.step(action)
            start, over = np.zeros(1, bool), bool(terminated or truncated)
            yield over


def write_lifetime(path: Path, agent: PlasticA2C, settings: dict[str, Any], seed: int, fps: int, sampled: bool) -> None:
    """Write one lifetime as a GIF.

    Raises:
        UserError: the environment draws no pictures.
    """
    torch.manual_seed(FRESH + seed)
    try:
        env = make_single(settings, "rgb_array")
    except (TypeError, ValueError, gym.error.Error) as error:
        raise UserError(f"{settings['env']} draws no pictures: {error}") from error
    frames = []
    for over in live(agent, env, FRESH + seed, deterministic=not sampled):
        frames.append(_frame(env))
        if over:
            break
    env.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    animation(path, frames, fps)


def _frame(env: gym.Env) -> np.ndarray:
    maze: Any = env.unwrapped
    if hasattr(maze, "maze_state"):
        state = maze.maze_state()
        return draw_maze(state, max(8, 330 // len(state.walls)))
    return np.asarray(env.render())


def watch(config: Watch) -> None:
    """Show a run's agent in a window, or write a GIF."""
    agent, settings = runs.load_agent(config.run), env_settings(config.run)
    if config.gif is not None:
        if config.gif.suffix.lower() != ".gif":
            raise UsageError(f"--gif {config.gif}: expected a name that ends in .gif")
        write_lifetime(config.gif, agent, settings, config.seed, config.fps, not config.deterministic)
        print(f"written to {config.gif}")
        return
    env = make_single(settings, "rgb_array")
    maze: Any = env.unwrapped
    if not hasattr(maze, "maze_state"):
        raise UserError(f"{settings['env']} is not a maze: only --gif can show it")
    if space_to_json(env.observation_space) != space_to_json(agent.observation_space):
        raise UserError(f"{config.run}: its agent and its environment do not fit")
    window = MazeWindow("plastic-rl: the agent learns where the goal is", config.fps)
    torch.manual_seed(FRESH + config.seed)
    try:
        for _ in live(agent, env, FRESH + config.seed, config.deterministic):
            window.show(draw_maze(maze.maze_state()))
            if window.closed_by_user or _keys() & {"q", "escape"}:
                break
    except gym.error.Error as error:
        raise UserError(f"{error} Or write a GIF: --gif FILE") from error
    finally:
        window.close()
        env.close()


def play(config: Play) -> None:
    """Let a person drive the maze."""
    name = "RandomMaze" if config.random_walls else "GridMaze"
    try:
        env = gym.make(f"PlasticRL/{name}-v0", size=config.size, lifetime=config.lifetime, render_mode="rgb_array")
    except ValueError as error:
        raise UsageError(str(error)) from error
    maze: Any = env.unwrapped
    moves = {"up": 0, "right": 1, "down": 2, "left": 3, "w": 0, "d": 1, "s": 2, "a": 3}
    window = MazeWindow("plastic-rl: find the hidden goal (arrow keys, R new, Q quit)", 30)
    env.reset(seed=config.seed)
    over = False
    try:
        while not window.closed_by_user:
            state = maze.maze_state()
            window.show(draw_maze(state if config.show_goal else replace(state, goal=None)))
            for key in _pressed():
                if key in ("q", "escape"):
                    return
                if key == "r" or (over and key in ("return", "space")):
                    env.reset()
                    over = False
                elif key in moves and not over:
                    over = bool(env.step(moves[key])[2])
                    if over:
                        state = maze.maze_state()
                        print(f"lifetime over: return {state.total_reward:.1f}, {state.hits} hits; R begins the next")
    except gym.error.Error as error:
        raise UserError(str(error)) from error
    finally:
        window.close()
        env.close()


def _pressed() -> list[str]:
    """The names of the keys pressed since the last call, in order."""
    import pygame

    if not pygame.display.get_init():
        return []
    return [pygame.key.name(event.key) for event in pygame.event.get(pygame.KEYDOWN)]


def _keys() -> set[str]:
    return set(_pressed())

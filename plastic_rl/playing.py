"""Agents at play: testing them, watching them, and playing oneself."""

import importlib
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl import folders, runs
from plastic_rl.agents import GymnasiumVecEnv, PlasticA2C
from plastic_rl.config import FRESH, Evaluate, MazeRun, Play, Watch
from plastic_rl.envs import draw_maze
from plastic_rl.envs.rendering import Frame, MazeWindow, has_display
from plastic_rl.errors import UsageError, UserError, invocation
from plastic_rl.plots import animation
from plastic_rl.tables import number, table

TOGETHER = 100  # lifetimes that are tested side by side
MOST_FRAMES = 500
GIF_WIDTH = 400
REST = 1.5  # seconds that a lifetime's last picture stays


def make_vec(env_id: str, count: int, kwargs: dict[str, Any]) -> gym.vector.VectorEnv:
    """Make a vector environment; natively batched where there is one that restarts at once.

    Raises:
        UsageError: the id is unknown, or the environment refuses the settings.
    """
    with _named(env_id) as name:
        spec = gym.spec(name)
        if spec.vector_entry_point is not None and spec.namespace == "PlasticRL":
            return gym.make_vec(name, num_envs=count, **kwargs)
        mode = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        return gym.make_vec(name, num_envs=count, vectorization_mode="sync", vector_kwargs=mode, **kwargs)


@contextmanager
def _named(env_id: str) -> Iterator[str]:
    """Import the module of a "module:id", also from the working directory; yield the id alone.

    Raises:
        UsageError: that, or what is done with the id within, cannot be done.
    """
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            if os.getcwd() not in sys.path:
                sys.path.append(os.getcwd())
            importlib.import_module(module)
        yield name
    except ModuleNotFoundError as error:
        raise UsageError(f"--env {env_id}: there is no module {error.name} to import") from error
    except (gym.error.Error, ImportError) as error:
        raise UsageError(f"--env {env_id}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{env_id} refuses these settings: {error}") from error


def load(folder: Path) -> tuple[PlasticA2C, MazeRun]:
    """Load a run's agent and settings.

    Raises:
        UserError: they are missing or damaged, or do not fit each other.
    """
    agent, config = runs.load_agent(folder), runs.read_run(folder)
    with _named(config.env) as name:
        env = gym.make(name, **config.env_kwargs())
    env.close()
    runs.check_spaces(folder, env.observation_space, env.action_space)
    return agent, config


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
    oracle = results.get("oracle_return")
    rows = [
        ["", "return", "± error"],
        ["random play", f"{results['random_return']:.1f}", ""],
        ["this agent", f"{mean:.1f}", f"{spread / results['episodes'] ** 0.5:.1f}"],
    ]
    if oracle:
        rows.append(["all-knowing oracle", f"{oracle:.1f}", ""])
        shares = (f"{max(0.0, value) / oracle:.1%}" for value in (results["random_return"], mean, oracle))
        for row, share in zip(rows, ["of the oracle", *shares], strict=True):
            row.append(share)
    return table(rows)


def evaluate(config: Evaluate) -> None:
    """Test a run's agent, print a table and write summary.json."""
    agent, run = load(config.run)
    out = config.out or config.run / "evaluation"
    folders.check_no_run(out)
    runs.make_folder(out, "--out")
    episodes = config.episodes or run.eval_episodes
    results = assess(agent, run.env, run.env_kwargs(), episodes, config.seed, config.deterministic)
    runs.write_json(
        out / runs.SUMMARY,
        {
            "run": str(config.run),
            "env": run.env,
            "trained_steps": agent.num_timesteps,
            **results,
            "seed": config.seed,
            "deterministic": config.deterministic,
        },
    )
    print(f"{config.run} after {number(agent.num_timesteps)} steps, tested on {episodes} fresh lifetimes:\n")
    print(f"{comparison(results)}\n\nwritten to {out / runs.SUMMARY}")


def live(agent: PlasticA2C, env: gym.Env, seed: int, deterministic: bool = False) -> Iterator[None]:
    """Live one lifetime; yield before the first step and after each one."""
    observation, _ = env.reset(seed=seed)
    state, start, over = None, np.ones(1, bool), False
    yield
    while not over:
        action, state = agent.predict(observation, state, start, deterministic)
        observation, _, terminated, truncated, _ = env.step(action)
        start, over = np.zeros(1, bool), bool(terminated or truncated)
        yield


def write_lifetime(
    path: Path, agent: PlasticA2C, config: MazeRun, seed: int, fps: int, deterministic: bool = False
) -> None:
    """Write one lifetime as a GIF; of a very long one, every second, fourth, ... step.

    Raises:
        UserError: the environment draws no pictures, or the file cannot be written.
    """
    runs.make_folder(path.parent, "--gif")
    torch.manual_seed(FRESH + seed)
    frames: list[Frame] = []
    every = 1
    with _pictured(config) as env:
        for step, _ in enumerate(live(agent, env, FRESH + seed, deterministic)):
            if len(frames) == MOST_FRAMES:
                frames, every = frames[::2], 2 * every
            if step % every == 0:
                frames.append(_picture(env, GIF_WIDTH))
        if step % every:
            frames.append(_picture(env, GIF_WIDTH))
    try:
        animation(path, frames, fps)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _pictured(config: MazeRun) -> Iterator[gym.Env]:
    """A run's environment, once, drawing pictures."""
    with _without_screen(), _named(config.env) as name:
        plain = gym.make(name, **config.env_kwargs())
        plain.close()
        if "rgb_array" not in plain.metadata.get("render_modes", ()):
            raise UserError(f"{config.env} draws no pictures: it has no render mode rgb_array")
        env = gym.make(name, render_mode="rgb_array", **config.env_kwargs())
        try:
            yield env
        finally:
            env.close()


@contextmanager
def _without_screen() -> Iterator[None]:
    """Keep other environments from looking for a screen where there is none: SDL complains on stderr."""
    if has_display() or "SDL_VIDEODRIVER" in os.environ:
        yield
        return
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        del os.environ["SDL_VIDEODRIVER"]


def _picture(env: gym.Env, width: int | None = None) -> Frame:
    """A picture of the environment; of a maze, about so many pixels wide."""
    maze: Any = env.unwrapped
    if hasattr(maze, "maze_state"):
        state = maze.maze_state()
        return draw_maze(state, max(8, width // len(state.walls)) if width else None)
    try:
        frame = np.asarray(env.render())
    except gym.error.Error as error:
        raise UserError(f"no picture can be drawn: {error}") from error
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise UserError(f"{env} draws no pictures: render() gave {frame.dtype} {frame.shape}, not uint8 (h, w, 3)")
    return frame


def watch(config: Watch) -> None:
    """Show a run's agent in a window, or write a GIF."""
    if config.gif is not None and config.gif.suffix.lower() != ".gif":
        raise UsageError(f"--gif {config.gif}: expected a name that ends in .gif")
    agent, run = load(config.run)
    if config.gif is not None:
        write_lifetime(config.gif, agent, run, config.seed, config.fps, config.deterministic)
        print(f"written to {config.gif}")
        return
    torch.manual_seed(FRESH + config.seed)
    instead = f"write a GIF instead: {invocation('watch', config.run, '--gif', 'lifetime.gif')}"
    with _window(config.fps, instead) as window, _pictured(run) as env:
        print("space pauses, right arrow: one step, + and -: speed, R: a new lifetime, Q: quit", flush=True)
        for seed in itertools.count(FRESH + config.seed):
            if not _show_lifetime(window, env, live(agent, env, seed, config.deterministic), seed - FRESH):
                return


def _show_lifetime(window: MazeWindow, env: gym.Env, lifetime: Iterator[None], which: int) -> bool:
    """Show a lifetime and rest on its last step; return whether to go on with another one."""
    paused, resting = False, 0.0
    next(lifetime)
    frame = _picture(env)
    while resting < REST:
        window.title = f"plastic-rl: lifetime {which}, {'paused' if paused else f'{window.fps} steps/s'}"
        window.show(frame)
        stepping = not paused
        for key in _pressed():
            if key in ("q", "escape"):
                return False
            if key == "r":
                return True
            if key == "space":
                paused = not paused
                stepping = not paused
            elif key == "right":
                paused = stepping = True
            elif key in ("+", "=", "[+]", "-", "[-]"):
                faster = 1.5 if key in ("+", "=", "[+]") else 1 / 1.5
                window.fps = min(100, max(1, round(window.fps * faster)))
        if window.closed_by_user:
            return False
        if stepping:
            try:
                next(lifetime)
                frame = _picture(env)
            except StopIteration:
                resting += 1 / window.fps
    return True


@contextmanager
def _window(fps: int, instead: str) -> Iterator[MazeWindow]:
    """A window, closed in the end.

    Raises:
        UserError: it cannot be opened; says what to do instead.
    """
    window = MazeWindow("plastic-rl", fps)
    if not has_display():
        raise UserError(f"no window can be opened: there is no display; {instead}")
    try:
        yield window
    except gym.error.DependencyNotInstalled as error:
        raise UserError(str(error)) from error
    except gym.error.Error as error:
        raise UserError(f"no window can be opened: {error.__cause__ or error}; {instead}") from error
    finally:
        window.close()


def play(config: Play) -> None:
    """Let a person drive the maze."""
    name = "RandomMaze" if config.random_walls else "GridMaze"
    try:
        env = gym.make(f"PlasticRL/{name}-v0", size=config.size, lifetime=config.lifetime, render_mode="rgb_array")
    except ValueError as error:
        raise UsageError(str(error)) from error
    maze: Any = env.unwrapped
    moves = {"up": 0, "right": 1, "down": 2, "left": 3, "w": 0, "d": 1, "s": 2, "a": 3}
    env.reset(seed=config.seed)
    with _window(30, "play where there is one") as window:
        print("arrows or WASD move, R: a new lifetime, Q: quit", flush=True)
        over, frame = False, None
        while not window.closed_by_user:
            state = maze.maze_state()
            if frame is None:
                frame = draw_maze(state if config.show_goal else replace(state, goal=None))
            window.title = "plastic-rl: lifetime over (R: the next)" if over else "plastic-rl: find the hidden goal"
            window.show(frame)
            for key in _pressed():
                if key in ("q", "escape"):
                    return
                if key == "r" or (over and key in ("return", "space")):
                    env.reset()
                    over, frame = False, None
                elif key in moves and not over:
                    _, _, terminated, truncated, _ = env.step(moves[key])
                    over, frame = bool(terminated or truncated), None
                    if over:
                        state = maze.maze_state()
                        print(f"lifetime over: return {state.total_reward:.1f}, {state.hits} hits", flush=True)


def _pressed() -> list[str]:
    """The names of the keys pressed since the last call, in order."""
    import pygame

    if not pygame.display.get_init():
        return []
    return [pygame.key.name(event.key) for event in pygame.event.get(pygame.KEYDOWN)]

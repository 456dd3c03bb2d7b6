"""Agents at play: watching them, and playing oneself."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.agents import PlasticA2C
from plastic_rl.envs import MazeState, draw_maze, draw_view
from plastic_rl.envs.drawing import TARGET_WIDTH, Frame, captioned
from plastic_rl.envs.protocols import Pictured
from plastic_rl.envs.registration import settings_of
from plastic_rl.envs.window import Window, has_display
from plastic_rl.errors import UsageError, UserError, invocation
from plastic_rl.figures.curves import animation
from plastic_rl.modules import PlasticRNN
from plastic_rl.runs import agents as runs
from plastic_rl.seeds import FRESH
from plastic_rl.settings import MazeRun, Play, Watch
from plastic_rl.text import tenths
from plastic_rl.viewing.lifetime import Lifetime, rehearse
from plastic_rl.viewing.panel import SCALE, Mind, Panel, Scales, fitted

MOST_FRAMES = 500
GIF_WIDTH = 352
REST = 1.5  # seconds that a lifetime's last picture stays


def write_lifetime(
    path: Path, agent: PlasticA2C, config: MazeRun, seed: int, fps: int, deterministic: bool = False
) -> None:
    """Write one lifetime as a GIF; of a very long one, every second, fourth, ... step.

    Raises:
        UserError: the environment draws no pictures, or the file cannot be written.
    """
    frames: list[Frame] = []
    every = 1
    with _writing(path), _pictured(config) as env:
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = Scene(env, rehearse(agent, env, FRESH + seed, deterministic), GIF_WIDTH)
        torch.manual_seed(FRESH + seed)
        lifetime = Lifetime(agent, env, FRESH + seed, deterministic)
        for step, _ in enumerate(lifetime):
            if len(frames) == MOST_FRAMES:
                frames, every = frames[::2], 2 * every
            if step % every == 0:
                frames.append(scene.draw(lifetime.mind))
        if step % every:
            frames.append(scene.draw(lifetime.mind))
        animation(path, frames, fps, SCALE)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into a line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _pictured(config: MazeRun) -> Iterator[gym.Env]:
    """A run's environment, once, drawing pictures."""
    with _without_screen():
        with runs.named(config.env) as name:
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


class Scene:
    """Pictures of an environment, with the agent's network beside it.

    Args:
        env: draws pictures.
        scales: of the network's part.
        width: pixels of the environment's part, about.
    """

    def __init__(self, env: gym.Env, scales: Scales, width: int = TARGET_WIDTH) -> None:
        self.env = env
        maze: Any = env.unwrapped
        self._maze = maze if isinstance(maze, Pictured) else None
        if self._maze is not None:
            size = len(maze.maze_state().walls)
            self._cell = max(8, round(width / size))
            width = size * self._cell
        self._panel = Panel(scales, width)

    def draw(self, mind: Mind) -> Frame:
        """Return a picture of how things stand."""
        panel = self._panel.draw(mind)
        if self._maze is None:
            return np.hstack([fitted(self._rendered(), len(panel), len(panel)), panel])
        return np.hstack([draw_maze(self._maze.maze_state(), self._cell), panel])

    def _rendered(self) -> Frame:
        try:
            frame = np.asarray(self.env.render())
        except Exception as error:  # whatever a machine lacks that it needs to draw
            raise UserError(f"no picture can be drawn: {error}") from error
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            given = f"{frame.dtype} {frame.shape}"
            raise UserError(f"{self.env} draws no pictures: render() gave {given}, not uint8 (h, w, 3)")
        return frame


def watch(config: Watch) -> None:
    """Show an agent and its network in a window, or write a GIF."""
    torch.set_num_threads(1)  # as in evaluate
    if config.gif is not None and config.gif.suffix.lower() != ".gif":
        raise UsageError(f"--gif {config.gif}: expected a name that ends in .gif")
    agent, run = runs.load(runs.chosen(config.run))
    if config.gif is not None:
        write_lifetime(config.gif, agent, run, config.seed, config.fps, config.deterministic)
        print(f"written to {config.gif}")
        return
    named = () if config.run is None else (config.run,)
    instead = f"write a GIF instead: {invocation('watch', *named, '--gif', 'lifetime.gif')}"
    with _window(config.fps, instead) as window, _pictured(run) as env:
        scene = Scene(env, rehearse(agent, env, FRESH + config.seed, config.deterministic))
        torch.manual_seed(FRESH + config.seed)
        freezing = ", T: freeze the trace" if isinstance(agent.policy.core, PlasticRNN) else ""
        print(f"space pauses, right arrow: one step, + and -: speed{freezing}, R: a new lifetime, Q: quit", flush=True)
        frozen = False
        for seed in itertools.count(FRESH + config.seed):
            lifetime = Lifetime(agent, env, seed, config.deterministic, frozen)
            if not _show_lifetime(window, scene, lifetime):
                return
            frozen = lifetime.frozen


def _show_lifetime(window: Window, scene: Scene, lifetime: Lifetime) -> bool:
    """Show a lifetime and rest on its last step; return whether to go on with another one."""
    paused, resting = False, 0.0
    steps = iter(lifetime)
    next(steps)
    frame = scene.draw(lifetime.mind)
    while resting < REST:
        how = "paused" if paused else f"{window.fps} steps/s"
        window.title = f"plastic-rl: lifetime {lifetime.seed - FRESH}, {how}{', trace frozen' * lifetime.mind.frozen}"
        window.show(frame)
        stepping = not paused
        for key in window.pressed():
            if key in ("q", "escape"):
                return False
            if key == "r":
                return True
            if key == "space":
                paused = not paused
                stepping = not paused
            elif key == "right":
                paused = stepping = True
            elif key == "t":
                lifetime.frozen = not lifetime.frozen
                frame = scene.draw(lifetime.mind)
            elif key in ("+", "=", "[+]", "-", "[-]"):
                faster = 1.5 if key in ("+", "=", "[+]") else 1 / 1.5
                window.fps = min(100, max(1, round(window.fps * faster)))
        if window.closed_by_user:
            return False
        if stepping:
            try:
                next(steps)
                frame = scene.draw(lifetime.mind)
            except StopIteration:
                resting += 1 / window.fps
    return True


@contextmanager
def _window(fps: int, instead: str) -> Iterator[Window]:
    """A window, closed in the end.

    Raises:
        UserError: it cannot be opened; says what to do instead.
    """
    window = Window("plastic-rl", fps)
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
    """Let a person drive the maze, and then the agent, through the same lifetimes."""
    torch.set_num_threads(1)  # as in evaluate
    agent, name, kwargs = _opponent(config)
    try:
        env, twin = (gym.make(name, render_mode="rgb_array", **kwargs) for _ in range(2))
    except ValueError as error:
        raise UsageError(str(error)) from error
    with _window(30, "play where there is one") as window:
        print("arrows or WASD move, R: a new lifetime, Q: quit", flush=True)
        if agent is None:
            print("no agent comes with this installation and none is named: there will be no comparison", flush=True)
        for seed in itertools.count(FRESH + config.seed):
            over = _drive(window, env, seed, config)
            if over is None:
                return
            if not over:
                continue
            own = _maze(env)
            said = f"lifetime over: return {tenths(own.total_reward)}, hits {own.hits}"
            replay = [] if agent is None else _replay(agent, twin, seed)
            if replay:
                last = replay[-1]
                said += f"; the agent, in the same lifetime: return {tenths(last.total_reward)}, hits {last.hits}"
            print(said, flush=True)
            if not _compare(window, own, replay):
                return


def _opponent(config: Play) -> tuple[PlasticA2C | None, str, dict[str, Any]]:
    """The agent to compare with, if there is one, and the id and the settings of the maze."""
    agent, run = None, MazeRun()
    if config.run is not None or runs.TRAINED.is_dir():
        folder = runs.chosen(config.run)
        agent, run = runs.load(folder)
        if not settings_of(run.env):
            raise UsageError(f"{folder} is of {run.env}: expected an agent of a maze of this package")
    wanted = {"size": config.size, "lifetime": config.lifetime}
    kwargs = run.env_kwargs() | {key: value for key, value in wanted.items() if value is not None}
    return agent, "PlasticRL/RandomMaze-v0" if config.random_walls else run.env, kwargs


def _maze(env: gym.Env) -> MazeState:
    maze: Any = env.unwrapped
    return maze.maze_state()


def _drive(window: Window, env: gym.Env, seed: int, config: Play) -> bool | None:
    """Let a person live a lifetime; return whether it was lived to its end, or None to stop playing."""
    moves = {"up": 0, "right": 1, "down": 2, "left": 3, "w": 0, "d": 1, "s": 2, "a": 3}
    env.reset(seed=seed)
    frame, reached = None, False
    while True:
        state = _maze(env)
        if frame is None and (config.full_view or config.show_goal):
            frame = draw_maze(state if config.show_goal else replace(state, goal=None))
        elif frame is None:
            frame = draw_view(state)
        found = "you reached it, and are somewhere else now" if reached else "find the hidden goal"
        window.title = f"plastic-rl: {found}"
        window.show(frame)
        if window.closed_by_user:
            return None
        for key in window.pressed():
            if key in ("q", "escape"):
                return None
            if key == "r":
                return False
            if key in moves:
                _, _, terminated, truncated, _ = env.step(moves[key])
                frame, reached = None, _maze(env).hits > state.hits
                if terminated or truncated:
                    return True
                state = _maze(env)


def _replay(agent: PlasticA2C, env: gym.Env, seed: int) -> list[MazeState]:
    """Let the agent live a person's lifetime; return how it stood before each step and in the end."""
    torch.manual_seed(seed)
    return [_maze(env) for _ in Lifetime(agent, env, seed)]


def _compare(window: Window, own: MazeState, replay: list[MazeState]) -> bool:
    """Show a person's lifetime, whole, and beside it the agent's, step by step; return whether to go on playing."""
    window.title = "plastic-rl: lifetime over (R: the next)"
    mine = captioned(draw_maze(own), "YOU", tenths(own.total_reward))
    frames = (
        np.hstack([mine, captioned(draw_maze(state), "THE AGENT", tenths(replay[-1].total_reward))]) for state in replay
    )
    frame = next(frames, mine)
    while True:
        window.show(frame)
        if window.closed_by_user:
            return False
        for key in window.pressed():
            if key in ("q", "escape"):
                return False
            if key in ("r", "return", "space"):
                return True
        frame = next(frames, frame)

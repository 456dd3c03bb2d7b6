"""The ``play`` command: a person walks through the maze, then the agent lives the same lifetime."""

import itertools
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.agents import RecurrentAgent
from plastic_rl.commands.environments import load
from plastic_rl.envs import MazeState, draw_maze, draw_view
from plastic_rl.envs.drawing import Frame, captioned
from plastic_rl.envs.protocols import Pictured
from plastic_rl.envs.registration import settings_of
from plastic_rl.envs.window import Window
from plastic_rl.errors import UsageError
from plastic_rl.runs.finding import find_run, packaged
from plastic_rl.seeds import FRESH
from plastic_rl.settings import MazeRun, Play
from plastic_rl.text import tenths
from plastic_rl.viewing.lifetime import Lifetime
from plastic_rl.viewing.scene import open_window

FPS = 30
MOVES = {"up": 0, "right": 1, "down": 2, "left": 3, "w": 0, "d": 1, "s": 2, "a": 3}


def play(config: Play) -> None:
    """Let a person walk through the maze, and then the agent, in the same lifetimes."""
    torch.set_num_threads(1)  # as in evaluate
    agent, name, kwargs = _opponent(config)
    try:
        env, twin = (gym.make(name, render_mode="rgb_array", **kwargs) for _ in range(2))
    except ValueError as error:
        raise UsageError(str(error)) from error
    with open_window(FPS, "play where there is one") as window:
        print("arrows or WASD move, R: a new lifetime, Q: quit", flush=True)
        if agent is None:
            print("no agent comes with this installation and none is named: there will be no comparison", flush=True)
        for seed in itertools.count(FRESH + config.seed):
            ended = _drive(window, env, seed, config)
            if ended is None:
                return
            if not ended:
                continue
            person = _maze(env)
            result = f"lifetime over: return {tenths(person.total_reward)}, hits {person.hits}"
            replay = [] if agent is None else _replay(agent, twin, seed)
            if replay:
                last = replay[-1]
                result += f"; the agent, in the same lifetime: return {tenths(last.total_reward)}, hits {last.hits}"
            print(result, flush=True)
            if not _compare(window, person, replay):
                return


def _opponent(config: Play) -> tuple[RecurrentAgent | None, str, dict[str, Any]]:
    """Return the agent to compare with, if there is one, and the id and the settings of the maze."""
    agent, run = None, MazeRun()
    if config.run is not None or packaged("maze").is_dir():
        folder = find_run(config.run)
        agent, run = load(folder)
        if settings_of(run.env) is None:
            raise UsageError(f"{folder} is of {run.env}: expected an agent of a maze of this package")
    wanted = {"size": config.size, "lifetime": config.lifetime}
    kwargs = run.env_kwargs() | {key: value for key, value in wanted.items() if value is not None}
    return agent, "PlasticRL/RandomMaze-v0" if config.random_walls else run.env, kwargs


def _maze(env: gym.Env) -> MazeState:
    """Return the present state of the maze."""
    maze = env.unwrapped
    assert isinstance(maze, Pictured)
    return maze.maze_state()


def _picture(state: MazeState, config: Play) -> Frame:
    """Draw as much of the maze as the person may see."""
    if config.show_goal:
        return draw_maze(state)
    return draw_maze(replace(state, goal=None)) if config.full_view else draw_view(state)


def _drive(window: Window, env: gym.Env, seed: int, config: Play) -> bool | None:
    """Let a person live a lifetime; return whether they lived it to its end, or None to stop playing."""
    env.reset(seed=seed)
    state, reached = _maze(env), False
    frame = _picture(state, config)
    while True:
        title = "you reached it, and are somewhere else now" if reached else "find the hidden goal"
        window.title = f"plastic-rl: {title}"
        window.show(frame)
        if window.closed_by_user:
            return None
        for key in window.pressed():
            if key in ("q", "escape"):
                return None
            if key == "r":
                return False
            if key in MOVES:
                _, _, terminated, truncated, _ = env.step(MOVES[key])
                if terminated or truncated:
                    return True
                hits, state = state.hits, _maze(env)
                reached = state.hits > hits
                frame = _picture(state, config)


def _replay(agent: RecurrentAgent, env: gym.Env, seed: int) -> list[MazeState]:
    """Let the agent live the person's lifetime; return the maze before each step and at the end."""
    torch.manual_seed(seed)
    return [_maze(env) for _ in Lifetime(agent, env, seed)]


def _compare(window: Window, person: MazeState, replay: list[MazeState]) -> bool:
    """Show the person's whole lifetime and, beside it, the agent's step by step; return whether to play on."""
    window.title = "plastic-rl: lifetime over (R: the next)"
    left = captioned(draw_maze(person), "YOU", tenths(person.total_reward))
    frames = (
        np.hstack([left, captioned(draw_maze(state), "THE AGENT", tenths(replay[-1].total_reward))]) for state in replay
    )
    frame = next(frames, left)
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

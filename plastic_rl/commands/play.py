"""The ``play`` command: a person plays an environment, then the agent lives the same lifetime."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.agents import RecurrentAgent
from plastic_rl.commands.environments import load, named
from plastic_rl.envs.drawing import captioned
from plastic_rl.envs.protocols import Playable, Shown, Snapshot
from plastic_rl.envs.window import Window
from plastic_rl.errors import UsageError
from plastic_rl.runs.finding import find_run, opponent_in
from plastic_rl.seeds import FRESH
from plastic_rl.settings import AgentRun, MazeRun, Play
from plastic_rl.text import tenths
from plastic_rl.viewing.lifetime import Lifetime
from plastic_rl.viewing.scene import open_window

FPS = 30
PAUSE = 0.8  # seconds for which a step stays whose action does not matter
ON = "space"  # goes on at once from such a step


def play(config: Play) -> None:
    """Let a person live lifetimes, and then the agent the same ones."""
    torch.set_num_threads(1)  # as in evaluate
    agent, env_id, kwargs = _opponent(config)
    with named(env_id) as name:
        env, twin = (gym.make(name, render_mode="rgb_array", **kwargs) for _ in range(2))
    if not isinstance(env.unwrapped, Playable):
        raise UsageError(f"{env_id} cannot be played: it does not say which key means which action")
    agent = _fitting(agent, env, config)
    with open_window(FPS, "play where there is one") as window:
        print(f"{env.unwrapped.keys_help()}, R: a new lifetime, Q: quit", flush=True)
        if agent is None:
            print("no agent of this task is named or comes with the package: there will be no comparison", flush=True)
        for seed in itertools.count(FRESH + config.seed):
            ended = _drive(window, env, seed, config.shown)
            if ended is None:
                return
            if not ended:
                continue
            person = _now(env)
            result = f"lifetime over: return {tenths(person.total_reward)}, {person.score}"
            replay = [] if agent is None else _replay(agent, twin, seed)
            if replay:
                last = replay[-1]
                result += f"; the agent, in the same lifetime: return {tenths(last.total_reward)}, {last.score}"
            print(result, flush=True)
            if not _compare(window, person, replay):
                return


def _opponent(config: Play) -> tuple[RecurrentAgent | None, str, dict[str, Any]]:
    """Return an agent to compare with, if there is one, and the id and the settings of the environment."""
    if config.env is not None and config.random_walls:
        raise UsageError("--random-walls chooses the environment: leave out --env, or --random-walls")
    agent: RecurrentAgent | None = None
    run: AgentRun = MazeRun()
    found = opponent_in(config.env) if config.run is None else find_run(config.run)
    if found is not None:
        agent, run = load(found)
    other = config.env not in (None, run.env)
    wanted = {"size": config.size, "lifetime": config.lifetime}
    kwargs = {} if other else run.env_kwargs()
    kwargs |= {key: value for key, value in wanted.items() if value is not None}
    return agent, "PlasticRL/RandomMaze-v0" if config.random_walls else config.env or run.env, kwargs


def _fitting(agent: RecurrentAgent | None, env: gym.Env, config: Play) -> RecurrentAgent | None:
    """Return the agent if it can play the environment.

    Raises:
        UsageError: it cannot, but was named.
    """
    if agent is None or (agent.observation_space, agent.action_space) == (env.observation_space, env.action_space):
        return agent
    if config.run is not None:
        raise UsageError(f"the agent of {config.run} does not fit {config.env}: leave out --env, or name another run")
    return None


def _now(env: gym.Env) -> Snapshot:
    """Return the present moment."""
    playable = env.unwrapped
    assert isinstance(playable, Playable)
    return playable.snapshot()


def _drive(window: Window, env: gym.Env, seed: int, shown: Shown) -> bool | None:
    """Let a person live a lifetime; return whether they lived it to its end, or None to stop playing."""
    playable = env.unwrapped
    assert isinstance(playable, Playable)
    keys = playable.keys()
    env.reset(seed=seed)
    now, idle = playable.snapshot(), 0
    frame = now.picture(shown)
    while True:
        window.title = f"plastic-rl: {now.prompt}"
        window.show(frame)
        if window.closed_by_user:
            return None
        idle += 1
        going_on = not now.awaits_action and idle >= PAUSE * window.fps
        for key in [*window.pressed(), *([ON] if going_on else [])]:
            if key in ("q", "escape"):
                return None
            if key == "r":
                return False
            action = keys.get(key) if now.awaits_action else 0 if key == ON else None
            if action is None:
                continue
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                return True
            now, idle = playable.snapshot(), 0
            frame = now.picture(shown)


def _replay(agent: RecurrentAgent, env: gym.Env, seed: int) -> list[Snapshot]:
    """Let the agent live the person's lifetime; return the moment before each step and at the end."""
    torch.manual_seed(seed)
    return [_now(env) for _ in Lifetime(agent, env, seed)]


def _compare(window: Window, person: Snapshot, replay: list[Snapshot]) -> bool:
    """Show the person's whole lifetime and, beside it, the agent's step by step; return whether to play on."""
    window.title = "plastic-rl: lifetime over (R: the next)"
    left = captioned(person.picture(), "YOU", tenths(person.total_reward))
    frames = (
        np.hstack([left, captioned(state.picture(), "THE AGENT", tenths(replay[-1].total_reward))]) for state in replay
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

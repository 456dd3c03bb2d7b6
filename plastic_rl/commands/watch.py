"""The ``watch`` command: an agent and its network, in a window or a GIF."""

import itertools
from functools import partial

import torch

from plastic_rl.commands.environments import load, make_env
from plastic_rl.envs.window import Window
from plastic_rl.errors import UsageError, invocation
from plastic_rl.runs.finding import find_run
from plastic_rl.seeds import FRESH
from plastic_rl.settings import Watch
from plastic_rl.viewing.lifetime import Lifetime, rehearse
from plastic_rl.viewing.recording import write_lifetime
from plastic_rl.viewing.scene import Scene, open_window, pictured

REST = 1.5  # seconds for which the last picture of a lifetime stays
FASTER, SLOWER = ("+", "=", "[+]"), ("-", "[-]")


def watch(config: Watch) -> None:
    """Show an agent and its network in a window, or write a GIF."""
    torch.set_num_threads(1)  # as in evaluate
    if config.gif is not None and config.gif.suffix.lower() != ".gif":
        raise UsageError(f"--gif {config.gif}: expected a name that ends in .gif")
    agent, run = load(find_run(config.run))
    make = partial(make_env, run.env, **run.env_kwargs())
    first = FRESH + config.seed
    if config.gif is not None:
        write_lifetime(config.gif, agent, make, first, config.fps, config.deterministic)
        print(f"written to {config.gif}")
        return
    named = () if config.run is None else (config.run,)
    instead = f"write a GIF instead: {invocation('watch', *named, '--gif', 'lifetime.gif')}"
    with open_window(config.fps, instead) as window, pictured(make) as env:
        freezing = ", T: freeze the trace" if agent.policy.is_plastic else ""
        keys = f"space pauses, right arrow: one step, + and -: speed{freezing}, R: a new lifetime, Q: quit"
        scene = Scene(env, rehearse(agent, env, first, config.deterministic), keys=keys)
        torch.manual_seed(first)
        print(keys, flush=True)
        frozen = False
        for seed in itertools.count(first):
            lifetime = Lifetime(agent, env, seed, config.deterministic, frozen)
            if not _show_lifetime(window, scene, lifetime):
                return
            frozen = lifetime.frozen


def _show_lifetime(window: Window, scene: Scene, lifetime: Lifetime) -> bool:
    """Show a lifetime and rest on its last step; return whether to show another one."""
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
                frame = scene.draw(lifetime.mind, paused)
            elif key == "right":
                paused = stepping = True
            elif key == "t":
                lifetime.frozen = not lifetime.frozen
                frame = scene.draw(lifetime.mind, paused)
            elif key in (*FASTER, *SLOWER):
                factor = 1.5 if key in FASTER else 1 / 1.5
                window.fps = min(100, max(1, round(window.fps * factor)))
        if window.closed_by_user:
            return False
        if stepping:
            try:
                next(steps)
                frame = scene.draw(lifetime.mind, paused)
            except StopIteration:
                resting += 1 / window.fps
    return True

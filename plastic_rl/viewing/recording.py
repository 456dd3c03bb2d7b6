"""One lifetime of an agent as an animation."""

from pathlib import Path

import numpy as np
import torch

from plastic_rl.agents import RecurrentAgent
from plastic_rl.envs.drawing import PALETTE, Frame
from plastic_rl.errors import UserError
from plastic_rl.figures.animation import write_gif
from plastic_rl.viewing.heat import SCALE
from plastic_rl.viewing.lifetime import Lifetime, rehearse
from plastic_rl.viewing.scene import MakeEnv, Scene, pictured

MOST_FRAMES = 500
WIDTH = 352  # of the environment's part, in pixels


def write_lifetime(
    path: Path, agent: RecurrentAgent, make: MakeEnv, seed: int, fps: int, deterministic: bool = False
) -> None:
    """Write one lifetime as a GIF; of a very long one, only every second, fourth, ... step.

    Args:
        path: the file.
        agent: the agent.
        make: makes its environment, and takes ``render_mode``.
        seed: seed of the lifetime and of the agent's choices.
        fps: steps per second.
        deterministic: whether to take the most likely action instead of sampling one.

    Raises:
        UserError: the environment draws no pictures, or the file cannot be written.
    """
    try:
        with pictured(make) as env:
            path.parent.mkdir(parents=True, exist_ok=True)  # before the lifetime, which takes a while
            scene = Scene(env, rehearse(agent, env, seed, deterministic), WIDTH)
            torch.manual_seed(seed)
            frames = _frames(scene, Lifetime(agent, env, seed, deterministic))
        write_gif(path, frames, fps, np.concatenate([SCALE, np.array(PALETTE, np.uint8)]))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _frames(scene: Scene, lifetime: Lifetime) -> list[Frame]:
    """Draw a lifetime, in at most about ``MOST_FRAMES`` pictures, the last step included."""
    frames: list[Frame] = []
    every = 1
    for step, _ in enumerate(lifetime):
        if len(frames) == MOST_FRAMES:
            frames, every = frames[::2], 2 * every
        if step % every == 0:
            frames.append(scene.draw(lifetime.mind))
    if step % every:
        frames.append(scene.draw(lifetime.mind))
    return frames

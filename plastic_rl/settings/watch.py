"""Settings of ``watch``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from plastic_rl.settings.base import Seed, Settings, unset, within


@dataclass(frozen=True, kw_only=True)
class Watch(Settings):
    """Watch an agent and its network in a window, or write one lifetime as a GIF.

    Keys: space pauses, right arrow makes one step, + and - change the speed, T freezes the trace and releases it, R
    begins a new lifetime, Q quits.
    """

    run: Annotated[Path | None, Positional, unset("maze, the trained agent that comes with the package")] = None
    """Run folder, or maze or cue-reward for the trained agents that come with the package."""
    gif: Annotated[Path | None, unset("open a window")] = None
    """GIF file to write instead of opening a window; it needs no display."""
    seed: Seed = 0
    """Chooses the first lifetime."""
    fps: Annotated[int, within(1, 100)] = 12
    """Steps per second, in the window and in the GIF."""
    deterministic: bool = False
    """Take the most likely action instead of sampling one."""

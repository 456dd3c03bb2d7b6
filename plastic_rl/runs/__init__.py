"""Run folders: what a training leaves on disk, and how to load it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plastic_rl.runs.agents import load_agent
    from plastic_rl.runs.networks import load_few_shot

__all__ = ["load_agent", "load_few_shot"]

_LAZY = {  # loaded on first use: the first needs Stable-Baselines3, the second the tasks
    "load_agent": "plastic_rl.runs.agents",
    "load_few_shot": "plastic_rl.runs.networks",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

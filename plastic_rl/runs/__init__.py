"""Run folders: what a training leaves on disk, and how to load it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plastic_rl.runs.agents import load_agent

__all__ = ["load_agent"]


def __getattr__(name: str) -> object:
    if name == "load_agent":
        return import_module("plastic_rl.runs.agents").load_agent  # loads Stable-Baselines3
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Differentiable plasticity: recurrent networks that keep learning within their lifetime.

Importing this package registers its environments with Gymnasium. Everything else is loaded on first
use, so that ``import plastic_rl`` stays light (no torch, numba, pygame or Stable-Baselines3).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from plastic_rl.envs.registration import register_envs

if TYPE_CHECKING:
    from plastic_rl.modules import (
        LSTMCore,
        MemorylessCore,
        PlasticLinear,
        PlasticRNN,
        PlasticRNNCell,
        RNNCore,
        matching_hidden_size,
    )
    from plastic_rl.ops import PlasticState, plastic_rnn

__all__ = [
    "LSTMCore",
    "MemorylessCore",
    "PlasticLinear",
    "PlasticRNN",
    "PlasticRNNCell",
    "PlasticState",
    "RNNCore",
    "__version__",
    "matching_hidden_size",
    "plastic_rnn",
]

__version__ = "0.1.0"

_LAZY = {
    "PlasticLinear": "plastic_rl.modules",
    "PlasticRNN": "plastic_rl.modules",
    "PlasticRNNCell": "plastic_rl.modules",
    "RNNCore": "plastic_rl.modules",
    "LSTMCore": "plastic_rl.modules",
    "MemorylessCore": "plastic_rl.modules",
    "matching_hidden_size": "plastic_rl.modules",
    "PlasticState": "plastic_rl.ops",
    "plastic_rnn": "plastic_rl.ops",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]


register_envs()

"""Differentiable plasticity: recurrent networks that keep learning within their lifetime.

Importing this package registers its environments with Gymnasium. Everything else is loaded on first use, so that
``import plastic_rl`` stays light: no torch, numba, pygame or Stable-Baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from plastic_rl.envs.registration import register_envs

if TYPE_CHECKING:  # editors and type checkers do not run __getattr__
    from plastic_rl.modules import (
        GRUCore,
        LSTMCore,
        MemorylessCore,
        Modulator,
        PlasticLinear,
        PlasticLSTM,
        PlasticLSTMCell,
        PlasticRNN,
        PlasticRNNCell,
        RNNCore,
        matching_hidden_size,
    )
    from plastic_rl.ops import (
        Modulation,
        PlasticLSTMState,
        PlasticState,
        RetroactiveLSTMState,
        RetroactiveState,
        plastic_lstm,
        plastic_rnn,
    )

__version__ = "0.1.0"

__all__ = [
    "GRUCore",
    "LSTMCore",
    "MemorylessCore",
    "Modulation",
    "Modulator",
    "PlasticLSTM",
    "PlasticLSTMCell",
    "PlasticLSTMState",
    "PlasticLinear",
    "PlasticRNN",
    "PlasticRNNCell",
    "PlasticState",
    "RNNCore",
    "RetroactiveLSTMState",
    "RetroactiveState",
    "__version__",
    "matching_hidden_size",
    "plastic_lstm",
    "plastic_rnn",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        for room in ("plastic_rl.ops", "plastic_rl.modules"):
            module = import_module(room)
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_envs()

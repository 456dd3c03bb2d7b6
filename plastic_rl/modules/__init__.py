"""Plastic layers and recurrent cores: their parameters and state, with the conventions of ``torch.nn``."""

from plastic_rl.modules.controls import LSTMCore, MemorylessCore, RNNCore, matching_hidden_size
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.modules.linear import PlasticLinear
from plastic_rl.modules.rnn import PlasticRNN, PlasticRNNCell
from plastic_rl.ops import PlasticState

__all__ = [
    "CoreSettings",
    "LSTMCore",
    "MemorylessCore",
    "PlasticLinear",
    "PlasticRNN",
    "PlasticRNNCell",
    "PlasticState",
    "RNNCore",
    "matching_hidden_size",
]

"""Plastic layers and recurrent cores: their parameters and state, with the conventions of ``torch.nn``."""

from plastic_rl.modules.controls import GRUCore, LSTMCore, MemorylessCore, RNNCore, matching_hidden_size
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.modules.linear import PlasticLinear
from plastic_rl.modules.lstm import PlasticLSTM, PlasticLSTMCell
from plastic_rl.modules.modulation import Modulator
from plastic_rl.modules.rnn import PlasticRNN, PlasticRNNCell
from plastic_rl.ops import PlasticLSTMState, PlasticState, RetroactiveLSTMState, RetroactiveState

__all__ = [
    "CoreSettings",
    "GRUCore",
    "LSTMCore",
    "MemorylessCore",
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
    "matching_hidden_size",
]

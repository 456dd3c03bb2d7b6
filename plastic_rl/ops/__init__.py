"""How a whole sequence of a plastic recurrent network is computed, forward and backward."""

from plastic_rl.ops.cpu.threads import get_num_threads, set_num_threads
from plastic_rl.ops.modulation import Modulation
from plastic_rl.ops.rnn import plastic_lstm, plastic_rnn
from plastic_rl.ops.state import PlasticLSTMState, PlasticState, RetroactiveLSTMState, RetroactiveState

__all__ = [
    "Modulation",
    "PlasticLSTMState",
    "PlasticState",
    "RetroactiveLSTMState",
    "RetroactiveState",
    "get_num_threads",
    "plastic_lstm",
    "plastic_rnn",
    "set_num_threads",
]

"""How a whole sequence of a plastic recurrent network is computed, forward and backward."""

from plastic_rl.ops.cpu.threads import get_num_threads, set_num_threads
from plastic_rl.ops.rnn import PlasticState, plastic_rnn

__all__ = ["PlasticState", "get_num_threads", "plastic_rnn", "set_num_threads"]

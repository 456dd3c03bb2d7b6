"""Which seeds are whose, so that no network is tested on what it was trained on.

Training takes the seeds below ``FRESH``: environment i of a run takes its seed + i.
"""

FRESH = 1_000_000_000  # tests, and what people watch and play, take seeds from here on
WEIGHTS = 2_000_000_000  # initial weights of the networks of supervised tasks
VALIDATION = 3_000_000_000  # episodes by which the weights that are kept are chosen
MOVED = 5_000_000_000  # episodes of a run that was moved to another kind of device
MOST_ENVS = 100_000_000  # environments side by side, at most
LARGEST = FRESH - MOST_ENVS - 1  # seed of a run: with the most environments, it stays below FRESH

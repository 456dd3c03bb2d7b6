"""Counter-based random streams, one per environment; one numpy call draws from all of them.

Draw number ``n`` of a stream is a hash of (key, n), the SplitMix64 generator of Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014. Only the key is stored, so a draw depends neither
on the number of environments side by side nor on earlier draws: environment i of a batch and a single
environment with the same key see the same numbers.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MUL_1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_32 = (np.uint64(bits) for bits in (30, 27, 31, 32))
_WORD = 1 << 64


def draw(keys: Keys, index: int | npt.NDArray[np.int64] | Keys) -> Keys:
    """Return draw number ``index`` of each stream, 64 random bits each.

    Args:
        keys: the streams, of any shape except ().
        index: number of the draw, from 0; an int, or an array that broadcasts with ``keys``.
    """
    # At least one dimension: numpy warns of overflow in scalars, and here overflow is intended.
    z = keys + (np.atleast_1d(np.asarray(index, dtype=np.uint64)) + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> _SHIFT_30)) * _MUL_1
    z = (z ^ (z >> _SHIFT_27)) * _MUL_2
    return z ^ (z >> _SHIFT_31)


def below(bits: Keys, bound: int | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Map 64 random bits to integers in ``[0, bound)`` by multiply and shift (bound < 2**32).

    The bias is below ``bound / 2**32``, which cannot be measured for the few hundred cells of a maze.
    """
    scaled = ((bits >> _SHIFT_32) * np.asarray(bound, dtype=np.uint64)) >> _SHIFT_32
    return scaled.astype(np.int64)


def keys_from_seeds(seeds: Sequence[int]) -> Keys:
    """Return the key of each seed's stream; seeds are taken modulo 2**64."""
    words: Keys = np.array([seed % _WORD for seed in seeds], dtype=np.uint64)
    return draw(words, 0)


def keys_from_range(first: int, count: int) -> Keys:
    """Return the keys of the seeds ``first, first + 1, ...``, as Gymnasium numbers sub-environments."""
    words: Keys = np.arange(count, dtype=np.uint64) + np.uint64(first % _WORD)
    return draw(words, 0)

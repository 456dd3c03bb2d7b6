"""Memory for the kernels' arrays, used again from call to call.

Fresh memory costs a page fault for every few kilobytes that are first written to. Training asks for the same sizes at
every step, and threads wait for each other while they take such faults: up to half of the time that they work.
"""

import math
from collections import defaultdict

import numpy as np

from plastic_rl.ops.cpu.vectors import CACHE_LINE

KEPT = 512 << 20  # bytes that are kept at most while nobody uses them

_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
_kept = 0


class _Lease:
    """Memory in use: numpy's arrays over it hold on to this object, and with the last of them it is free again."""

    def __init__(self, raw: np.ndarray, size: int) -> None:
        self._raw, self.size = raw, size
        start = -raw.ctypes.data % CACHE_LINE
        self.__array_interface__ = raw[start : start + size].__array_interface__

    def __del__(self) -> None:
        global _kept
        if _kept + self.size <= KEPT:
            _kept += self.size
            _free[self.size].append(self._raw)


def _take(size: int) -> np.ndarray:
    """Memory for an aligned array of so many bytes, used before or new."""
    global _kept
    try:
        raw = _free[size].pop()
        _kept -= size
        return raw
    except IndexError:
        return np.empty(size + CACHE_LINE, np.uint8)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that begins at the start of a cache line, as numpy's need not; its rows are padded to whole vectors.

    A vector that straddles two lines takes two accesses, and its store cannot be forwarded to the next load.
    """
    size = math.prod(shape) * dtype.itemsize
    return np.asarray(_Lease(_take(size), size)).view(dtype).reshape(shape)


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """As ``empty``, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array

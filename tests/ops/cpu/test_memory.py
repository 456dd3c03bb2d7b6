import gc

import numpy as np
import pytest
import torch

from plastic_rl.ops.cpu import memory
from plastic_rl.ops.cpu.vectors import BYTES

F32 = np.dtype(np.float32)


def test_arrays_begin_at_cache_lines():
    for shape in ((3,), (5, 7), (2, 3, 16)):
        array = memory.empty(shape, F32)
        assert (array.shape, array.dtype, array.ctypes.data % BYTES) == (shape, F32, 0)
        assert array.flags.c_contiguous
        assert array.flags.writeable
    assert not memory.zeros((4, 4), np.dtype(np.float64)).any()


def test_memory_is_used_again_once_nobody_holds_it():
    shape = (123, 457)
    first = memory.empty(shape, F32)
    place = first.ctypes.data
    assert memory.empty(shape, F32).ctypes.data != place  # while it is in use
    held = torch.from_numpy(first[3:, :2])  # a tensor over a part of it holds all of it
    del first
    gc.collect()
    assert memory.empty(shape, F32).ctypes.data != place
    del held
    gc.collect()
    assert place in {array.ctypes.data for array in [memory.empty(shape, F32) for _ in range(3)]}


def test_only_so_much_is_kept(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", memory._kept + 1000)
    before = memory._kept
    arrays = [memory.empty((100,), F32) for _ in range(10)]
    del arrays
    gc.collect()
    assert memory._kept - before <= 1000


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_memory_that_cannot_be_had_is_one_error_only():
    with pytest.raises(MemoryError):
        memory.empty((1 << 45,), F32)
    gc.collect()

"""How a sequence is cut into blocks of work, and how threads share these blocks."""

import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.cpu import kernels
from plastic_rl.ops.cpu.kernels import Block, Meeting
from plastic_rl.ops.cpu.memory import empty
from plastic_rl.ops.cpu.threads import get_num_threads
from plastic_rl.ops.cpu.vectors import BYTES

APART = 32  # the sums of episodes lie this many numbers apart, so that no two threads write to one cache line
CHUNK = 256  # rows in a block of a wide network
MAX_GROUP = 4  # episodes that share a pass over w and alpha ...
GROUP_SIZE = 1 << 16  # ... while their traces have at most this many entries, so that all stays in a core's cache
WIDTH = BYTES // 4  # the dimension of post neurons is padded to a multiple of this: whole vectors
HELD_STRIDE = 16  # replaces kernels.STRIDE where most steps are held, because few traces are read there
SMALL = 1 << 16  # connections x episodes x steps below which a second thread costs more than it saves

ALONE = Meeting(np.zeros(1, np.int64), 1)  # of a thread that meets no other


@lru_cache
def _pool(pid: int, workers: int) -> tuple[ThreadPoolExecutor, threading.Lock]:
    """Return helper threads, and a lock for handing out work; keyed by process, as threads do not survive a fork."""
    return ThreadPoolExecutor(workers, thread_name_prefix="plastic_rl"), threading.Lock()


def share_out(task: Callable[[int, int], None], items: int, threads: int) -> None:
    """Call ``task(first, last)`` over contiguous shares of the items, one share per thread."""
    threads = min(threads, items)
    if threads <= 1:
        task(0, items)
        return
    cuts = [items * k // threads for k in range(threads + 1)]
    pool, lock = _pool(os.getpid(), threads - 1)
    with lock:  # shares that wait for each other stay together in the queue, whoever else calls
        futures = [pool.submit(task, cuts[k], cuts[k + 1]) for k in range(1, threads)]
    try:
        task(0, cuts[1])
    finally:  # the arrays must outlive every thread that writes to them
        for future in futures:
            future.result()


class Plan:
    """How a problem is cut into groups of episodes and chunks of rows, from its shape and its number of held steps.

    The sums over episodes and rows follow these cuts in a fixed order. So the number of threads decides
    which blocks run at the same time, and changes no bit of the result.
    """

    def __init__(self, steps: int, batch: int, n: int, held: int = 0) -> None:
        self.steps, self.batch, self.n = steps, batch, n
        self.width = -(-n // WIDTH) * WIDTH
        self.apart = self.far(n)
        self.rows = -(-n // kernels.ROWS) * kernels.ROWS
        self.group = max(1, min(MAX_GROUP, batch // 8, GROUP_SIZE // (n * self.width)))
        self.groups = -(-batch // self.group)
        self.chunk = CHUNK if n >= 2 * CHUNK else self.rows
        self.chunks = -(-self.rows // self.chunk)
        self.stride = HELD_STRIDE if 2 * held > steps else kernels.STRIDE
        self.every = math.isqrt(self.stride * steps)
        self.threads = 1 if steps * batch * n * n < SMALL else get_num_threads()

    @staticmethod
    def far(numbers: int) -> int:
        """Return how far the sums of two episodes lie apart, each of so many numbers."""
        return -(-numbers // APART) * APART

    def block(self, group: int, c0: int, c1: int) -> Block:
        """Return the chunks c0 to c1 of a group of episodes."""
        return Block(group * self.group, min(self.batch, (group + 1) * self.group), self.chunk, c0, c1)

    def pad(self, tensor: Tensor) -> np.ndarray:
        """Return a copy of vectors ``(B, N)`` whose last dimension is filled up with zeros."""
        array = tensor.detach().numpy()
        padded = empty((*array.shape[:-1], self.width), array.dtype)
        padded[..., : self.n] = array
        padded[..., self.n :] = 0
        return padded

    def pad_matrix(self, tensor: Tensor) -> np.ndarray:
        """Return a copy of matrices ``(..., N, N)`` whose last two dimensions are filled up with zeros."""
        array = tensor.detach().numpy()
        padded = empty((*array.shape[:-2], self.rows, self.width), array.dtype)
        padded[..., : self.n, : self.n] = array
        padded[..., : self.n, self.n :] = 0
        padded[..., self.n :, :] = 0
        return padded

    def pad_gates(self, tensor: Tensor) -> np.ndarray:
        """Return a copy of weights ``(N, 3 N)``, padded to ``(rows, 3 m)``."""
        by_gate = self.pad_matrix(tensor.detach().unflatten(1, (3, self.n)).transpose(0, 1))
        return by_gate.transpose(1, 0, 2).reshape(self.rows, 3 * self.width)

    def unpad_gates(self, array: np.ndarray) -> Tensor:
        """Return the weights ``(N, 3 N)`` without what ``pad_gates`` added."""
        return torch.from_numpy(array.reshape(self.rows, 3, self.width)[: self.n, :, : self.n]).flatten(1)

    def unpad_matrix(self, array: np.ndarray) -> Tensor:
        """Return the matrices without what ``pad_matrix`` added, over the same memory."""
        return torch.from_numpy(array[..., : self.n, : self.n])

    def run(
        self,
        steps: Callable[..., int],
        buffer: Callable[[], np.ndarray | None] = lambda: None,
    ) -> None:
        """Compute every step of every block.

        Groups do not depend on each other, so each thread takes one after another through the whole sequence.
        With fewer groups than threads, the threads share the rows instead and meet at every step. They do so in wide
        networks, too, where each core then reads a part of the network only, as long as there are chunks for all.

        ``steps(buffer, block, at, meeting)`` continues at position ``at``, 0 at first. It returns its position when it
        has waited for long, or -1 when all is done.
        """
        if self.chunks > 1 and (self.groups < self.threads or 1 < self.threads <= self.chunks):
            common, parties = buffer(), min(self.threads, self.chunks)
            for group in range(self.groups):
                meeting = Meeting(np.zeros(1, np.int64), parties)
                share_out(partial(self._together, steps, common, group, meeting), self.chunks, parties)
            return

        groups = iter(range(self.groups))  # common to all: a thread that is held up takes fewer of them

        def share(first: int, last: int) -> None:
            scratch = buffer()
            for group in groups:
                steps(scratch, self.block(group, 0, self.chunks), 0, ALONE)

        share_out(share, min(self.groups, self.threads), self.threads)

    def _together(
        self,
        steps: Callable[..., int],
        common: np.ndarray | None,
        group: int,
        meeting: Meeting,
        c0: int,
        c1: int,
    ) -> None:
        block, at = self.block(group, c0, c1), 0
        try:
            while (at := steps(common, block, at, meeting)) >= 0:
                time.sleep(0)  # the others may need this processor
        except BaseException:
            meeting.counter[0] = np.iinfo(np.int64).max // 2  # the others must not wait for an interrupted thread
            raise

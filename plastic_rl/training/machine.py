"""What a training asks of the machine: its device, its cores, and how freed memory is handled."""

import ctypes
import importlib.util
import os
import sys

import torch

from plastic_rl.errors import UsageError, UserError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
SIZES = (1 << 30, 1 << 25)  # bytes: blocks above this size are given back; older versions accept the second at most


def check_device(device: str) -> None:
    """Check that PyTorch can compute on a device.

    Raises:
        UsageError: it cannot.
    """
    try:
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {device} cannot be used on this machine; --device cpu can") from error


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError('--tensorboard needs another package: pip install "plastic-rl[tensorboard]"')


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory for the next tensors, on Linux; return whether it does.

    Otherwise the C library gives large blocks back to the system, and every few kilobytes of a new block cost a page
    fault when they are first written. Training allocates the same sizes at every step: with convolutions, a quarter of
    its time went into these faults.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(TRIM_THRESHOLD, (1 << 31) - 1) and any(mallopt(MMAP_THRESHOLD, size) for size in SIZES))

"""Memory that PyTorch's tensors leave, kept for the next ones.

The C library gives large blocks back to the system when they are freed, and fresh ones cost a page fault for every few
kilobytes that are first written to. Training asks for the same sizes at every step: with convolutions, a quarter of its
time went into such faults.
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
SIZES = (1 << 30, 1 << 25)  # bytes: above these, blocks are given back; older versions take the second at most


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed, in this process; return whether it does. It is asked on Linux only."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(TRIM_THRESHOLD, (1 << 31) - 1) and any(mallopt(MMAP_THRESHOLD, size) for size in SIZES))

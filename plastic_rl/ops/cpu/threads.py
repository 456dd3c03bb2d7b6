"""The number of threads of the fused engine."""

import torch

_count: int | None = None


def set_num_threads(count: int | None) -> None:
    """Let the fused engine use ``count`` threads; None: as many as PyTorch (``torch.get_num_threads``).

    A small network's other operations are fastest with ``torch.set_num_threads(1)``, while the fused engine gains
    from every core. The number of threads never changes a result.

    Raises:
        ValueError: count is below 1.
    """
    global _count
    if count is not None and count < 1:
        raise ValueError(f"count is {count}: expected at least 1, or None for as many as PyTorch")
    _count = count


def get_num_threads() -> int:
    """Return how many threads the fused engine uses."""
    return torch.get_num_threads() if _count is None else _count

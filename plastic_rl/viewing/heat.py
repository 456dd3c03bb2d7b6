"""Matrices as pictures: shades of blue below zero and of red above it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from plastic_rl.envs.drawing import BLUE, RED, Frame
from plastic_rl.viewing.mind import Floats

# Shades on either side of zero. More could not be told apart and would make a GIF larger.
SHADES = 5
LEAST, MOST = BLUE, RED
# A number keeps its shade until its value is this many shades away. With 0.5 it would flicker.
_STAY = 0.8


def colored(shades: npt.NDArray[np.integer[Any]]) -> Frame:
    """Return the colours of shades from -SHADES to SHADES; zero is white.

    Returns:
        uint8 of shape ``(*shades.shape, 3)``.
    """
    share = np.arange(-SHADES, SHADES + 1)[:, None] / SHADES
    tint = np.where(share > 0, MOST, LEAST) - np.array(255)
    return np.round(255 + np.abs(share) * tint).astype(np.uint8)[shades + SHADES]


SCALE = colored(np.arange(-SHADES, SHADES + 1))


def heat(numbers: Floats, height: int, width: int) -> Frame:
    """Return a picture of numbers from -1 to 1, with cells of the same size; larger numbers look like 1."""
    shades = np.rint(SHADES * np.clip(shrunk(numbers, height, width), -1, 1)).astype(int)
    return enlarged(colored(shades), height, width)


class HeatMap:
    """A square matrix that changes from picture to picture, drawn so that its shades do not flicker.

    Args:
        side: side of the pictures in pixels.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self._shades: npt.NDArray[np.int64] | None = None

    def draw(self, numbers: Floats) -> Frame:
        """Return a picture of numbers from -1 to 1; larger numbers look like 1."""
        exact = SHADES * np.clip(shrunk(numbers, self.side, self.side), -1, 1)
        before = np.zeros(exact.shape, int) if self._shades is None else self._shades
        self._shades = np.where(np.abs(exact - before) > _STAY, np.rint(exact), before).astype(int)
        return enlarged(colored(self._shades), self.side, self.side)


def whole_side(room: int, count: int) -> int:
    """Return the side of a picture of ``count`` cells: whole pixels each, unless that wastes much of the room."""
    rest = room % count
    return room - rest if rest < 0.15 * room else room


def shrunk(numbers: Floats, height: int, width: int) -> Floats:
    """Scale a matrix down to at most this size; each new cell is the mean of the area that it covers."""
    rows, columns = numbers.shape
    if rows > height:
        numbers = _areas(rows, height) @ numbers
    if columns > width:
        numbers = numbers @ _areas(columns, width).T
    return numbers


def enlarged(picture: Frame, height: int, width: int) -> Frame:
    """Scale a picture up to this size with sharp edges."""
    down, across = (np.arange(new) * old // new for old, new in zip(picture.shape, (height, width), strict=False))
    return picture[down][:, across]


def _areas(old: int, new: int) -> Floats:
    """Return the share of each of ``old`` cells in each of ``new`` cells of the same total length, (new, old)."""
    edges = np.arange(new + 1, dtype=np.float32) * (old / new)
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(old)
    overlap = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)

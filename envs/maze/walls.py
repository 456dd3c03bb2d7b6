"""The walls of a maze: one fixed layout of pillars, and random mazes drawn for many lifetimes at once.

Walls are booleans of shape (layouts, size, size), True for a wall. Rooms are the cells with odd row and
odd column; the walls between rooms are the cells with one odd and one even coordinate.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from plastic_rl.envs.maze.config import MazeConfig, RandomMazeConfig
from plastic_rl.envs.streams import Keys, draw

Walls = npt.NDArray[np.bool_]


class Layout(Protocol):
    """A source of walls for the dynamics.

    Attributes:
        fixed: whether every lifetime has the same walls.
        start: row and column where every lifetime starts.
        free_cells: number of free cells, the same for all walls of this source.
    """

    fixed: bool
    start: tuple[int, int]
    free_cells: int

    def draw(self, keys: Keys) -> Walls:
        """Return walls of shape (len(keys), size, size); the k-th are drawn from the stream ``keys[k]``."""
        ...


class PillarLayout:
    """An outer wall, and a pillar at every even row and column except the centre cell."""

    fixed = True

    def __init__(self, size: int) -> None:
        walls = np.zeros((size, size), dtype=np.bool_)
        walls[::2, ::2] = True
        walls[[0, -1]] = True
        walls[:, [0, -1]] = True
        self.start = (size // 2, size // 2)
        walls[self.start] = False
        self.free_cells = int(np.count_nonzero(~walls))
        self._walls = walls

    def draw(self, keys: Keys) -> Walls:
        """Return the same walls for every key."""
        return np.repeat(self._walls[None], len(keys), axis=0)


class RandomLayout:
    """Random perfect mazes from which a share of the inner walls is then removed.

    The maze is the minimum spanning tree of random weights on the walls between rooms, so its distribution is
    that of the randomised Kruskal algorithm. The tree is grown room by room (Prim), in all mazes at once. Then
    ``round(openness * walls left)`` walls, chosen at random, are removed: with 0 a perfect maze with one path
    between any two cells remains, with 1 only pillars.

    The start is the centre cell if that is a room, otherwise (size 5, 9, 13, ...) the room up and left of it.
    """

    fixed = False

    def __init__(self, size: int, openness: float) -> None:
        self._size = size
        rooms = size // 2
        centre = size // 2
        self.start = (centre, centre) if centre % 2 else (centre - 1, centre - 1)

        index = np.arange(rooms * rooms).reshape(rooms, rooms)
        across = np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()])
        down = np.stack([index[:-1].ravel(), index[1:].ravel()])
        # The two rooms on either side of each inner wall, shape (2, inner walls).
        self._ends = np.concatenate([across, down], axis=1)
        row, column = np.divmod(self._ends, rooms)
        # Rooms r and r + 1 are the cells 2r + 1 and 2r + 3, so the wall is the cell r + (r + 1) + 1.
        self._wall_cells = (row.sum(axis=0) + 1) * size + column.sum(axis=0) + 1
        inner = self._ends.shape[1]
        self._touches = np.zeros((rooms * rooms, inner), dtype=np.bool_)
        self._touches[self._ends, np.arange(inner)] = True

        left = inner - (rooms * rooms - 1)
        self._extra = round(openness * left)
        self.free_cells = 2 * rooms * rooms - 1 + self._extra
        self._closed = np.ones(size * size, dtype=np.bool_)
        self._closed.reshape(size, size)[1::2, 1::2] = False

    def draw(self, keys: Keys) -> Walls:
        """Return one maze for each key."""
        inner = self._ends.shape[1]
        bits = draw(keys[:, None], np.arange(2 * inner))
        doors = self._spanning_trees(bits[:, :inner])
        if self._extra:
            # Walls that are already doors are sorted last, the others in random order.
            order = np.where(doors, np.uint64(2**64 - 1), bits[:, inner:])
            chosen = np.argpartition(order, self._extra - 1, axis=1)[:, : self._extra]
            np.put_along_axis(doors, chosen, True, axis=1)
        walls = np.repeat(self._closed[None], len(keys), axis=0)
        walls[:, self._wall_cells] = ~doors
        return walls.reshape(len(keys), self._size, self._size)

    def _spanning_trees(self, weights: Keys) -> Walls:
        """Return which inner walls are doors of the minimum spanning tree, shape (mazes, inner walls)."""
        mazes, inner = weights.shape
        rows = np.arange(mazes)
        doors = np.zeros((mazes, inner), dtype=np.bool_)
        visited = np.zeros((mazes, len(self._touches)), dtype=np.bool_)
        visited[:, 0] = True
        frontier = np.repeat(self._touches[:1], mazes, axis=0)
        for _ in range(len(self._touches) - 1):
            door = np.where(frontier, weights, np.uint64(2**64 - 1)).argmin(axis=1)
            one, other = self._ends[:, door]
            room = np.where(visited[rows, one], other, one)
            doors[rows, door] = True
            visited[rows, room] = True
            # A wall enters the frontier when its first room is visited and leaves it with the second.
            frontier ^= self._touches[room]
        return doors


def make_layout(config: MazeConfig) -> Layout:
    """Return the layout of a maze with these settings."""
    if isinstance(config, RandomMazeConfig):
        return RandomLayout(config.size, config.openness)
    return PillarLayout(config.size)

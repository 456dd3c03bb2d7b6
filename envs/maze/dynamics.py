"""The maze itself: many lifetimes stepped at once with numpy, without a Python loop over environments.

The single and the vector environment both run this code, the single one with a batch of 1.
"""

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from plastic_rl.envs.base import Bools, Floats, Ints, Observations
from plastic_rl.envs.maze.config import MazeConfig
from plastic_rl.envs.maze.walls import Layout, Walls
from plastic_rl.envs.streams import Keys, below, draw


class Action(IntEnum):
    """The four moves. Rows count downwards and columns to the right."""

    UP = 0
    RIGHT = 1
    DOWN = 2
    LEFT = 3


# Row and column change of each action, in the order of Action.
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])

# The streams that a lifetime's random stream is split into. So what happens in a lifetime (the number of
# hits) never changes the next lifetime: two agents with the same seed face the same mazes.
_GOAL, _TELEPORT, _LAYOUT = range(3)


# The attributes that a lifetime changes, and those that it also changes where walls are drawn anew.
_STATE = (
    "steps", "hits", "returns", "lifetimes", "_at", "_goal", "_last_action", "_last_reward",
    "_stream", "_teleport_stream",
)  # fmt: skip
_WALLS = ("_blocked", "_scenery", "_free", "_goal_cells", "_goal_count")


class MazeDynamics:
    """A batch of mazes of one kind, each at any step of its lifetime.

    Cells are stored as flat indices into the walls of the whole batch, with a border of ``view // 2``
    extra wall cells around each maze so that every field of view lies inside.

    Args:
        config: the settings.
        layout: source of the walls.
        num_envs: number of mazes.
        trail: number of past cells to remember in each maze, for pictures; 0 for none.

    Attributes:
        steps: steps taken in the running lifetime, shape (num_envs,).
        hits: number of times that the goal was reached in it, shape (num_envs,).
        returns: sum of its rewards, shape (num_envs,).
        lifetimes: lifetimes begun since the stream was seeded, shape (num_envs,).
        begun: counter of lifetimes begun and states set, shape (num_envs,); while it is unchanged, so are walls and
            goal.
    """

    def __init__(self, config: MazeConfig, layout: Layout, num_envs: int, trail: int = 0) -> None:
        self.config = config
        self.layout = layout
        self.num_envs = num_envs

        self._pad = config.view // 2
        self._side = config.size + 2 * self._pad
        cells = self._side**2
        layouts = 1 if layout.fixed else num_envs
        # The same walls twice: as booleans for moving, as float32 for copying into observations.
        self._blocked = np.ones((layouts, cells), dtype=np.bool_)
        self._scenery = np.ones((layouts, cells), dtype=np.float32)
        self._row_of = np.zeros(num_envs, dtype=np.int64) if layout.fixed else np.arange(num_envs)
        self._base = self._row_of * cells
        # Free cells in ascending order, and the cells where a goal may be, padded to the longest row.
        self._free = np.zeros((layouts, layout.free_cells), dtype=np.int64)
        self._goal_cells = np.zeros((layouts, layout.free_cells), dtype=np.int64)
        self._goal_count = np.zeros(layouts, dtype=np.int64)

        rows, columns = np.divmod(np.arange(cells), self._side)
        self._coordinates = np.stack([rows, columns], axis=1) - self._pad
        self._start = self._flat(*layout.start)
        self._may_hold_goal = np.ones(cells, dtype=np.bool_)
        if config.goal == "periphery":
            ring = np.zeros((config.size, config.size), dtype=np.bool_)
            ring[1:-1, 1:-1] = True
            ring[2:-2, 2:-2] = False
            self._may_hold_goal[:] = self._padded(ring[None], fill=False)[0]
        self._may_hold_goal[self._start] = False

        self._move = MOVES @ np.array([self._side, 1])
        around = np.arange(config.view) - self._pad
        self._view_offsets = (around[:, None] * self._side + around).ravel()
        # The fifth row stands for "no action yet".
        self._one_hot = np.eye(len(Action) + 1, len(Action), dtype=np.float32)
        # 0 - penalty and not -penalty: a penalty of zero must not give rewards of -0.0.
        self._bump_reward = np.array([0.0, 0.0 - config.wall_penalty])

        self.steps = np.zeros(num_envs, dtype=np.int64)
        self.hits = np.zeros(num_envs, dtype=np.int64)
        self.returns = np.zeros(num_envs)
        self.lifetimes = np.zeros(num_envs, dtype=np.int64)
        self.begun = np.zeros(num_envs, dtype=np.int64)
        self._at = self._base + self._start
        self._goal = self._at.copy()
        self._last_action = np.full(num_envs, len(Action))
        self._last_reward = np.zeros(num_envs)
        self._stream = np.zeros(num_envs, dtype=np.uint64)
        self._teleport_stream = np.zeros(num_envs, dtype=np.uint64)

        self._trail_length = trail
        # The cell that each step of the trail led to, and the cell after a teleport, if there was one.
        self._trail_reached = np.zeros((trail, num_envs), dtype=np.int64)
        self._trail_stood = np.zeros((trail, num_envs), dtype=np.int64)
        self._trail_from = np.zeros(num_envs, dtype=np.int64)  # first step of the lifetime in the trail

        if layout.fixed:
            self._set_walls(np.zeros(1, dtype=np.int64), layout.draw(np.zeros(1, dtype=np.uint64)))

    def _flat(self, row: int, column: int) -> int:
        """Return the flat index of a cell within its own maze."""
        return (row + self._pad) * self._side + column + self._pad

    def seed(self, keys: Keys, where: Bools) -> None:
        """Give the mazes ``where`` new random streams; both arguments have shape (num_envs,)."""
        self._stream[where] = keys[where]
        self.lifetimes[where] = 0

    def begin(self, which: Ints) -> None:
        """Begin the next lifetime of the mazes with the indices ``which``, shape (k,)."""
        life = draw(self._stream[which], self.lifetimes[which])
        self.lifetimes[which] += 1
        self.begun[which] += 1
        if not self.layout.fixed:
            self._set_walls(which, self.layout.draw(draw(life, _LAYOUT)))
        row = self._row_of[which]
        goal_bits = draw(draw(life, _GOAL), 0)
        self._goal[which] = self._goal_cells[row, below(goal_bits, self._goal_count[row])] + self._base[which]
        self._teleport_stream[which] = draw(life, _TELEPORT)
        self._at[which] = self._base[which] + self._start
        self.steps[which] = 0
        self.hits[which] = 0
        self.returns[which] = 0.0
        self._trail_from[which] = 0
        self._last_action[which] = len(Action)
        self._last_reward[which] = 0.0

    def step(self, actions: Ints) -> tuple[Floats, Bools]:
        """Move every agent once.

        Args:
            actions: values of :class:`Action`, shape (num_envs,).

        Returns:
            The rewards, and whether each lifetime has now ended, both of shape (num_envs,). The arrays are new and
            belong to the caller.
        """
        target = self._at + self._move.take(actions)
        bumped = self._blocked.take(target)
        # copyto instead of where: it works in place and saves an allocation.
        np.copyto(target, self._at, where=bumped)
        self._at = target
        rewards = self._bump_reward.take(bumped)
        hit = (target == self._goal).nonzero()[0]
        self.steps += 1
        if self._trail_length:
            now = (self.steps - 1) % self._trail_length, np.arange(self.num_envs)
            self._trail_reached[now] = target
        if hit.size:
            rewards[hit] = self.config.reward
            target[hit] = self._restart_cells(hit)
            self.hits[hit] += 1
        if self._trail_length:
            self._trail_stood[now] = target
        self.returns += rewards
        self._last_action = actions.copy()
        self._last_reward = rewards.copy()
        return rewards, self.steps >= self.config.lifetime

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of everything that changes, except the trail, for ``set_state``."""
        names = _STATE if self.layout.fixed else _STATE + _WALLS
        kind = np.array([self.config.size, self.config.view, self.config.lifetime])
        return {"kind": kind, **{name: getattr(self, name).copy() for name in names}}

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state of the same number of mazes of the same kind.

        Raises:
            ValueError: the state belongs to mazes of another kind or number, or with other lifetimes.
        """
        current = self.get_state()
        shapes = {name: array.shape for name, array in current.items()}
        given = {name: np.shape(array) for name, array in state.items()}
        if shapes != given:
            raise ValueError(f"state has arrays of shapes {given}: expected {shapes}, of {self.num_envs} such mazes")
        kind = current.pop("kind")
        if (state["kind"] != kind).any():
            raise ValueError(
                f"state is of mazes with size, view and lifetime {[*map(int, state['kind'])]}: "
                f"expected {[*map(int, kind)]}"
            )
        for name, array in current.items():
            setattr(self, name, np.array(state[name], dtype=array.dtype))
        self.begun += 1
        self._trail_from = self.steps.copy()

    def observe(self) -> Observations:
        """Return fresh observations, shape (num_envs, config.observation_size)."""
        seen = self._view_offsets.size
        observations = np.empty((self.num_envs, seen + 6), dtype=np.float32)
        observations[:, :seen] = self._scenery.take(self._at[:, None] + self._view_offsets)
        observations[:, seen:-2] = self._one_hot.take(self._last_action, axis=0)
        observations[:, -2] = self._last_reward
        observations[:, -1] = self.steps / self.config.lifetime
        return observations

    def info(self) -> dict[str, Ints]:
        """Return fresh arrays: goal and position (row, column), shape (num_envs, 2); hits, (num_envs,)."""
        return {"goal": self.goals(), "position": self.positions(), "hits": self.hits.copy()}

    def goals(self) -> Ints:
        """Return row and column of each goal, shape (num_envs, 2)."""
        return self._coordinates.take(self._goal - self._base, axis=0)

    def possible_goals(self) -> Ints:
        """Return row and column of every cell where the goal of the first maze may be, shape (cells, 2)."""
        return self._coordinates[self._goal_cells[0, : self._goal_count[0]]]

    def positions(self) -> Ints:
        """Return row and column of each agent, shape (num_envs, 2)."""
        return self._coordinates.take(self._at - self._base, axis=0)

    def walls(self) -> Walls:
        """Return the walls of every maze, shape (num_envs, size, size)."""
        grid = self._blocked.reshape(-1, self._side, self._side)
        inner = grid[:, self._pad : self._side - self._pad, self._pad : self._side - self._pad]
        return inner[self._row_of]

    def trail(self, index: int) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Return the recent path in maze ``index``, oldest cell first, cut into runs at each teleport."""
        steps = int(self.steps[index])
        kept = min(steps - int(self._trail_from[index]), self._trail_length)
        slots = np.arange(steps - kept, steps) % max(1, self._trail_length)
        runs: list[list[int]] = [[self._start] if steps == kept else []]
        base = self._base[index]
        reached, stood = self._trail_reached[slots, index] - base, self._trail_stood[slots, index] - base
        for there, here in zip(reached.tolist(), stood.tolist(), strict=True):
            runs[-1].append(there)
            if here != there:
                runs.append([here])
        cells = [tuple(place) for place in self._coordinates.tolist()]
        return tuple(tuple(cells[place] for place in run) for run in runs)

    def _restart_cells(self, hit: Ints) -> Ints:
        """Return where the agents with the indices ``hit``, which stand on their goals, are put."""
        if self.config.teleport == "center":
            return self._base[hit] + self._start
        row, base = self._row_of[hit], self._base[hit]
        goal = self._goal[hit] - base
        bits = draw(self._teleport_stream[hit], self.hits[hit])
        place = below(bits, self.layout.free_cells - 1)
        cell = self._free[row, place]
        # Free cells are in ascending order: from the goal on, take the next one.
        return base + np.where(cell < goal, cell, self._free[row, place + 1])

    def _set_walls(self, which: Ints, walls: Walls) -> None:
        """Store walls of shape (k, size, size) for the layouts ``which`` and index their cells."""
        padded = self._padded(walls, fill=True)
        self._blocked[which] = padded
        self._scenery[which] = padded
        self._free[which] = np.nonzero(~padded)[1].reshape(len(which), -1)
        rows, cells = np.nonzero(~padded & self._may_hold_goal)
        count = np.bincount(rows, minlength=len(which))
        place = np.arange(len(rows)) - (np.cumsum(count) - count)[rows]
        self._goal_cells[which[rows], place] = cells
        self._goal_count[which] = count

    def _padded(self, grids: Walls, fill: bool) -> Walls:
        """Return grids of shape (k, size, size) as (k, cells) with the border that the view needs."""
        border = (self._pad, self._pad)
        padded = np.pad(grids, ((0, 0), border, border), constant_values=fill)
        return padded.reshape(len(grids), -1)

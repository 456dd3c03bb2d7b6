"""The settings of every maze: each with its default, its meaning and its check, here and nowhere else.

This module loads neither numpy nor Gymnasium, so that a command line can read it at once.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from plastic_rl.checks import check_choice, check_within, finite_number, whole_number

Goal = Literal["anywhere", "periphery"]
Teleport = Literal["random", "center"]

LONGEST = 10**9  # steps in a lifetime


@dataclass(frozen=True)
class MazeConfig:
    """Settings of :class:`~plastic_rl.envs.GridMaze`.

    Raises:
        ValueError: a setting is out of its range.
    """

    size: int = 11
    """Cells a side of the maze, outer wall included: odd, at least 5."""
    lifetime: int = 250
    """Steps in a lifetime, from 1 to a billion."""
    reward: float = 10.0
    """Reward for reaching the goal, above 0."""
    wall_penalty: float = 0.1
    """Cost of moving into a wall, at least 0."""
    view: int = 3
    """Cells a side of the square that the agent sees: odd."""
    goal: Goal = "anywhere"
    """Where goals are drawn; the periphery is the outermost ring of cells."""
    teleport: Teleport = "random"
    """Where the agent goes after it has reached the goal."""

    def __post_init__(self) -> None:
        """Check every setting and turn whole floats and NumPy's numbers into Python's."""
        checked = {
            "size": whole_number("size", self.size, 5, odd=True),
            "lifetime": whole_number("lifetime", self.lifetime, 1),
            "reward": finite_number("reward", self.reward, 0.0, above=True),
            "wall_penalty": finite_number("wall_penalty", self.wall_penalty, 0.0),
            "view": whole_number("view", self.view, 1, odd=True),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        check_within("lifetime", self.lifetime, 1, LONGEST)
        check_choice("goal", self.goal, get_args(Goal))
        check_choice("teleport", self.teleport, get_args(Teleport))

    @property
    def observation_size(self) -> int:
        """Length of an observation: the view, the previous action (4) and reward, the elapsed fraction."""
        return self.view**2 + 6


@dataclass(frozen=True)
class RandomMazeConfig(MazeConfig):
    """Settings of :class:`~plastic_rl.envs.RandomMaze`.

    Raises:
        ValueError: a setting is out of its range.
    """

    openness: float = 0.2
    """Of RandomMaze: share of inner walls removed, from 0 (one path between any two cells) to 1 (pillars alone)."""

    def __post_init__(self) -> None:
        """Check every setting."""
        super().__post_init__()
        object.__setattr__(self, "openness", finite_number("openness", self.openness, 0.0, 1.0))

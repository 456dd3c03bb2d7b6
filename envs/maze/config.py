"""The settings that every maze has, and their checks."""

import math
from dataclasses import dataclass
from typing import Any

GOALS = ("anywhere", "periphery")
TELEPORTS = ("random", "center")
LONGEST = 10**9  # steps in a lifetime


def require_int(name: str, value: Any, minimum: int, odd: bool = False) -> int:
    """Return ``value`` as an int, or raise ValueError if it is not an (odd) whole number >= ``minimum``."""
    kind = "an odd whole number" if odd else "a whole number"
    try:
        # Whole floats and numpy integers are what users' arithmetic gives; True and "11" are slips.
        number = int(value) if not isinstance(value, (bool, str)) and value == int(value) else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or number < minimum or (odd and number % 2 == 0):
        hint = ""
        if number is not None and number >= minimum:
            hint = f"; the nearest are {number - 1} and {number + 1}"
            if number - 1 < minimum:
                hint = f"; the nearest is {number + 1}"
        raise ValueError(f"{name} must be {kind}, at least {minimum}, but is {value!r}{hint}.")
    return number


def require_float(name: str, value: Any, low: float, high: float = math.inf, open_low: bool = False) -> float:
    """Return ``value`` as a float, or raise ValueError if it is not a finite number within the bounds."""
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or not low <= number <= high or (open_low and number == low):
        bounds = f"above {low:g}" if open_low else f"at least {low:g}"
        if high != math.inf:
            bounds += f" and at most {high:g}"
        raise ValueError(f"{name} must be a finite number {bounds}, but is {value!r}.")
    return number


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return ``value``, or raise ValueError if it is none of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, but is {value!r}.")
    return str(value)


@dataclass(frozen=True)
class MazeConfig:
    """What a maze is like; the layout of its walls apart.

    Attributes:
        size: cells a side, outer wall included; odd, at least 5.
        lifetime: steps in a lifetime, from 1 to a billion.
        reward: what reaching the goal pays, above 0.
        wall_penalty: what moving into a wall costs, at least 0.
        view: cells a side of the square that the agent sees; odd.
        goal: where goals are drawn, "anywhere" or "periphery" (the outermost ring of cells).
        teleport: where the agent goes after reaching the goal, "random" or "center".

    Raises:
        ValueError: a setting is out of its range.
    """

    size: int = 11
    lifetime: int = 250
    reward: float = 10.0
    wall_penalty: float = 0.1
    view: int = 3
    goal: str = "anywhere"
    teleport: str = "random"

    def __post_init__(self) -> None:
        checked = {
            "size": require_int("size", self.size, 5, odd=True),
            "lifetime": require_int("lifetime", self.lifetime, 1),
            "reward": require_float("reward", self.reward, 0.0, open_low=True),
            "wall_penalty": require_float("wall_penalty", self.wall_penalty, 0.0),
            "view": require_int("view", self.view, 1, odd=True),
            "goal": require_choice("goal", self.goal, GOALS),
            "teleport": require_choice("teleport", self.teleport, TELEPORTS),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.lifetime > LONGEST:
            raise ValueError(f"lifetime must be at most {LONGEST}, but is {self.lifetime}.")

    @property
    def observation_size(self) -> int:
        """Length of an observation: the view, the previous action (4) and reward, the elapsed fraction."""
        return self.view**2 + 6

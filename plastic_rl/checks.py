"""Checks of arguments and settings: one wording for every bound, what is wrong and what was expected.

An unknown name of an argument is a TypeError, as in Python.
"""

import difflib
import math
from collections.abc import Collection, Iterable
from typing import Any


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError if ``value`` is below ``least``, or not a number."""
    if not value >= least:
        raise ValueError(f"{name} is {value}: expected at least {least}")


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError if ``value`` is outside ``[low, high]``, or not a number."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}: expected {low} to {high}")


def check_choice(name: str, value: Any, choices: Iterable[str], otherwise: str = "") -> None:
    """Raise ValueError if ``value`` is none of ``choices``; ``otherwise`` names what else would do."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(choices)}{otherwise}")


def check_used(what: str, given: Iterable[str], unused: Collection[str]) -> None:
    """Raise ValueError if ``what`` is given settings that are among its ``unused`` ones."""
    if useless := [name for name in given if name in unused]:
        them = "it" if len(useless) == 1 else "them"
        raise ValueError(f"{what} has no use for {', '.join(useless)}: leave {them} out, or choose another core")


def check_names(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError if ``owner`` (a class, say) does not have a setting of one of the names ``given``."""
    known = tuple(known)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]}? " if close else ""
            raise TypeError(f"{owner} has no setting {name!r}: {guess}It has {', '.join(known)}")


def check_shape(name: str, tensor: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError if a tensor or an array has another shape."""
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {tuple(shape)}")


def whole_number(name: str, value: Any, least: int, odd: bool = False) -> int:
    """Return ``value`` as an int; raise ValueError if it is not an (odd) whole number of at least ``least``.

    Whole floats and numpy's integers are accepted, as users' arithmetic gives them; True and "11" are not.
    """
    try:
        number = int(value) if not isinstance(value, (bool, str)) and value == int(value) else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or number < least or (odd and number % 2 == 0):
        hint = ""
        if number is not None and number >= least:
            hint = f"; the nearest are {number - 1} and {number + 1}"
            if number - 1 < least:
                hint = f"; the nearest is {number + 1}"
        kind = "an odd whole number" if odd else "a whole number"
        raise ValueError(f"{name} is {value!r}: expected {kind} of at least {least}{hint}")
    return number


def finite_number(name: str, value: Any, low: float, high: float = math.inf, above: bool = False) -> float:
    """Return ``value`` as a float; raise ValueError if it is not finite or outside the bounds.

    ``above``: whether ``low`` itself is excluded.
    """
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or not low <= number <= high or (above and number == low):
        bounds = f"above {low:g}" if above else f"of at least {low:g}"
        if high != math.inf:
            bounds += f" and at most {high:g}"
        raise ValueError(f"{name} is {value!r}: expected a finite number {bounds}")
    return number

"""What a picture of a network shows: its present state, and the scales that all pictures of a lifetime share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Mind:
    """Everything that a picture of a network shows. T actions have been chosen; the last one has not been taken yet.

    Attributes:
        activity: activity of the neurons at each step, shape (T, N).
        plastic: the present alpha * trace, (N, N) by [from, to], or None for a network without plasticity.
        strengths: mean of abs(alpha * trace) at each step, (T,); empty without plasticity.
        values: value estimate at each step, (T,).
        actions: probability of each action, from 0 to 1, or means of continuous actions, from -1 to 1; shape (A,). The
            picture leaves them out if there are none or too many.
        chosen: the next action, or None if the lifetime is over or actions are continuous.
        signed: whether the actions are means of continuous ones.
        names: what each action means, in a word; empty if that is not known.
        counts: whether the next action matters to the environment.
        hits: steps at which the result of a success was first seen: a goal reached, a right answer.
        misses: the same for failures.
        outcomes: what a hit and a miss are called; "" for what does not exist.
        eligibility: the present alpha * eligibility, (N, N), or None without retroactive modulation.
        modulation: modulatory signal M at each step, (T,); empty without modulation.
        modulation_range: least and greatest possible M.
        frozen: whether the trace is frozen.
    """

    activity: Floats
    plastic: Floats | None
    strengths: Sequence[float]
    values: Sequence[float]
    actions: Floats
    chosen: int | None
    signed: bool = False
    names: Sequence[str] = ()
    counts: bool = True
    hits: Sequence[int] = ()
    misses: Sequence[int] = ()
    outcomes: tuple[str, str] = ("", "")
    eligibility: Floats | None = None
    modulation: Sequence[float] = ()
    modulation_range: tuple[float, float] = (-1.0, 1.0)
    frozen: bool = False


@dataclass(frozen=True, eq=False)
class Scales:
    """What all pictures of a lifetime have in common, found in a lifetime that is not shown.

    Attributes:
        order: order of the neurons, (N,); neurons that are active together stand together.
        plastic: absolute value of the plastic part that has the full colour.
        eligibility: the same for alpha * eligibility; None without retroactive modulation.
        values: lowest and highest value estimate; the range includes zero.
        strength: highest strength.
        steps: number of the last step of a lifetime, counted from 0.
    """

    order: npt.NDArray[np.int64]
    plastic: float
    eligibility: float | None
    values: tuple[float, float]
    strength: float
    steps: int

    @classmethod
    def of(cls, mind: Mind) -> "Scales":
        """Return the scales that suit a whole lifetime."""
        activity = mind.activity.astype(np.float64)
        # First principal direction of the activity: the trace, a running mean of its products, grows along it.
        _, directions = np.linalg.eigh(activity.T @ activity)
        return cls(
            order=np.argsort(directions[:, -1], kind="stable"),
            plastic=1.0 if mind.plastic is None else _most(mind.plastic),
            eligibility=None if mind.eligibility is None else _most(mind.eligibility),
            values=(min(0.0, *mind.values), max(0.0, *mind.values)),
            strength=max(mind.strengths, default=0.0),
            steps=max(1, len(mind.values) - 1),
        )


def _most(matrix: Floats) -> float:
    """Return a round number that only the largest absolute values of a matrix exceed."""
    return rounded_up(float(np.percentile(np.abs(matrix), 98)), range(1, 11))


def rounded_up(number: float, digits: Sequence[float] = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)) -> float:
    """Return the next larger round number, one of the digits times a power of ten; 1 for what is out of all bounds."""
    if not 1e-30 < number < 1e30:
        return 1.0
    power = 10.0 ** np.floor(np.log10(number))
    digit = next((digit for digit in digits if digit >= number / power - 1e-9), 10)
    return float(f"{digit * power:.2g}")

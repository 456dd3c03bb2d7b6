"""What evaluation, viewing and checkpoints may ask of an environment, beyond Gymnasium's own interface.

An environment offers one of these by having its methods; nothing is inherited or registered. Ask the unwrapped
environment: ``isinstance(env.unwrapped, Measured)``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from plastic_rl.envs.drawing import Frame

__all__ = ["Measure", "Measured", "Pictured", "Playable", "Resumable", "Shown", "Snapshot", "Words"]

# What a picture shows: what an agent observes; the whole scene, without what is hidden from agents; or everything.
Shown = Literal["observed", "scene", "everything"]


class Measure(NamedTuple):
    """How a table shows one of the numbers of ``Measured.digest``.

    Attributes:
        title: of its column.
        form: of the number, for ``str.format``.
    """

    title: str
    form: str


class Words(NamedTuple):
    """What the results in an environment are called.

    Attributes:
        oracle: the best play.
        oracle_in_full: the same, with a hint at what it knows.
        hit: a step with a positive reward.
        measures: the numbers of ``Measured.digest``, by name.
        milestones: returns; of agents in training it is said how long they take to reach them.
    """

    oracle: str
    oracle_in_full: str
    hit: str
    measures: Mapping[str, Measure]
    milestones: tuple[float, ...] = ()


@runtime_checkable
class Measured(Protocol):
    """An environment that knows what its best and its random play collect, in lifetimes of a fixed length."""

    @property
    def lifetime(self) -> int:
        """Steps in a lifetime."""
        ...

    def oracle_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of the best play; the environment says what that play knows."""
        ...

    def random_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of uniformly random actions."""
        ...

    def digest(self, rewards: npt.NDArray[np.float64]) -> dict[str, float | None]:
        """Return numbers that say how well lifetimes went and whether something was learned in them, by name.

        Args:
            rewards: of E whole lifetimes of T steps, ``(E, T)``.

        Returns:
            None where nothing happened that a number could be computed from.
        """
        ...

    def words(self) -> Words:
        """Return what the results are called."""
        ...


class Snapshot(Protocol):
    """A moment of a lifetime; it does not change when the environment goes on."""

    @property
    def total_reward(self) -> float:
        """Sum of the rewards of this lifetime."""
        ...

    @property
    def score(self) -> str:
        """How successful this lifetime was so far, besides its return, in a few words."""
        ...

    @property
    def hits(self) -> int:
        """How often this lifetime was successful so far: right answers, visits of a goal."""
        ...

    @property
    def misses(self) -> int:
        """How often it was not: wrong answers; 0 where nothing can go wrong."""
        ...

    @property
    def outcomes(self) -> tuple[str, str]:
        """What a hit and a miss are called; "" for a miss where there is none."""
        ...

    @property
    def actions(self) -> tuple[str, ...]:
        """What each action means, in a word; pictures have arrows for up, right, down and left."""
        ...

    @property
    def prompt(self) -> str:
        """What to tell a person who plays, in a few words."""
        ...

    @property
    def awaits_action(self) -> bool:
        """Whether the next action matters; if not, play goes on by itself with action 0."""
        ...

    def picture(self, shown: Shown = "everything", width: int = ...) -> "Frame":
        """Return an RGB picture, uint8 of shape (height, width, 3).

        Args:
            shown: what to show.
            width: approximate width in pixels without the margins; by default that of a slide, ``TARGET_WIDTH``.
        """
        ...

    def text(self) -> str:
        """Return a picture made of characters."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """An environment that the viewer can draw at the size that it needs, and whose hits it can mark."""

    def snapshot(self) -> Snapshot:
        """Return the present moment."""
        ...


@runtime_checkable
class Playable(Pictured, Protocol):
    """An environment that a person can play with a keyboard."""

    def keys(self) -> Mapping[str, int]:
        """Return the actions by the names of their keys, as pygame calls them."""
        ...

    def keys_help(self) -> str:
        """Return in words what the keys do."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A vector environment that can be put back into the middle of its episodes."""

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all that changes, random streams included, as arrays by name."""
        ...

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``get_state`` returned; raise ValueError if it does not fit."""
        ...

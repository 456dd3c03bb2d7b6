"""What evaluation, viewing and checkpoints may ask of an environment, beyond Gymnasium's own interface.

An environment offers one of these by having its methods; nothing is inherited or registered. Ask the unwrapped
environment: ``isinstance(env.unwrapped, Measured)``.
"""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy.typing as npt

if TYPE_CHECKING:
    from plastic_rl.envs.maze.pictures import MazeState

__all__ = ["Measured", "Pictured", "Resumable"]


@runtime_checkable
class Measured(Protocol):
    """An environment that knows what its best and its random play collect, in lifetimes of a fixed length."""

    @property
    def lifetime(self) -> int:
        """Steps in a lifetime."""
        ...

    def oracle_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of an agent that knows all that is hidden."""
        ...

    def random_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of uniformly random actions."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """A maze, which the viewer draws itself, at the size that it needs."""

    def maze_state(self) -> "MazeState":
        """Return what a picture shows now."""
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

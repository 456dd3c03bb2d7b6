"""What a task is. The trainer knows no more of it than this; docs/tasks.md shows a whole one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from plastic_rl.tasks.networks import CoreSettings

EpisodesT = TypeVar("EpisodesT", bound=tuple)


class Task(ABC, Generic[EpisodesT]):
    """Draws episodes, takes a network through them, and scores what it answers at the end.

    Episodes are a NamedTuple of tensors, of a shape that is the task's own affair. B is how many there are.

    Attributes:
        measures: the names of the metrics. The first is shown while training; without any, the loss is.
        levels: values of the first to compare with, by name, such as that of chance.
    """

    measures: ClassVar[tuple[str, ...]] = ()
    levels: Mapping[str, float] = {}

    @abstractmethod
    def network(self, core: CoreSettings) -> nn.Module:
        """Return a new network for this task, around a core of these settings.

        Raises:
            ValueError: the settings do not fit the task.
        """

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> EpisodesT:
        """Draw B = count episodes; randomness from the generator only, tensors on ``generator.device``."""

    @abstractmethod
    def run(self, network: nn.Module, episodes: EpisodesT) -> Tensor:
        """Take the network through the episodes; return its answers, ``(B, ...)``."""

    @abstractmethod
    def loss(self, prediction: Tensor, episodes: EpisodesT) -> Tensor:
        """Return what gradient descent makes small: a scalar, the mean over episodes."""

    @abstractmethod
    def metrics(self, prediction: Tensor, episodes: EpisodesT) -> dict[str, Tensor]:
        """Return the measures by name: ``(B,)`` each, one value per episode."""

    def held_out(self) -> "Task[EpisodesT]":
        """Return the task on data kept apart from training; this one itself where it draws without end."""
        return self

    def draw(self, path: Path, prediction: Tensor, episodes: EpisodesT) -> None:
        """Draw what was shown, asked and answered into a PNG file; tensors on the CPU. By default, no picture."""

    def course(self, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return what the rows of metrics.csv (one per update) tell, for summary.json. By default, nothing."""
        return {}

"""What a task is. The trainer knows no more of it than this; docs/tasks.md shows a whole one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from plastic_rl.modules.cores import CoreSettings

EpisodesT = TypeVar("EpisodesT", bound=tuple)


class Task(ABC, Generic[EpisodesT]):
    """Draws episodes, takes a network through them, and scores what it answers at the end.

    Episodes are a NamedTuple of tensors, of a shape that is the task's own affair. B is how many there are.

    Attributes:
        measures: the names of the metrics. The first is shown while training; without any, the loss is.
        levels: values of the first to compare with, by name, such as that of chance.
        tested_together: episodes that a finished network is tested on at a time.
        pictured: episodes that ``draw`` is given.
    """

    measures: ClassVar[tuple[str, ...]] = ()
    levels: Mapping[str, float] = {}
    tested_together: ClassVar[int] = 10
    pictured: ClassVar[int] = 6

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

    def tests(self) -> "dict[str, Task[EpisodesT]]":
        """Return the tasks that a finished network is tested on, by the part of the data.

        By default ``"train"`` and ``"heldout"``, or ``""`` where nothing is held out.
        """
        fresh = self.held_out()
        return {"": self} if fresh is self else {"train": self, "heldout": fresh}

    def validation(self) -> "Task[EpisodesT] | None":
        """Return the task on data by which the weights that are kept are chosen. By default, there is none."""
        return None

    def score(self, means: Mapping[str, float]) -> float:
        """Return what validation is to make large, given the means of the loss and the metrics: minus the loss."""
        return -means["loss"]

    def digest(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return what the metrics of all tested episodes, ``(episodes,)`` each, come to: by default their means."""
        return {name: value.double().mean().item() for name, value in values.items()}

    def draw(self, path: Path, prediction: Tensor, episodes: EpisodesT) -> None:
        """Draw what was shown, asked and answered into a PNG file; tensors on the CPU. By default, no picture."""

    def course(self, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return what the rows of metrics.csv tell, for summary.json. By default, nothing."""
        return {}

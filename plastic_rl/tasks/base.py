"""The interface of a task, which is all that the trainer knows of it; docs/tasks.md shows a complete example."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from plastic_rl.modules.cores import CoreSettings

EpisodesT = TypeVar("EpisodesT", bound=tuple)


class Task(ABC, Generic[EpisodesT]):
    """Draws episodes, runs a network through them, and scores its answers at the end.

    Episodes are a NamedTuple of tensors; their shapes are up to the task. B is the number of episodes.

    Attributes:
        measures: the names of the metrics. Training shows the first, or the loss if there are none.
        levels: values of the first metric to compare with, by name, such as the chance level.
        tested_together: number of episodes in a batch when a finished network is tested.
        pictured: number of episodes that ``draw`` receives.
    """

    measures: ClassVar[tuple[str, ...]] = ()
    levels: Mapping[str, float] = {}
    tested_together: ClassVar[int] = 10
    pictured: ClassVar[int] = 6

    @abstractmethod
    def network(self, core: CoreSettings) -> nn.Module:
        """Return a new network for this task, around a core with these settings.

        Raises:
            ValueError: the settings do not fit the task.
        """

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> EpisodesT:
        """Draw B = ``count`` episodes. All randomness is the generator's; tensors are on ``generator.device``."""

    @abstractmethod
    def run(self, network: nn.Module, episodes: EpisodesT) -> Tensor:
        """Run the network through the episodes and return its answers, ``(B, ...)``."""

    @abstractmethod
    def loss(self, prediction: Tensor, episodes: EpisodesT) -> Tensor:
        """Return the loss that gradient descent minimizes: a scalar, the mean over episodes."""

    @abstractmethod
    def metrics(self, prediction: Tensor, episodes: EpisodesT) -> dict[str, Tensor]:
        """Return the metrics by name: ``(B,)`` each, one value per episode."""

    def held_out(self) -> "Task[EpisodesT]":
        """Return the task on data kept apart from training; the task itself if every episode is new anyway."""
        return self

    def tests(self) -> "dict[str, Task[EpisodesT]]":
        """Return the tasks that test a finished network, by the part of the data that they use.

        By default these are ``"train"`` and ``"heldout"``, or only ``""`` if nothing is held out.
        """
        fresh = self.held_out()
        return {"": self} if fresh is self else {"train": self, "heldout": fresh}

    def validation(self) -> "Task[EpisodesT] | None":
        """Return the task on the data that selects the weights to keep. By default, there is none."""
        return None

    def score(self, means: Mapping[str, float]) -> float:
        """Return what validation maximizes, given the means of loss and metrics. By default, minus the loss."""
        return -means["loss"]

    def digest(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Summarize the metrics of all tested episodes, ``(episodes,)`` each. By default, by their means."""
        return {name: value.double().mean().item() for name, value in values.items()}

    def draw(self, path: Path, prediction: Tensor, episodes: EpisodesT) -> None:
        """Draw the episodes and the answers into a PNG file; tensors are on the CPU. By default, draw nothing."""

    def course(self, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return facts for summary.json, taken from the rows of metrics.csv. By default, there are none."""
        return {}

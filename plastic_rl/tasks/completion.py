"""Episodes that show some items several times and then a part of one of them, which is to be completed."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plastic_rl.tasks.base import Task
from plastic_rl.tasks.networks import CoreSettings, Drive, completion_network


class CompletionEpisodes(NamedTuple):
    """B episodes over P items of n elements, bits or pixels.

    Attributes:
        items: ``(B, P, n)``, what is to be remembered.
        shown: ``(T, B, n)``, what the network is shown at every step; NaN where nothing is.
        target: ``(B, n)``, the whole item that the network is asked for at the last step.
        erased: ``(B, n)`` booleans, which of its elements are not shown then.
    """

    items: Tensor
    shown: Tensor
    target: Tensor
    erased: Tensor


class Completion(Task[CompletionEpisodes]):
    """What completion of patterns and of images share: the order of events, and the loss.

    In each of ``cycles`` cycles every item is presented once, in random order, for ``presentation_steps``, and after
    it nothing for ``blank_steps``. Then one of the items is shown in part for ``test_steps``. The loss is the squared
    error, summed over the elements of the whole item, at the last step, and its mean over the episodes.
    """

    def __init__(
        self,
        size: int,
        count: int,
        presentation_steps: int,
        blank_steps: int,
        cycles: int,
        test_steps: int,
        drive: Drive,
    ) -> None:
        at_least = {"presentation_steps": (presentation_steps, 1), "blank_steps": (blank_steps, 0),
                    "cycles": (cycles, 1), "test_steps": (test_steps, 1)}  # fmt: skip
        for name, (value, least) in at_least.items():
            if value < least:
                raise ValueError(f"{name} is {value}: expected at least {least}")
        self.size, self.count = size, count
        self.presentation_steps, self.blank_steps = presentation_steps, blank_steps
        self.cycles, self.test_steps, self.drive = cycles, test_steps, drive

    def network(self, core: CoreSettings) -> nn.Module:
        """See ``completion_network``."""
        return completion_network(core, self.size, self.drive)

    @abstractmethod
    def draw_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the items of so many episodes, ``(B, P, n)``."""

    @abstractmethod
    def draw_erased(self, count: int, generator: torch.Generator) -> Tensor:
        """Return which elements the last item of so many episodes lacks, ``(B, n)`` booleans."""

    def sample(self, count: int, generator: torch.Generator) -> CompletionEpisodes:
        """See ``Task``."""
        device = generator.device
        items, erased = self.draw_items(count, generator), self.draw_erased(count, generator)
        order = torch.rand(self.cycles, count, self.count, generator=generator, device=device).argsort(-1)
        asked = torch.randint(self.count, (count,), generator=generator, device=device)
        episodes = torch.arange(count, device=device)
        target = items[episodes, asked]
        presented = items[episodes, order.transpose(1, 2).flatten(0, 1)]  # (cycles * P, B, n)
        blank = presented.new_full((), torch.nan)
        shown = torch.cat(
            [
                presented.unsqueeze(1).expand(-1, self.presentation_steps, -1, -1),
                blank.expand(len(presented), self.blank_steps, *presented.shape[1:]),
            ],
            dim=1,
        ).flatten(0, 1)
        cue = torch.where(erased, torch.nan, target).expand(self.test_steps, -1, -1)
        return CompletionEpisodes(items, torch.cat([shown, cue]), target, erased)

    def run(self, network: nn.Module, episodes: CompletionEpisodes) -> Tensor:
        """Return the network's output at the last step, ``(B, n)``."""
        return network(episodes.shown)[-1]

    def loss(self, prediction: Tensor, episodes: CompletionEpisodes) -> Tensor:
        """Return the squared error summed over elements, averaged over episodes."""
        return (prediction - episodes.target).square().sum(-1).mean()


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean of ``(B, n)`` values over the elements chosen in each row, ``(B,)``."""
    return (values * where).sum(-1) / where.sum(-1)

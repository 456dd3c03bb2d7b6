"""Episodes that show some items several times and then a part of one of them, which is to be completed."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plastic_rl.choices import Drive
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.tasks.base import Task
from plastic_rl.tasks.networks import completion_network


class CompletionEpisodes(NamedTuple):
    """B episodes over P items of n elements, bits or pixels, each with Q queries at its end.

    Attributes:
        items: ``(B, P, n)``, what is to be remembered.
        shown: ``(T, B, n)``, what the network is shown at every step; NaN where nothing is.
        target: ``(Q * B, n)``, the whole items that the network is asked for, first those of all first queries.
        erased: ``(Q * B, n)`` booleans, which of their elements are not shown then.
    """

    items: Tensor
    shown: Tensor
    target: Tensor
    erased: Tensor


class Completion(Task[CompletionEpisodes]):
    """What completion of patterns and of images share: the order of events, and the loss.

    In each of ``cycles`` cycles every item is presented once, in random order, for ``presentation_steps``, and after
    it nothing for ``blank_steps``. Then one of the items is shown in part for ``test_steps``, and so for each of the
    queries. The loss is the squared error, summed over the elements of the whole item, at the last step of a query, and
    its mean over queries and episodes.
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
        queries: int = 1,
    ) -> None:
        at_least = {"presentation_steps": (presentation_steps, 1), "blank_steps": (blank_steps, 0),
                    "cycles": (cycles, 1), "test_steps": (test_steps, 1), "queries": (queries, 1)}  # fmt: skip
        for name, (value, least) in at_least.items():
            if value < least:
                raise ValueError(f"{name} is {value}: expected at least {least}")
        self.size, self.count = size, count
        self.presentation_steps, self.blank_steps = presentation_steps, blank_steps
        self.cycles, self.test_steps, self.drive, self.queries = cycles, test_steps, drive, queries

    def network(self, core: CoreSettings) -> nn.Module:
        """See ``completion_network``."""
        return completion_network(core, self.size, self.drive)

    @abstractmethod
    def draw_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the items of so many episodes, ``(B, P, n)``."""

    @abstractmethod
    def draw_erased(self, count: int, generator: torch.Generator) -> Tensor:
        """Return which elements the items of so many queries lack, ``(count, n)`` booleans."""

    def sample(self, count: int, generator: torch.Generator) -> CompletionEpisodes:
        """See ``Task``."""
        device = generator.device
        asks = self.queries * count
        items, erased = self.draw_items(count, generator), self.draw_erased(asks, generator)
        order = torch.rand(self.cycles, count, self.count, generator=generator, device=device).argsort(-1)
        asked = torch.randint(self.count, (asks,), generator=generator, device=device)
        episodes = torch.arange(count, device=device)
        target = items[episodes.repeat(self.queries), asked]
        presented = items[episodes, order.transpose(1, 2).flatten(0, 1)]  # (cycles * P, B, n)
        blank = presented.new_full((), torch.nan)
        shown = torch.cat(
            [
                presented.unsqueeze(1).expand(-1, self.presentation_steps, -1, -1),
                blank.expand(len(presented), self.blank_steps, *presented.shape[1:]),
            ],
            dim=1,
        ).flatten(0, 1)
        cues = torch.where(erased, torch.nan, target).unflatten(0, (self.queries, count))
        return CompletionEpisodes(items, torch.cat([shown, cues.repeat_interleave(self.test_steps, 0)]), target, erased)

    def run(self, network: nn.Module, episodes: CompletionEpisodes) -> Tensor:
        """Return the network's output at the last step of each query, ``(Q * B, n)``."""
        outputs = network(episodes.shown)
        first = len(outputs) - 1 - (self.queries - 1) * self.test_steps
        return outputs[first :: self.test_steps].flatten(0, 1)

    def per_episode(self, values: Tensor) -> Tensor:
        """Return the mean over an episode's queries, ``(B,)``, of ``(Q * B,)`` values."""
        return values.unflatten(0, (self.queries, -1)).mean(0)

    def loss(self, prediction: Tensor, episodes: CompletionEpisodes) -> Tensor:
        """Return the squared error summed over elements, averaged over queries and episodes."""
        return (prediction - episodes.target).square().sum(-1).mean()


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean of ``(B, n)`` values over the elements chosen in each row, ``(B,)``."""
    return (values * where).sum(-1) / where.sum(-1)

"""Tasks that show some items several times, and then a part of one item, which the network completes."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_at_least
from plastic_rl.choices import Drive
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.tasks.base import Task
from plastic_rl.tasks.episodes import CompletionEpisodes
from plastic_rl.tasks.networks import completion_network


class Completion(Task[CompletionEpisodes]):
    """The order of events and the loss, which completion of patterns and of images share.

    In each of ``cycles`` cycles every item is presented once, in random order: it is shown for ``presentation_steps``,
    then nothing is shown for ``blank_steps``. After the cycles, each query shows a part of one item for ``test_steps``.
    The loss is the squared error at the last step of a query, summed over the elements of the complete item and
    averaged over queries and episodes.
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
            check_at_least(name, value, least)
        self.size, self.count = size, count
        self.presentation_steps, self.blank_steps = presentation_steps, blank_steps
        self.cycles, self.test_steps, self.drive, self.queries = cycles, test_steps, drive, queries

    def network(self, core: CoreSettings) -> nn.Module:
        """Return a new network; see ``completion_network``."""
        return completion_network(core, self.size, self.drive)

    @abstractmethod
    def draw_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the items of ``count`` episodes, ``(count, P, n)``."""

    @abstractmethod
    def draw_erased(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the erased elements of ``count`` queries, ``(count, n)`` booleans."""

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
        """Return the means of ``(Q * B,)`` values over each episode's queries, ``(B,)``."""
        return values.unflatten(0, (self.queries, -1)).mean(0)

    def loss(self, prediction: Tensor, episodes: CompletionEpisodes) -> Tensor:
        """Return the squared error summed over elements, averaged over queries and episodes."""
        return (prediction - episodes.target).square().sum(-1).mean()


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean of ``(B, n)`` values over the elements of each row where ``where`` is true, ``(B,)``."""
    return (values * where).sum(-1) / where.sum(-1)

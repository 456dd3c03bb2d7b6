"""Completion of binary patterns from a part of their bits (paper, 4.1 and 4.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from plastic_rl.checks import check_at_least
from plastic_rl.choices import Drive
from plastic_rl.tasks.completion import Completion, mean_where
from plastic_rl.tasks.episodes import CompletionEpisodes

WINDOW = 20  # episodes over which wrong_bits is averaged to decide when the task is learned
LEARNED = 0.01  # mean share of wrong bits below which it is


class PatternCompletion(Completion):
    """Random patterns of bits, -1 and 1, are shown, and then one of them with some bits erased (paper, 4.1).

    Every pattern is new, so the network must keep the bits in its state. The defaults are the paper's. The metrics are
    ``wrong_bits``, the share of all bits whose sign is wrong (an output of 0 is wrong), at chance half the erased
    share; and ``wrong_erased_bits``, the same among the erased bits, at chance a half.

    Args:
        patterns: number of patterns in an episode.
        bits: number of bits in a pattern.
        presentation_steps: steps for which a pattern is shown.
        blank_steps: steps after each presentation in which nothing is shown and the network runs freely.
        cycles: number of cycles; each presents every pattern once.
        test_steps: steps for which the degraded pattern is shown.
        erased: share of the bits that the degraded pattern lacks.
        drive: ``"clamp"``: shown bits clamp their neurons; ``"add"``: they are added to the net input, times 20.

    Raises:
        ValueError: a number is out of bounds.

    Example:
        >>> import torch
        >>> task = PatternCompletion(patterns=2, bits=10, presentation_steps=3, cycles=1, test_steps=3)
        >>> task.sample(4, torch.Generator().manual_seed(0)).shown.shape
        torch.Size([15, 4, 10])
    """

    measures: ClassVar[tuple[str, ...]] = ("wrong_bits", "wrong_erased_bits")

    def __init__(
        self,
        patterns: int = 5,
        bits: int = 1000,
        presentation_steps: int = 10,
        blank_steps: int = 3,
        cycles: int = 3,
        test_steps: int = 10,
        erased: float = 0.5,
        drive: Drive = "clamp",
    ) -> None:
        check_at_least("patterns", patterns, 1)
        check_at_least("bits", bits, 2)
        if not 0 < erased < 1:
            raise ValueError(f"erased is {erased}: expected a share between 0 and 1, both excluded")
        super().__init__(bits, patterns, presentation_steps, blank_steps, cycles, test_steps, drive)
        self.erased_bits = min(bits - 1, max(1, round(erased * bits)))
        self.levels = {"chance": 0.5 * self.erased_bits / bits}

    def draw_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw patterns of -1 and 1."""
        shape = (count, self.count, self.size)
        return torch.randint(2, shape, generator=generator, device=generator.device) * 2.0 - 1.0

    def draw_erased(self, count: int, generator: torch.Generator) -> Tensor:
        """Choose the erased bits, the same number in every episode."""
        ranks = torch.rand(count, self.size, generator=generator, device=generator.device).argsort(-1)
        return ranks < self.erased_bits

    def metrics(self, prediction: Tensor, episodes: CompletionEpisodes) -> dict[str, Tensor]:
        """Return ``wrong_bits`` and ``wrong_erased_bits``, shares from 0 to 1."""
        wrong = (prediction * episodes.target <= 0).float()
        return {"wrong_bits": wrong.mean(-1), "wrong_erased_bits": mean_where(wrong, episodes.erased)}

    def course(self, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return when the mean of ``wrong_bits`` over the last 20 episodes fell below 1 % for good; None if never.

        With several episodes in a batch, the mean is taken over the fewest batches that hold 20 episodes.
        """
        batch = int(rows[0]["episodes"]) if rows else 1
        window = -(-WINDOW // batch)
        first = None
        recent: list[float] = []
        for row in rows:
            recent = [*recent, row["wrong_bits"]][-window:]
            below = len(recent) == window and sum(recent) / window < LEARNED
            if not below:
                first = None
            elif first is None:
                first = row
        return {
            "episodes_to_1_percent": None if first is None else int(first["episodes"]),
            "seconds_to_1_percent": None if first is None else first["seconds"],
        }

    def draw(self, path: Path, prediction: Tensor, episodes: CompletionEpisodes) -> None:
        """Draw the first episode: everything that was shown, over time, and below it cue, answer and truth."""
        from plastic_rl.tasks.pictures import draw_patterns

        draw_patterns(path, prediction, episodes)

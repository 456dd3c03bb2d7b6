"""Binary patterns, completed from a part of them (paper, 4.1 and 4.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from plastic_rl.choices import Drive
from plastic_rl.tasks.completion import Completion, CompletionEpisodes, mean_where

WINDOW = 20  # episodes over which wrong_bits is averaged to tell when it is learned
LEARNED = 0.01


class PatternCompletion(Completion):
    """Random patterns of bits, -1 and 1, and then one of them with a share of its bits erased (paper, 4.1).

    Every pattern is new, so the bits must be kept in the network's state. The defaults are the paper's. Metrics:
    ``wrong_bits``, the share of bits of the wrong sign (an output of 0 is wrong) among all bits, by chance half the
    share that is erased, and ``wrong_erased_bits``, among the erased ones, by chance a half.

    Args:
        patterns: how many in an episode.
        bits: in a pattern.
        presentation_steps: for which a pattern is presented.
        blank_steps: after each presentation, in which nothing is shown and the network runs freely.
        cycles: in each of which every pattern is presented once.
        test_steps: for which the degraded pattern is shown.
        erased: share of its bits that are erased; the rest is shown.
        drive: whether shown bits clamp their neurons, or are added to their net input, times 20.

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
        for name, value, least in (("patterns", patterns, 1), ("bits", bits, 2)):
            if value < least:
                raise ValueError(f"{name} is {value}: expected at least {least}")
        if not 0 < erased < 1:
            raise ValueError(f"erased is {erased}: expected a share between 0 and 1, both excluded")
        super().__init__(bits, patterns, presentation_steps, blank_steps, cycles, test_steps, drive)
        self.erased_bits = min(bits - 1, max(1, round(erased * bits)))
        self.levels = {"chance": 0.5 * self.erased_bits / bits}

    def draw_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Return patterns of -1 and 1."""
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
        """Return when the mean of ``wrong_bits`` over the last 20 episodes fell below 1 % and stayed there, or None.

        Of batches of several episodes, the mean is over as many batches as hold 20.
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
        """Draw the first episode: all that was shown, over time, and below it cue, answer and truth."""
        from plastic_rl.tasks.pictures import draw_patterns

        draw_patterns(path, prediction, episodes)

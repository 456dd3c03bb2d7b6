"""Few-shot classification of characters with a plastic output layer (paper, 4.4)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plastic_rl.data.characters import SplitCharacters
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.tasks.base import Task
from plastic_rl.tasks.episodes import FewShotEpisodes
from plastic_rl.tasks.few_shot_network import FewShotNetwork, FewShotSettings

Part = Literal["training", "validation", "test"]  # of SplitCharacters


class FewShotClassification(Task[FewShotEpisodes]):
    """New characters are shown a few times with their labels; then the network classifies others (paper, 4.4).

    The loss is the cross-entropy of the queries. The metric is ``accuracy``, at chance 1 / way. A test reports its
    mean, half the width of the mean's 95 % confidence interval, and its median over episodes.

    Args:
        characters: the characters for training, validation and tests.
        settings: settings of episodes and network.
        part: the characters that episodes are drawn from.
        within_alphabet: whether all characters of an episode come from one alphabet, which is harder.
        test_within: whether there is also a test within one alphabet.
        source: the name of the dataset, for pictures.

    Raises:
        ValueError: there are not enough characters or drawings.

    Example:
        >>> import torch
        >>> from plastic_rl.data import glyph_characters, split_characters
        >>> task = FewShotClassification(split_characters(glyph_characters(), "glyphs"))
        >>> task.sample(2, torch.Generator().manual_seed(0)).support.shape
        torch.Size([5, 2, 31, 31])
    """

    measures: ClassVar[tuple[str, ...]] = ("accuracy",)
    tested_together: ClassVar[int] = 100
    pictured: ClassVar[int] = 400

    def __init__(
        self,
        characters: SplitCharacters,
        settings: FewShotSettings | None = None,
        part: Part = "training",
        within_alphabet: bool = False,
        test_within: bool = False,
        source: str = "characters",
    ) -> None:
        settings = settings or FewShotSettings()
        self.characters, self.settings, self.part = characters, settings, part
        self.within_alphabet, self.test_within, self.source = within_alphabet, test_within, source
        chosen = getattr(characters, part)
        training = part == "training"
        self.way = settings.outputs if training else settings.way
        self.queries = max(1, settings.queries * self.way // settings.way)
        self.distortion = settings.distortion if training else 0.0
        self.rotates = settings.rotation == "episode" or (training and settings.rotation == "training")
        self.images = torch.from_numpy(chosen.images)
        count, drawings = self.images.shape[:2]
        self.turns = 4 if settings.rotation == "class" else 1
        self.alphabets = torch.from_numpy(chosen.alphabets).repeat(self.turns) if within_alphabet else None
        needed = settings.shot + -(-self.queries // self.way)
        if drawings < needed:
            raise ValueError(f"there are {drawings} drawings of a character: expected at least {needed}, one a query")
        groups = torch.bincount(self.alphabets) if self.alphabets is not None else torch.tensor([count * self.turns])
        self.usable = (groups >= self.way).nonzero().flatten()  # alphabets with enough characters
        if not len(self.usable):
            raise ValueError(f"there are {int(groups.max())} classes for {part}: expected at least {self.way}, the way")
        self.levels: Mapping[str, float] = {"chance": 1 / self.way}

    def network(self, core: CoreSettings) -> FewShotNetwork:
        """Return a new ``FewShotNetwork``."""
        return FewShotNetwork(core, self.settings, self.images.shape[-1])

    def _on(self, part: Part, within_alphabet: bool = False) -> "FewShotClassification":
        how = (part, within_alphabet, self.test_within, self.source)
        return FewShotClassification(self.characters, self.settings, *how)

    def held_out(self) -> "FewShotClassification":
        """Return the task on the characters for tests."""
        return self._on("test")

    def tests(self) -> dict[str, Task[FewShotEpisodes]]:
        """Return the test on mixed alphabets, and the test within one alphabet if there is one."""
        found: dict[str, Task[FewShotEpisodes]] = {"": self.held_out()}
        return found | ({"within_alphabet": self._on("test", True)} if self.test_within else {})

    def validation(self) -> "FewShotClassification":
        """Return the task on the characters for validation."""
        return self._on("validation")

    def score(self, means: Mapping[str, float]) -> float:
        """Return the accuracy."""
        return means["accuracy"]

    def draw_classes(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the classes of ``count`` episodes, ``(count, way)``, without repetition within an episode."""
        device = generator.device
        # The indices of the largest random numbers are a sample without repetition, in random order.
        chances = torch.rand(count, len(self.images) * self.turns, generator=generator, device=device)
        if self.alphabets is not None:
            which = torch.randint(len(self.usable), (count, 1), generator=generator, device=device)
            chances -= (self.alphabets.to(device) != self.usable.to(device)[which]).float()
        return chances.topk(self.way).indices

    def sample(self, count: int, generator: torch.Generator) -> FewShotEpisodes:
        """See ``Task``."""
        device, way, shot = generator.device, self.way, self.settings.shot

        def ranks(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=device).argsort(-1)

        classes = self.draw_classes(count, generator)
        drawings = ranks(count, way, self.images.shape[1])
        turns = classes // len(self.images)  # quarter turns, where rotated characters are classes of their own
        if self.rotates:
            turns = torch.randint(4, (count, way), generator=generator, device=device)
        asked = torch.arange(self.queries, device=device) % way
        target = ranks(count, way)[:, asked]
        round_of = shot + torch.arange(self.queries, device=device) // way
        label = torch.arange(way, device=device).repeat_interleave(shot).expand(count, -1)
        position = torch.cat([label, target], 1)  # (B, S + Q), the index of each image's class in the episode
        which = torch.cat([torch.arange(shot, device=device).repeat(way), round_of]).expand(count, -1)
        numbers = drawings.flatten(1).gather(1, position * self.images.shape[1] + which)
        characters = (classes % len(self.images)).gather(1, position)
        images = self._pictures(characters, numbers, turns.gather(1, position), generator).transpose(0, 1)
        order = ranks(self.settings.presentations, count, way * shot).transpose(1, 2).flatten(0, 1)
        return FewShotEpisodes(images[: way * shot], label.T, order, images[way * shot :], target)

    def _pictures(self, characters: Tensor, drawings: Tensor, turns: Tensor, generator: torch.Generator) -> Tensor:
        """Return drawings ``(B, M, size, size)``, rotated by quarter turns. All indices are ``(B, M)``."""
        shape = characters.shape
        pictures = self.images[characters.flatten().cpu(), drawings.flatten().cpu()].to(generator.device)
        for quarters in (1, 2, 3):
            where = (turns.flatten() == quarters).nonzero().flatten()
            if len(where):
                pictures[where] = pictures[where].rot90(quarters, (-2, -1))
        images = pictures.float().div_(255)
        if self.distortion:
            noise = torch.randn(len(images), 2, 3, generator=generator, device=generator.device)
            maps = torch.eye(2, 3, device=generator.device) + self.distortion * noise
            grid = F.affine_grid(maps, [len(images), 1, *images.shape[1:]], align_corners=False)
            images = F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)
        return images.unflatten(0, shape)

    def run(self, network: nn.Module, episodes: FewShotEpisodes) -> Tensor:
        """Return the logits of the queries, ``(B, Q, way)``."""
        logits = network(episodes.support, episodes.label, episodes.query, episodes.order)
        return logits[..., : self.way]

    def loss(self, prediction: Tensor, episodes: FewShotEpisodes) -> Tensor:
        """Return the cross-entropy, averaged over queries."""
        return F.cross_entropy(prediction.flatten(0, 1), episodes.target.flatten())

    def metrics(self, prediction: Tensor, episodes: FewShotEpisodes) -> dict[str, Tensor]:
        """Return ``accuracy``, the share of queries that are classified correctly."""
        return {"accuracy": (prediction.argmax(-1) == episodes.target).float().mean(-1)}

    def digest(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the accuracy's mean over episodes, half its 95 % confidence interval (from two on), and its median."""
        accuracy = values["accuracy"].double()
        found = {"accuracy_mean": accuracy.mean().item()}
        if len(accuracy) > 1:
            found["accuracy_ci95"] = 1.96 * accuracy.std().item() / math.sqrt(len(accuracy))
        return found | {"accuracy_median": accuracy.quantile(0.5).item()}

    def draw(self, path: Path, prediction: Tensor, episodes: FewShotEpisodes) -> None:
        """Draw one row per episode, those with mistakes first: support with labels, query, output, verdict."""
        from plastic_rl.tasks.pictures import draw_few_shot

        draw_few_shot(path, prediction, episodes, self.source)

"""Few-shot classification of characters with a plastic output layer (paper, 4.4)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plastic_rl.data.characters import SplitCharacters
from plastic_rl.modules import PlasticLinear
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.tasks.base import Task

Activation = Literal["tanh", "relu"]
Rotation = Literal["episode", "training", "class"]
Part = Literal["training", "validation", "test"]

LAYERS = 4
LEAST_SIZE = 2 ** (LAYERS + 1) - 1  # pixels, of which one is left by the last convolution


class FewShotEpisodes(NamedTuple):
    """B episodes of S support images, shown with their labels in T steps, and of Q queries.

    Attributes:
        support: ``(S, B, size, size)``, ink 1, paper 0.
        label: ``(S, B)``, the class of each, from 0 to way - 1.
        order: ``(T, B)``, which support image is shown at every step.
        query: ``(Q, B, size, size)``, what is asked at the end, each by itself.
        target: ``(B, Q)``, the class of each query.
    """

    support: Tensor
    label: Tensor
    order: Tensor
    query: Tensor
    target: Tensor


@dataclass(frozen=True)
class FewShotSettings:
    """Settings of few-shot classification; the defaults are the paper's (4.4).

    Attributes:
        way: classes in an episode.
        shot: different drawings of each class in its support.
        presentations: how often each drawing is shown with its label.
        queries: in an episode, spread evenly over its classes.
        training_way: classes in an episode of training, with more queries in proportion; None: as in tests. Each has
            an output of its own; tests use the first ones.
        rotation: ``"episode"``: every class is turned by a multiple of 90 degrees, drawn for each episode;
            ``"training"``: only in training; ``"class"``: characters that are turned are classes of their own.
        distortion: of the drawings in training: the standard deviation of the entries of a random affine map. 0: none.
        width: features of each convolution.
        activation: ``"tanh"`` or ``"relu"``.
        batch_norm: whether there is batch normalization before each activation. In tests it uses the means and
            variances that it tracked in training, so that episodes are independent of each other.
        unit_features: whether the features of each image are those before the last activation, scaled to a mean square
            of 1, so that images are compared by the angle between them alone.

    Raises:
        ValueError: a setting is unknown or out of bounds.
    """

    way: int = 5
    shot: int = 1
    presentations: int = 1
    queries: int = 1
    training_way: int | None = None
    rotation: Rotation = "episode"
    distortion: float = 0.0
    width: int = 64
    activation: Activation = "tanh"
    batch_norm: bool = False
    unit_features: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, value, least in (
            ("way", self.way, 2), ("shot", self.shot, 1), ("presentations", self.presentations, 1),
            ("queries", self.queries, 1), ("training_way", self.outputs, self.way), ("distortion", self.distortion, 0),
            ("width", self.width, 1),
        ):  # fmt: skip
            if not value >= least:
                raise ValueError(f"{name} is {value}: expected at least {least}")
        for name, known in (("rotation", get_args(Rotation)), ("activation", get_args(Activation))):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}: expected one of {', '.join(known)}")

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return self.way if self.training_way is None else self.training_way


class FewShotNetwork(nn.Module):
    """Convolutions that embed every image by itself, and an output layer that learns the episode's classes.

    The four convolutions are of 3 x 3 with stride 2. A label clamps the outputs while its image is shown.

    Args:
        core: ``"plastic"``, a :class:`plastic_rl.PlasticLinear` with its rule, alpha and eta; or ``"fixed"``, the
            control: the same layer without plasticity, which can know nothing of an episode.
        settings: of the convolutions, and how many outputs there are.
        size: pixels a side of the images.

    Shape:
        - called with support, label, query and order as in :class:`FewShotEpisodes`; without an order, every support
          image is shown once, in the order given.
        - returns: logits ``(B, Q, outputs)``; of classes that were not shown, to be left out.

    Raises:
        ValueError: another core, settings that its layer has no use for, or images that are too small; when called,
            images of another kind or size, or labels that there is no output for.
    """

    def __init__(self, core: CoreSettings, settings: FewShotSettings, size: int) -> None:
        super().__init__()
        if size < LEAST_SIZE:
            raise ValueError(f"image_size is {size}: expected at least {LEAST_SIZE}, for {LAYERS} convolutions")
        if core.hidden_size is not None or core.init_alpha:
            raise ValueError("an output layer has no use for hidden_size and init_alpha: leave them out")
        self.settings, self.size = settings, size
        layers: list[nn.Module] = []
        features = 1
        for layer in range(LAYERS):
            layers.append(nn.Conv2d(features, settings.width, 3, stride=2, bias=not settings.batch_norm))
            if settings.batch_norm:
                layers.append(nn.BatchNorm2d(settings.width))
            bare = settings.unit_features and layer == LAYERS - 1
            layers.append(nn.Identity() if bare else nn.ReLU() if settings.activation == "relu" else nn.Tanh())
            features, size = settings.width, (size - 3) // 2 + 1
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        features *= size * size
        self.output: PlasticLinear | nn.Linear
        if core.core == "plastic":
            self.output = PlasticLinear(
                features, settings.outputs, rule=core.rule, alpha=core.alpha, eta=core.eta, learn_eta=core.learn_eta
            )
            # What an output stands for changes with every episode, so its fixed weights cannot tell.
            nn.init.normal_(self.output.w, std=0.01 if core.init_scale is None else core.init_scale)
        elif core.core == "fixed":
            self.output = nn.Linear(features, settings.outputs, bias=False)
        else:
            raise ValueError(f"a core {core.core} cannot classify characters: expected one of plastic, fixed")

    def embed(self, images: Tensor) -> Tensor:
        """Return the features of images ``(..., size, size)``: ``(..., features)``."""
        flat = images.flatten(0, -3).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        features = self.convolutions(flat)
        if self.settings.unit_features:
            features = F.normalize(features, dim=-1) * math.sqrt(features.shape[-1])
        return features.unflatten(0, images.shape[:-2])

    def forward(self, support: Tensor, label: Tensor, query: Tensor, order: Tensor | None = None) -> Tensor:
        """See the class. All images are embedded in one call."""
        for name, images in (("support", support), ("query", query)):
            if images.ndim != 4 or images.shape[2:] != (self.size, self.size) or not images.is_floating_point():
                given, expected = f"{images.dtype} {tuple(images.shape)}", ("count", "episodes", self.size, self.size)
                raise ValueError(f"{name} is {given}: expected floating point {expected}, ink 1 and paper 0")
        features = self.embed(torch.cat([support, query]))
        shown, asked = features[: len(support)], features[len(support) :]
        if isinstance(self.output, nn.Linear):
            return self.output(asked).transpose(0, 1)
        if order is not None:
            shown = shown.gather(0, order.unsqueeze(-1).expand(-1, -1, shown.shape[-1]))
            label = label.gather(0, order)
        outputs = self.output.out_features
        # A GPU would have to wait for it.
        if label.device.type == "cpu" and not ((label >= 0) & (label < outputs)).all():
            raise ValueError(f"labels are from {label.min()} to {label.max()}: expected from 0 to {outputs - 1}")
        clamp = F.one_hot(label, outputs).to(shown.dtype)
        _, trace = self.output(shown, clamp=clamp)
        return self.output.net_input(asked, trace).transpose(0, 1)


class FewShotClassification(Task[FewShotEpisodes]):
    """Characters seen for the first time, a few times with their labels; then one of them is to be named (paper, 4.4).

    The loss is the cross-entropy of the queries. The metric is ``accuracy``, by chance 1 / way; of a test, its mean,
    half the width of the mean's 95 % confidence interval, and its median over episodes.

    Args:
        characters: to train on, validate on, and test on.
        settings: of episodes and network.
        part: which characters episodes are drawn from.
        within_alphabet: whether all characters of an episode are of one alphabet, which is harder.
        test_within: whether tests are also made within one alphabet.
        source: what the characters are, for pictures.

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
        """See ``FewShotNetwork``."""
        return FewShotNetwork(core, self.settings, self.images.shape[-1])

    def _on(self, part: Part, within_alphabet: bool = False) -> "FewShotClassification":
        how = (part, within_alphabet, self.test_within, self.source)
        return FewShotClassification(self.characters, self.settings, *how)

    def held_out(self) -> "FewShotClassification":
        """Return the task on the characters for tests."""
        return self._on("test")

    def tests(self) -> dict[str, Task[FewShotEpisodes]]:
        """Return the test of mixed alphabets, and that within one alphabet if it is wanted."""
        found: dict[str, Task[FewShotEpisodes]] = {"": self.held_out()}
        return found | ({"within_alphabet": self._on("test", True)} if self.test_within else {})

    def validation(self) -> "FewShotClassification":
        """Return the task on the characters that choose what is kept."""
        return self._on("validation")

    def score(self, means: Mapping[str, float]) -> float:
        """Return the accuracy."""
        return means["accuracy"]

    def draw_classes(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the classes of so many episodes, all different in each, ``(B, way)``."""
        device = generator.device
        # The largest of random numbers are a sample without repetition, in random order.
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
        turns = classes // len(self.images)  # of classes that are turned characters
        if self.rotates:
            turns = torch.randint(4, (count, way), generator=generator, device=device)
        asked = torch.arange(self.queries, device=device) % way
        target = ranks(count, way)[:, asked]
        round_of = shot + torch.arange(self.queries, device=device) // way
        label = torch.arange(way, device=device).repeat_interleave(shot).expand(count, -1)
        position = torch.cat([label, target], 1)  # (B, S + Q), of each image's class in the episode
        which = torch.cat([torch.arange(shot, device=device).repeat(way), round_of]).expand(count, -1)
        numbers = drawings.flatten(1).gather(1, position * self.images.shape[1] + which)
        characters = (classes % len(self.images)).gather(1, position)
        images = self._pictures(characters, numbers, turns.gather(1, position), generator).transpose(0, 1)
        order = ranks(self.settings.presentations, count, way * shot).transpose(1, 2).flatten(0, 1)
        return FewShotEpisodes(images[: way * shot], label.T, order, images[way * shot :], target)

    def _pictures(self, characters: Tensor, drawings: Tensor, turns: Tensor, generator: torch.Generator) -> Tensor:
        """Look drawings up, all indices ``(B, M)``, and turn each by so many quarters: ``(B, M, size, size)``."""
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
        """Return ``accuracy``, the share of queries that are named rightly."""
        return {"accuracy": (prediction.argmax(-1) == episodes.target).float().mean(-1)}

    def digest(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the accuracy's mean over episodes, half its 95 % confidence interval (not of one), and its median."""
        accuracy = values["accuracy"].double()
        found = {"accuracy_mean": accuracy.mean().item()}
        if len(accuracy) > 1:
            found["accuracy_ci95"] = 1.96 * accuracy.std().item() / math.sqrt(len(accuracy))
        return found | {"accuracy_median": accuracy.quantile(0.5).item()}

    def draw(self, path: Path, prediction: Tensor, episodes: FewShotEpisodes) -> None:
        """Draw a row per episode, those with mistakes first: support with labels, query, output, verdict."""
        from plastic_rl.tasks.pictures import draw_few_shot

        draw_few_shot(path, prediction, episodes, self.source)

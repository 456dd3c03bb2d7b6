"""Settings of ``omniglot``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from plastic_rl.choices import Alpha, OutputLayer, RuleName
from plastic_rl.errors import UsageError, option
from plastic_rl.settings.base import (
    Count,
    CountOrNone,
    Fraction,
    Positive,
    Weight,
    at_least,
    unset,
    within,
)
from plastic_rl.settings.tasks import TaskRun, found_from_everywhere

Split = Literal["paper", "lake", "vinyals"]
ROTATIONS = {"paper": "episode", "lake": "training", "vinyals": "class", "glyphs": "episode"}


@dataclass(frozen=True, kw_only=True)
class Omniglot(TaskRun):
    """Train a network with a plastic output layer to classify characters after seeing each only once."""

    command: ClassVar[str] = "omniglot"
    sizes: ClassVar[tuple[str, ...]] = ("width",)
    leading: ClassVar[tuple[str, ...]] = ("preset", "episodes", "data", "way")

    preset: Literal["tuned", "paper"] = "tuned"
    """Where the defaults come from: settings found by tuning, or those of the paper (section 4.4).
    Add --help to --preset paper to see its defaults."""
    episodes: Count = 60_000
    batch_size: Count = 8
    learning_rate: Positive = 2e-3
    decay_episodes: CountOrNone = 60_000
    """Episodes over which the learning rate falls along a cosine to 0; 0 keeps it constant.
    By default as many as --episodes, or 0 with --preset paper."""
    drop_every: CountOrNone = 0
    """Episodes after which the learning rate drops to 2/3, again and again; 0 never drops it."""
    data: Literal["omniglot", "glyphs"] = "omniglot"
    """Handwritten characters, or a stand-in that needs no download: characters of fonts, distorted at random."""
    data_dir: Annotated[Path | None, unset("downloaded once, 17 MB, into the user's cache")] = None
    """Folder with images_background.zip and images_evaluation.zip, or their content."""
    split: Annotated[Split | None, unset("none with --data glyphs", get_args(Split))] = "paper"
    """Characters kept for tests: 100 drawn at random (paper), the evaluation set (lake), or the last 423 (vinyals).
    In vinyals each of a character's four rotations is a class."""
    way: Annotated[int, at_least(2)] = 5
    """Classes in an episode."""
    shot: Count = 1
    """Different drawings of each class that are shown with their label."""
    presentations: Count = 1
    """Times that each of these drawings is shown."""
    image_size: Annotated[int, within(31, 105)] = 31
    """Side of the drawings in pixels, after they are shrunk."""
    queries: Count = 5
    """Queries at the end of an episode, each answered independently.
    By default one per class, or 1 with --preset paper."""
    training_way: Annotated[int | None, unset("as many as --way")] = 20
    """Classes in a training episode, with queries in proportion.
    By default 20, or --way if that is more; with --preset paper, as many as --way."""
    distortion: Weight = 0.1
    """Distortion of the drawings in training: standard deviation of the entries of random affine maps."""

    core: OutputLayer = "plastic"
    """Output layer; fixed is the control without plasticity."""
    width: Count = 64
    """Features of each of the four convolutions."""
    activation: Literal["tanh", "relu"] = "relu"
    """Activation function of the convolutions."""
    batch_norm: bool = True
    """Normalize the output of each convolution over the batch."""
    unit_features: bool = True
    """Scale the features of each image to length 1, so that images are compared by angle alone."""
    rule: RuleName = "oja"
    alpha: Alpha = "shared"
    """Plasticity coefficients: one per connection, one per output, or one shared by all connections."""
    eta: Fraction = 0.5
    learn_eta: bool = True

    log_every: CountOrNone = 2_000
    """Episodes between rows of metrics.csv, which hold means over the updates between them."""
    validate_every: CountOrNone = 10_000
    """Episodes between validations; the weights that do best in validation are kept. 0: no validation."""
    validation_episodes: Count = 1_000
    """Episodes in each validation."""
    eval_episodes: Count = 1_000
    """Fresh episodes, with characters not used in training, that the trained network is tested on."""

    def __post_init__(self) -> None:
        """Check what can be checked without the drawings, which may have to be downloaded."""
        super().__post_init__()
        object.__setattr__(self, "data_dir", found_from_everywhere(self.data_dir))
        if self.training_way is not None and self.training_way < self.way:
            raise UsageError(f"--training-way is {self.training_way}: expected at least the way, {self.way}")
        for name in ("data_dir", "split"):
            if self.data != "omniglot" and getattr(self, name) is not None:
                raise UsageError(f"{option(name)} is for Omniglot, not for --data {self.data}: leave one of them out")

    @classmethod
    def presets(cls) -> dict[str, "Omniglot"]:
        """Return the presets by name, the default first."""
        return PRESETS

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """The tuned learning rate falls over the whole run, and tuned episodes have at least ``way`` classes."""
        tuned = {"decay_episodes": chosen.episodes, "queries": chosen.way, "training_way": max(20, chosen.way)}
        split = {} if chosen.data == "omniglot" else {"split": None}
        return (tuned if chosen.preset == "tuned" else {}) | split

    @property
    def split_name(self) -> Literal["paper", "lake", "vinyals", "glyphs"]:
        """The split of the characters; the stand-in's only split has the stand-in's name."""
        return self.split or "glyphs"

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of episodes and network."""
        names = (
            "way", "shot", "presentations", "queries", "training_way", "distortion", "width", "activation",
            "batch_norm", "unit_features",
        )  # fmt: skip
        return self.pick(*names) | {"rotation": ROTATIONS[self.split_name]}

    def trainer_settings(self) -> dict[str, Any]:
        """Return the settings of the trainer."""
        return super().trainer_settings() | self.pick(
            "drop_every", "log_every", "validate_every", "validation_episodes"
        )

    def facts(self) -> dict[str, Any]:
        """Return what summary.json and the table of results say about the settings."""
        data = "Omniglot" if self.data == "omniglot" else "glyphs of fonts, a stand-in for Omniglot"
        return {"data": data, "split": self.split_name, "way": self.way, "shot": self.shot}

    @property
    def title(self) -> str:
        """Title of the learning curve."""
        data = f"{self.facts()['data']}, {self.way}-way {self.shot}-shot" + (
            f", split {self.split}" if self.split else ""
        )
        return f"{data}, {self.core}, seed {self.seed}"


PRESETS = {
    "tuned": Omniglot(),
    "paper": Omniglot(
        preset="paper", episodes=5_000_000, batch_size=1, learning_rate=3e-5, decay_episodes=0, drop_every=1_000_000,
        queries=1, training_way=None, distortion=0.0, activation="tanh", batch_norm=False, unit_features=False,
    ),
}  # fmt: skip

"""The commands' settings: typed dataclasses, which become command lines, help texts and config.json."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tyro.conf import Positional

from plastic_rl.errors import UsageError

# Testing uses seeds from here on: they are never those of training, where mazes side by side have seeds that follow.
FRESH = 1_000_000_000
MOST_ENVS = 100_000_000
MAY_CHANGE = ("threads", "device")  # what a run may go on with that it did not begin with, beside its length
OF_PLASTICITY = {"rule", "alpha", "eta", "learn_eta", "init_alpha"}
UNUSED: dict[str, set[str]] = {  # settings that mean nothing to a core
    "rnn": OF_PLASTICITY,
    "lstm": OF_PLASTICITY | {"nonlinearity"},
    "memoryless": OF_PLASTICITY,
    "fixed": OF_PLASTICITY,
}


RunT = TypeVar("RunT", bound="Run")


@dataclass(frozen=True)
class Run:
    """Settings of a training that are kept in its config.json."""

    command: ClassVar[str]
    length: ClassVar[str]  # the setting that says how long to train

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them, without the folders."""
        content = {name: value for name, value in asdict(self).items() if name not in ("out", "resume")}
        return {name: str(value) if isinstance(value, Path) else value for name, value in content.items()}

    @classmethod
    def from_json(cls: type[RunT], content: Mapping[str, Any]) -> RunT:
        """Return the settings that ``to_json`` gave.

        Raises:
            ValueError: a setting is unknown or of another type.
            UsageError: a setting is out of bounds.
        """
        kinds, settings = get_type_hints(cls), dict(content)
        for name, value in content.items():
            if name not in kinds:
                raise ValueError(f"there is no setting {name}")
            if Path in get_args(kinds[name]) and isinstance(value, str):
                settings[name] = Path(value)
            elif not _is_a(value, kinds[name]):
                raise ValueError(f"{name} cannot be {value!r}")
        return cls(**settings)


MAZE_PRESETS: dict[str, dict[str, Any]] = {
    "tuned": {
        "steps": 7_500_000, "envs": 32, "n_steps": 50, "learning_rate": 1e-3, "gamma": 0.95,
        "gae_lambda": 0.9, "squared_prob_coef": 0.06, "vf_coef": 0.05, "max_grad_norm": 1.0,
    },
    "paper": {
        "steps": 250_000_000, "envs": 16, "learning_rate": 1e-4, "gamma": 0.9, "gae_lambda": 1.0,
        "squared_prob_coef": 0.03, "vf_coef": 0.1, "max_grad_norm": 4.0,
    },
}  # fmt: skip

AGENT_SETTINGS = (
    "n_steps", "gamma", "gae_lambda", "ent_coef", "squared_prob_coef", "vf_coef", "max_grad_norm",
    "normalize_advantage", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class MazeRun(Run):
    """Train a plastic agent with A2C to learn, within each lifetime, where a maze's hidden goal is."""

    command: ClassVar[str] = "maze"
    length: ClassVar[str] = "steps"

    out: Path | None = None
    """Run folder, new or empty; by default one under runs/ named after the time."""
    resume: Path | None = None
    """Run folder to go on with. Its settings hold; only --steps, --threads and --device can be given anew."""
    preset: Literal["tuned", "paper"] = "tuned"
    """Where settings that are not given come from: found by tuning, or those of the paper (4.5)."""
    steps: int | None = None
    """Environment steps in all, over all mazes; rounded up to whole updates. Default: the preset's, 7.5M or 250M. A run
    that goes on with more of them keeps the learning rate that it has come to."""
    seed: int = 0
    """Of all random numbers: with it, a run can be repeated."""
    threads: int | None = None
    """Processor threads; by default all cores."""
    device: str = "cpu"
    """Where the network is. The fused kernels are for the CPU."""
    tensorboard: bool = False
    """Whether to write a TensorBoard log into the run folder."""

    env: str = "PlasticRL/GridMaze-v0"
    """Environment id; also "module:id", and ids that are not mazes."""
    size: int = 11
    """Cells a side of the maze, outer wall included: odd, at least 5."""
    lifetime: int = 250
    """Steps in a lifetime."""
    view: int = 3
    """Cells a side of what the agent sees: odd."""
    wall_penalty: float = 0.1
    """What moving into a wall costs; reaching the goal pays 10."""
    goal: Literal["anywhere", "periphery"] = "anywhere"
    """Where goals are drawn."""
    teleport: Literal["random", "center"] = "random"
    """Where the agent goes after a hit."""

    core: Literal["plastic", "rnn", "lstm", "memoryless"] = "plastic"
    """Core of the agent; the others are controls without plasticity."""
    hidden_size: int = 100
    """Neurons in the core."""
    rule: Literal["hebb", "oja", "clip"] = "hebb"
    """Plasticity rule."""
    alpha: Literal["connection", "neuron", "shared"] = "connection"
    """Plasticity coefficients: one per connection, per neuron, or one for all."""
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Of the neurons (not of lstm)."""
    eta: float = 0.01
    """Initial learning rate of the trace; it is trained too."""

    envs: int | None = None
    """Lifetimes lived side by side. Default: the preset's, 32 or 16."""
    n_steps: int | None = None
    """Steps per maze and update. Default: the preset's, 50 or the whole lifetime."""
    learning_rate: float | None = None
    """Adam's learning rate at the start. Default: the preset's, 1e-3 or 1e-4."""
    decay_steps: int | None = None
    """Environment steps over which the learning rate falls linearly to a tenth; 0: it stays. Default: all that the run
    begins with, or 0 with --preset paper."""
    gamma: float | None = None
    """Discount factor. Default: the preset's, 0.95 or 0.9."""
    gae_lambda: float | None = None
    """Of generalized advantage estimation; 1: returns minus values. Default: the preset's, 0.9 or 1."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    squared_prob_coef: float | None = None
    """Weight of the penalty on squared action probabilities, the paper's stand-in for the entropy bonus. Default: the
    preset's, 0.06 or 0.03."""
    vf_coef: float | None = None
    """Weight of the squared error of the values. Default: the preset's, 0.05 or 0.1."""
    max_grad_norm: float | None = None
    """Norm to which gradients are clipped. Default: the preset's, 1 or 4."""
    normalize_advantage: bool = False
    """Whether to scale advantages to standard deviation 1 in each update."""

    log_every: int = 200_000
    """Environment steps between rows of metrics.csv."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints."""
    eval_episodes: int = 300
    """Fresh lifetimes that the finished agent is tested on."""

    def __post_init__(self) -> None:
        """Check what can be checked without the environment."""
        at_least = {
            "steps": 1, "envs": 1, "hidden_size": 1, "log_every": 1, "eval_episodes": 1, "decay_steps": 0,
            "n_steps": 1, "vf_coef": 0, "ent_coef": 0, "squared_prob_coef": 0, "checkpoint_every": 0,
        }  # fmt: skip
        _require_at_least(self, at_least)
        _require_seed(self)
        _require_threads(self)
        _require(self, "envs", lambda v: v <= MOST_ENVS, f"at most {MOST_ENVS}")
        for name in ("gamma", "gae_lambda", "eta"):
            _require(self, name, lambda v: 0 <= v <= 1, "from 0 to 1")
        for name in ("learning_rate", "max_grad_norm"):
            # PyTorch's Adam cannot compute with numbers near the largest of float32.
            _require(self, name, lambda v: 0 < v <= 1e30, "above 0 and at most 1e30")

    def resolved(self) -> "MazeRun":
        """Return these settings, with the preset's in place of None; the tuned rate falls over the whole run."""
        preset = dict(MAZE_PRESETS[self.preset])
        if self.preset == "paper":
            preset |= {"n_steps": self.lifetime, "decay_steps": 0}
        else:
            preset["decay_steps"] = self.steps or preset["steps"]
        return replace(self, **{name: v for name, v in preset.items() if getattr(self, name) is None})

    def env_kwargs(self) -> dict[str, Any]:
        """Return the settings of the maze; for other environments, those that were changed."""
        names = ("size", "lifetime", "view", "wall_penalty", "goal", "teleport")
        wanted = names if is_own(self.env) else changed(self).intersection(names)
        return {name: getattr(self, name) for name in wanted}

    def agent_settings(self) -> dict[str, Any]:
        """Return the settings of ``PlasticA2C``, the preset's where they are not given; the learning rate apart."""
        run = self.resolved()
        return {name: getattr(run, name) for name in AGENT_SETTINGS}

    def policy_kwargs(self) -> dict[str, Any]:
        """Return the settings of the network."""
        names = ("core", "hidden_size", "rule", "alpha", "eta", "nonlinearity")
        return {name: getattr(self, name) for name in names if name not in UNUSED.get(self.core, ())}


# The kinds of agents that are compared, by what they differ in from the first.
Agent = Literal["plastic", "oja", "clip", "shared", "rnn", "rnn-wide", "lstm", "memoryless"]
AGENTS: dict[str, dict[str, Any]] = {
    "plastic": {},
    "oja": {"rule": "oja"},
    "clip": {"rule": "clip"},
    "shared": {"alpha": "shared"},
    "rnn": {"core": "rnn"},
    "rnn-wide": {"core": "rnn"},
    "lstm": {"core": "lstm"},
    "memoryless": {"core": "memoryless"},
}

TaskRunT = TypeVar("TaskRunT", bound="TaskRun")
STEPS = {"presentation_steps": 1, "blank_steps": 0, "cycles": 1, "test_steps": 1}  # of a completion task, at least


@dataclass(frozen=True)
class TaskRun(Run):
    """What all trainings on a supervised task can set."""

    out: Path | None = None
    """Run folder, new or empty; by default one under runs/ named after the time."""
    resume: Path | None = None
    """Run folder to go on with. Its settings hold; only --episodes, --threads and --device can be given anew."""
    episodes: int | None = None
    """Episodes to train on in all, rounded up to whole batches. Default: the preset's."""
    seed: int = 0
    """Of all random numbers: with it, a run can be repeated."""
    threads: int | None = None
    """Processor threads; by default all cores."""
    device: str = "cpu"
    """Where the network is. The fused kernels are for the CPU."""
    tensorboard: bool = False
    """Whether to write a TensorBoard log into the run folder."""

    core: str = "plastic"
    """Core of the network."""
    rule: Literal["hebb", "oja", "clip"] = "hebb"
    """Plasticity rule."""
    alpha: Literal["connection", "neuron", "shared"] = "connection"
    """Plasticity coefficients: one per connection, per neuron, or one for all."""
    eta: float = 0.01
    """Learning rate of the trace, at the start if it is trained."""
    learn_eta: bool = False
    """Whether to train eta too."""

    batch_size: int | None = None
    """Episodes in an update. Default: the preset's."""
    learning_rate: float | None = None
    """Adam's learning rate, at the start. Default: the preset's."""
    decay_episodes: int | None = None
    """Episodes over which the learning rate falls along a cosine to 0; 0: it does not. Default: the preset's, tuned
    presets take all of them."""
    max_grad_norm: float | None = None
    """Norm to which gradients are clipped. Default: they are not."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints."""
    eval_episodes: int = 50
    """Fresh episodes that the finished network is tested on."""

    length: ClassVar[str] = "episodes"

    def __post_init__(self) -> None:
        """Check what can be checked without the task."""
        at_least = {"episodes": 1, "batch_size": 1, "decay_episodes": 0, "checkpoint_every": 0, "eval_episodes": 1}
        _require_at_least(self, at_least)
        _require_seed(self)
        _require_threads(self)
        _require(self, "eta", lambda v: 0 <= v <= 1, "from 0 to 1")
        for name in ("learning_rate", "max_grad_norm"):
            _require(self, name, lambda v: 0 < v <= 1e30, "above 0 and at most 1e30")

    def defaults(self) -> dict[str, Any]:
        """Return what holds for settings that are None."""
        raise NotImplementedError

    def resolved(self: TaskRunT) -> TaskRunT:
        """Return these settings, with the defaults in place of None, and a folder that is found from everywhere."""
        given = {name: v for name, v in self.defaults().items() if getattr(self, name) is None}
        folder = getattr(self, "data_dir", None)
        if folder is not None:
            given["data_dir"] = folder.expanduser().absolute()
        return replace(self, **given)

    def core_settings(self) -> dict[str, Any]:
        """Return the settings of the core."""
        names = ("core", "rule", "alpha", "eta", "learn_eta")
        return self._used_by_core(*names)

    def _used_by_core(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names if name not in UNUSED.get(self.core, ())}

    def facts(self) -> dict[str, Any]:
        """Return what summary.json and the table of results are to say of the settings."""
        return {}

    @property
    def title(self) -> str:
        """What the learning curve is of."""
        return f"{self.command}, {self.core} core, seed {self.seed}"

    def trainer_settings(self) -> dict[str, Any]:
        """Return the settings of the trainer."""
        names = (
            "batch_size", "learning_rate", "decay_episodes", "max_grad_norm", "seed", "checkpoint_every",
            "tensorboard",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class CompletionRun(TaskRun):
    """What trainings on completion tasks can set beside."""

    core: Literal["plastic", "rnn", "lstm"] = "plastic"
    """Recurrent core; rnn and lstm are the controls without plasticity."""
    hidden_size: int | None = None
    """Neurons in the core. Default: one per bit or pixel and a bias; the controls of --preset comparison: 2,050."""
    init_scale: float = 0.01
    """Standard deviation of the initial weights and plasticity coefficients (not of lstm)."""
    init_alpha: float | None = None
    """Mean of the initial plasticity coefficients. Default: the preset's, 0 but for tuned images."""

    def __post_init__(self) -> None:
        """Check what can be checked without the task."""
        super().__post_init__()
        _require_at_least(self, {"hidden_size": 1, "init_scale": 0} | STEPS)
        for name in ("init_scale", "init_alpha"):
            _require(self, name, lambda v: abs(v) <= 1e30, "a number of at most 1e30 in size")

    def core_settings(self) -> dict[str, Any]:
        """Return the settings of the core."""
        names = ("hidden_size", "init_scale", "init_alpha")
        return super().core_settings() | self._used_by_core(*names)


@dataclass(frozen=True)
class Memorize(CompletionRun):
    """Train a plastic network to memorize patterns of bits at a glance, and to complete them from a part."""

    preset: Literal["paper", "comparison"] = "paper"
    """Where settings that are not given come from: 5 patterns of 1,000 bits, 200 episodes, learning rate 1e-3 (paper,
    4.1); or 2 of 50 bits, 2,000 episodes, 3e-4 (comparison, 4.2). Without plasticity both take 3e-5."""
    patterns: int | None = None
    """Patterns in an episode. Default: the preset's, 5 or 2."""
    bits: int | None = None
    """Bits in a pattern. Default: the preset's, 1,000 or 50."""
    presentation_steps: int | None = None
    """Steps for which a pattern is presented. Default: the preset's, 10 or 3."""
    blank_steps: int | None = None
    """Steps after each presentation in which nothing is shown. Default: the preset's, 3 or 1."""
    cycles: int | None = None
    """Times that every pattern is presented. Default: the preset's, 3 or 1."""
    test_steps: int | None = None
    """Steps for which the degraded pattern is shown. Default: the preset's, 10 or 3."""
    erased: float = 0.5
    """Share of its bits that are erased."""
    drive: Literal["clamp", "add"] = "clamp"
    """Whether shown bits clamp their neurons, or are added to their net input, times 20."""

    command: ClassVar[str] = "memorize"

    def defaults(self) -> dict[str, Any]:
        """Return the preset, which depends on the core."""
        plastic = self.core == "plastic"
        common = {"batch_size": 1, "decay_episodes": 0, "init_alpha": 0.0}
        if self.preset == "paper":
            return common | {
                "patterns": 5, "bits": 1000, "presentation_steps": 10, "blank_steps": 3, "cycles": 3, "test_steps": 10,
                "episodes": 200, "learning_rate": 1e-3 if plastic else 3e-5,
            }  # fmt: skip
        return common | {
            "patterns": 2, "bits": 50, "presentation_steps": 3, "blank_steps": 1, "cycles": 1, "test_steps": 3,
            "episodes": 2000, "learning_rate": 3e-4 if plastic else 3e-5, "hidden_size": None if plastic else 2050,
        }  # fmt: skip

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of the task."""
        names = (
            "patterns", "bits", "presentation_steps", "blank_steps", "cycles", "test_steps", "erased", "drive",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


IMAGES_TUNED: dict[str, Any] = {"episodes": 16_000, "batch_size": 1, "learning_rate": 2e-4, "init_alpha": 0.01,
                                "queries": 6}  # fmt: skip


@dataclass(frozen=True)
class Images(CompletionRun):
    """Train a plastic network to memorize natural images at a glance, and to complete them from a half."""

    preset: Literal["tuned", "paper"] = "tuned"
    """Where settings that are not given come from: found by tuning, 16,000 episodes, learning rate 2e-4, which falls to
    0; or the paper's (4.3), 40,000 episodes, 1e-4, or 3e-5 without plasticity."""
    data: Literal["cifar10", "synthetic"] = "cifar10"
    """Photographs of 32 x 32 pixels in grey, or noise with the spectrum of photographs, which needs no download."""
    data_dir: Path | None = None
    """Folder with cifar-10-binary.tar.gz or what is in it. Default: downloaded once (170 MB) into the user's cache."""
    learn_eta: bool = True
    """Eta is trained too; with --no-learn-eta it stays as it is."""
    presentation_steps: int = 20
    """Steps for which an image is presented."""
    blank_steps: int = 3
    """Steps after each presentation in which nothing is shown."""
    cycles: int = 3
    """Times that each of the three images is presented."""
    test_steps: int = 3
    """Steps for which a half image is shown."""
    queries: int | None = None
    """Half images at the end of an episode of training, one after another. Default: the preset's, 6 or 1."""

    command: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        """Check what can be checked without the images, which may have to be downloaded."""
        super().__post_init__()
        _require_at_least(self, {"queries": 1})
        if self.data != "cifar10" and self.data_dir is not None:
            raise UsageError(f"--data-dir is for photographs, not for --data {self.data}: leave one of them out")

    def defaults(self) -> dict[str, Any]:
        """Return the preset; in the tuned one the learning rate falls over the whole run."""
        if self.preset == "tuned":
            return {"decay_episodes": self.episodes or IMAGES_TUNED["episodes"]} | IMAGES_TUNED
        return {
            "episodes": 40_000, "batch_size": 1, "learning_rate": 1e-4 if self.core == "plastic" else 3e-5,
            "decay_episodes": 0, "init_alpha": 0.0, "queries": 1,
        }  # fmt: skip

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of the task."""
        names = ("presentation_steps", "blank_steps", "cycles", "test_steps", "queries")
        return {name: getattr(self, name) for name in names}


OMNIGLOT_PRESETS: dict[str, dict[str, Any]] = {
    "tuned": {
        "episodes": 60_000, "batch_size": 8, "learning_rate": 2e-3, "drop_every": 0,
        "training_way": 20, "distortion": 0.1, "activation": "relu", "batch_norm": True, "unit_features": True,
    },
    "paper": {
        "episodes": 5_000_000, "batch_size": 1, "learning_rate": 3e-5, "decay_episodes": 0, "drop_every": 1_000_000,
        "queries": 1, "training_way": None, "distortion": 0.0, "activation": "tanh", "batch_norm": False,
        "unit_features": False,
    },
}  # fmt: skip
ROTATIONS = {"paper": "episode", "lake": "training", "vinyals": "class", "glyphs": "episode"}


@dataclass(frozen=True)
class Omniglot(TaskRun):
    """Train a network with a plastic output layer to tell characters apart that it has seen a single time."""

    episodes: int | None = None
    """Episodes to train on in all, rounded up to whole batches. Default: the preset's, 60,000 or 5 million."""
    preset: Literal["tuned", "paper"] = "tuned"
    """Where settings that are not given come from: found by tuning, 60,000 episodes in batches of 8, learning rate
    2e-3, which falls to 0; or the paper's (4.4), 5 million, one by one, 3e-5, which falls to 2/3 every million."""
    data: Literal["omniglot", "glyphs"] = "omniglot"
    """Handwritten characters, or a stand-in that needs no download: characters of fonts, distorted at random."""
    data_dir: Path | None = None
    """Folder with images_background.zip and images_evaluation.zip, or what is in them. Default: downloaded once (17 MB)
    into the user's cache."""
    split: Literal["paper", "lake", "vinyals"] | None = None
    """Which characters are for tests: 100 drawn at random (paper, the default); all of the evaluation set (lake); the
    last 423, every character in each of four rotations a class of its own (vinyals)."""
    way: int = 5
    """Classes in an episode."""
    shot: int = 1
    """Different drawings of each class that are shown with their label."""
    presentations: int = 1
    """Times that each of them is shown."""
    image_size: int = 31
    """Pixels a side that drawings are shrunk to."""
    queries: int | None = None
    """Queries at the end of an episode, each answered by itself. Default: the preset's, one per class or 1."""
    training_way: int | None = None
    """Classes in an episode of training, with more queries in proportion. Default: the preset's, 20 or as in tests."""
    distortion: float | None = None
    """Of drawings in training, by random affine maps: standard deviation of their entries. Default: the preset's, 0.1
    or 0."""

    core: Literal["plastic", "fixed"] = "plastic"
    """Output layer; fixed is the control without plasticity."""
    width: int = 64
    """Features of each of the four convolutions."""
    activation: Literal["tanh", "relu"] | None = None
    """Of the convolutions. Default: the preset's, relu or tanh."""
    batch_norm: bool | None = None
    """Whether convolutions are followed by batch normalization. Default: the preset's, tuned does."""
    unit_features: bool | None = None
    """Whether images are compared by the angle between their features alone. Default: the preset's, tuned does."""
    rule: Literal["hebb", "oja", "clip"] = "oja"
    """Plasticity rule."""
    alpha: Literal["connection", "neuron", "shared"] = "shared"
    """Plasticity coefficients: one per connection, per output, or one for all."""
    eta: float = 0.5
    """Learning rate of the trace, at the start if it is trained."""
    learn_eta: bool = True
    """Eta is trained too; with --no-learn-eta it stays as it is."""

    drop_every: int | None = None
    """Episodes after which the learning rate falls to 2/3, again and again; 0: it does not. Default: the preset's."""
    log_every: int = 2_000
    """Episodes between rows of metrics.csv, which are means over the updates between them."""
    validate_every: int = 10_000
    """Episodes between validations, by which the weights that are kept are chosen."""
    validation_episodes: int = 1_000
    """Episodes in each validation."""
    eval_episodes: int = 1_000
    """Fresh episodes, of characters never trained on, that the finished network is tested on."""

    command: ClassVar[str] = "omniglot"

    def __post_init__(self) -> None:
        """Check what can be checked without the drawings, which may have to be downloaded."""
        super().__post_init__()
        at_least = {
            "way": 2, "shot": 1, "presentations": 1, "queries": 1, "distortion": 0, "width": 1, "drop_every": 0,
            "log_every": 0, "validate_every": 0, "validation_episodes": 1,
        }  # fmt: skip
        _require_at_least(self, at_least)
        _require(self, "training_way", lambda v: v >= self.way, f"at least the way, {self.way}")
        _require(self, "image_size", lambda v: 31 <= v <= 105, "from 31 to 105")
        for name in ("data_dir", "split"):
            if self.data != "omniglot" and getattr(self, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} is for Omniglot, not for --data {self.data}: leave one of them out")

    def defaults(self) -> dict[str, Any]:
        """Return the preset; its learning rate falls over the whole run."""
        preset = dict(OMNIGLOT_PRESETS[self.preset])
        if preset["training_way"] is not None:
            preset["training_way"] = max(preset["training_way"], self.way)
        given = {"split": "paper"} if self.data == "omniglot" else {}
        return {"decay_episodes": self.episodes or preset["episodes"], "queries": self.way} | preset | given

    @property
    def split_name(self) -> Literal["paper", "lake", "vinyals", "glyphs"]:
        """The split of the characters: that of the stand-in has the stand-in's name."""
        return "glyphs" if self.data == "glyphs" else self.split or "paper"

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of episodes and network."""
        names = (
            "way", "shot", "presentations", "queries", "training_way", "distortion", "width", "activation",
            "batch_norm", "unit_features",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names} | {"rotation": ROTATIONS[self.split_name]}

    def trainer_settings(self) -> dict[str, Any]:
        """Return the settings of the trainer."""
        names = ("drop_every", "log_every", "validate_every", "validation_episodes")
        return super().trainer_settings() | {name: getattr(self, name) for name in names}

    def facts(self) -> dict[str, Any]:
        """Return what the results are of."""
        data = "Omniglot" if self.data == "omniglot" else "glyphs of fonts, a stand-in for Omniglot"
        return {"data": data, "split": self.split_name, "way": self.way, "shot": self.shot}

    @property
    def title(self) -> str:
        """What the learning curve is of."""
        facts = self.facts()
        data = f"{facts['data']}, {self.way}-way {self.shot}-shot" + (f", split {self.split}" if self.split else "")
        return f"{data}, {self.core}, seed {self.seed}"


TASKS: dict[str, type[TaskRun]] = {run.command: run for run in (Memorize, Images, Omniglot)}
RUNS: dict[str, type[MazeRun | TaskRun]] = {MazeRun.command: MazeRun, **TASKS}


@dataclass(frozen=True)
class Compare:
    """Train several kinds of agents with several seeds each, side by side, and draw their curves in one figure.

    A comparison that was stopped goes on when it is called again; agents and seeds may be added to it.
    """

    out: Path = Path("runs/comparison")
    """Folder of the comparison, with a run folder for each agent and seed."""
    agents: tuple[Agent, ...] = get_args(Agent)
    """Which ones: the plastic agent; its rules oja and clip; one plasticity coefficient for all its connections
    (shared); a plain rnn with as many neurons, or with as many parameters (rnn-wide); an lstm with as many
    parameters; a network without memory."""
    seeds: int = 3
    """Runs of each agent, of seeds 0, 1, 2, ..."""
    jobs: int | None = None
    """Runs at a time, of one thread each; by default as many as there are cores."""
    preset: Literal["tuned", "paper"] = "tuned"
    """Settings of learning, for all agents alike; the learning rate falls over the whole run where it falls."""
    steps: int = 30_000_000
    """Environment steps of each run."""
    learning_rate: float | None = None
    """Adam's learning rate at the start. Default: the preset's, 1e-3 or 1e-4."""
    env: str = "PlasticRL/GridMaze-v0"
    """Environment id of a maze of this package."""
    size: int = 11
    """Cells a side of the maze, outer wall included: odd, at least 5."""
    lifetime: int = 250
    """Steps in a lifetime."""
    wall_penalty: float = 0.1
    """What moving into a wall costs; reaching the goal pays 10."""
    hidden_size: int = 100
    """Neurons of the plastic agent."""
    log_every: int = 200_000
    """Environment steps between points of the curves."""
    eval_episodes: int = 300
    """Fresh lifetimes that each finished agent is tested on."""

    def __post_init__(self) -> None:
        """Check the numbers; the runs check the rest."""
        for name in ("seeds", "jobs"):
            _require(self, name, lambda v: v >= 1, "at least 1")
        _require(self, "agents", lambda v: len(v) > 0, "at least one")
        run = self.run_settings("plastic", 0)
        assert run.envs is not None
        if self.steps < run.envs * run.lifetime:
            least = f"{run.envs * run.lifetime}, one lifetime in each of {run.envs} mazes"
            raise UsageError(f"--steps is {self.steps}: expected at least {least}, for a curve")

    def run_settings(self, agent: str, seed: int) -> MazeRun:
        """Return the settings of one run; of an agent of another size, that size is still to be set.

        Raises:
            UsageError: a setting is out of bounds.
        """
        names = (
            "preset", "steps", "learning_rate", "env", "size", "lifetime", "wall_penalty", "hidden_size", "log_every",
            "eval_episodes",
        )  # fmt: skip
        kwargs = {name: getattr(self, name) for name in names}
        return MazeRun(**kwargs, **AGENTS[agent], seed=seed, threads=1).resolved()


@dataclass(frozen=True)
class Evaluate:
    """Test a run on fresh lifetimes: an agent beside random play and an all-knowing one, memory without plasticity."""

    run: Annotated[Path | None, Positional] = None
    """Run folder, or maze or omniglot for what comes with the package; by default maze, the trained agent."""
    episodes: int | None = None
    """Lifetimes to test on. Default: as many as the run was tested on when it was finished."""
    data_dir: Path | None = None
    """Folder of the dataset. Default: as in the run's training."""
    out: Path | None = None
    """Folder for summary.json; by default evaluation/, in the run folder if one is named."""
    seed: int = 0
    """Which fresh lifetimes; never those of training."""
    deterministic: bool = False
    """Of an agent: take the likeliest action instead of a sample."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _require(self, "episodes", lambda v: v >= 1, "at least 1")
        _require_seed(self)


@dataclass(frozen=True)
class Curves:
    """Draw the learning curves of several runs in one figure; those that differ in their seed alone are one curve."""

    runs: Annotated[tuple[Path, ...], Positional]
    """Run folders, finished or not, all of one command."""
    out: Path = Path("curves.png")
    """The figure; the points drawn are written beside it, as CSV."""
    column: str | None = None
    """Column of metrics.csv. Default: return_mean of mazes, wrong_bits, the loss of images, validation_accuracy."""
    log: bool = False
    """Whether the axis of episodes or steps is logarithmic."""
    points: int = 100
    """Of a curve, at most: means over what lies between them."""

    def __post_init__(self) -> None:
        """Check what can be checked without the runs."""
        _require(self, "points", lambda v: v >= 1, "at least 1")
        if not self.runs:
            raise UsageError("no runs: name at least one run folder")
        if self.out.suffix.lower() != ".png":
            raise UsageError(f"--out is {self.out}: expected a name that ends with .png")


@dataclass(frozen=True)
class Watch:
    """Watch an agent and its network in a window, or write one lifetime as a GIF.

    Keys: space pauses, right arrow makes one step, + and - change the speed, T freezes the trace as it is (and lets it
    go on), R begins a new lifetime, Q quits.
    """

    run: Annotated[Path | None, Positional] = None
    """Run folder; by default the trained agent that comes with the package."""
    gif: Path | None = None
    """Write this file instead of opening a window; needs no display."""
    seed: int = 0
    """Which lifetime to begin with."""
    fps: int = 12
    """Steps a second, in the window and in the GIF."""
    deterministic: bool = False
    """Take the likeliest action instead of a sample."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _require_seed(self)
        _require(self, "fps", lambda v: 1 <= v <= 100, "from 1 to 100")


@dataclass(frozen=True)
class Play:
    """Drive the maze yourself, seeing what an agent sees; then see how the agent does in the same lifetime.

    Find the hidden goal, then find it again. Keys: arrows or WASD move, R begins a new lifetime, Q quits.
    """

    run: Annotated[Path | None, Positional] = None
    """Run folder of the agent to compare with; by default the trained agent that comes with the package."""
    size: int | None = None
    """Cells a side, outer wall included: odd, at least 5. Default: as the agent was trained."""
    lifetime: int | None = None
    """Steps in a lifetime. Default: as the agent was trained."""
    random_walls: bool = False
    """Whether to draw the walls anew in every lifetime."""
    full_view: bool = False
    """Whether to see the whole maze, and where you are in it, which agents do not."""
    show_goal: bool = False
    """Whether to see the goal too, which agents never do."""
    seed: int = 0
    """Which lifetime to begin with."""

    def __post_init__(self) -> None:
        """Check the seed; the maze checks the rest."""
        _require_seed(self)


def _require_at_least(config: Any, at_least: Mapping[str, float]) -> None:
    for name, least in at_least.items():
        _require(config, name, partial(operator.le, least), f"at least {least}")


def _require_seed(config: Any) -> None:
    _require(config, "seed", lambda v: 0 <= v < FRESH - MOST_ENVS, f"from 0 to {FRESH - MOST_ENVS - 1}")


def _require_threads(config: Any) -> None:
    _require(config, "threads", lambda v: 1 <= v <= 1024, "from 1 to 1024")


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value read from JSON is what a field's annotation says."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return any(_is_a(value, one) for one in get_args(kind))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is kind


def _require(config: Any, name: str, holds: Callable[[Any], bool], expected: str) -> None:
    value = getattr(config, name)
    if value is not None and not holds(value):
        raise UsageError(f"--{name.replace('_', '-')} is {value}: expected {expected}")


def changed(config: Any, kept: Any = None) -> set[str]:
    """Return the names of the settings that are not the default; or, if others were kept, not as they were."""
    return {f.name for f in fields(config) if getattr(config, f.name) != getattr(kept, f.name, f.default)}


def is_own(env_id: str) -> bool:
    """Whether an environment id, "id" or "module:id", is of a maze of this package."""
    return env_id.rpartition(":")[2].startswith("PlasticRL/")


def check_resumed(settings: Run, kept: Run) -> None:
    """Check that settings to go on with are a run's own, but for its length and what else may change.

    Raises:
        UsageError: they differ in others.
    """
    if wrong := sorted(changed(settings, kept) - {kept.length, *MAY_CHANGE}):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise UsageError(f"--resume goes on with the settings of the run: leave out {flags}")


def check_core(config: MazeRun | TaskRun) -> None:
    """Check that a new run is given no setting that its core has no use for.

    Raises:
        UsageError: it is.
    """
    if given := sorted(changed(config) & UNUSED.get(config.core, set())):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"--core {config.core} has no use for {flags}: leave it out, or choose another core")

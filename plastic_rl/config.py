"""The commands' settings: typed dataclasses, which become command lines, help texts and config.json."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tyro.conf import Positional

from plastic_rl.errors import UsageError

# Testing uses seeds from here on: they are never those of training.
FRESH = 1_000_000_000


@dataclass(frozen=True)
class MazeRun:
    """Train a plastic agent with A2C to learn, within each lifetime, where a maze's hidden goal is."""

    out: Path | None = None
    """Run folder, new or empty; by default one under runs/ named after the time."""
    resume: Path | None = None
    """Run folder to go on with. Its settings hold; only --steps, --threads and --device can be given anew."""
    steps: int = 12_000_000
    """Environment steps in all, over all mazes; rounded up to whole updates."""
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

    envs: int = 16
    """Lifetimes lived side by side."""
    n_steps: int | None = None
    """Steps per maze and update. Default: the whole lifetime."""
    learning_rate: float = 5e-4
    """Adam's learning rate at the start."""
    decay_steps: int = 12_000_000
    """Environment steps over which the learning rate falls linearly to a tenth; 0: it stays."""
    gamma: float = 0.9
    """Discount factor."""
    gae_lambda: float = 1.0
    """Of generalized advantage estimation; 1: returns minus values, as in the paper."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    squared_prob_coef: float = 0.03
    """Weight of the penalty on squared action probabilities, the paper's stand-in for the entropy bonus."""
    vf_coef: float = 0.1
    """Weight of the squared error of the values."""
    max_grad_norm: float = 4.0
    """Norm to which gradients are clipped."""
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
            "threads": 1, "n_steps": 1, "vf_coef": 0, "ent_coef": 0, "squared_prob_coef": 0, "checkpoint_every": 0,
        }  # fmt: skip
        for name, least in at_least.items():
            _require(self, name, partial(operator.le, least), f"at least {least}")
        _require_seed(self)
        for name in ("gamma", "gae_lambda", "eta"):
            _require(self, name, lambda v: 0 <= v <= 1, "from 0 to 1")
        for name in ("learning_rate", "max_grad_norm"):
            # PyTorch's Adam cannot compute with numbers near the largest of float32.
            _require(self, name, lambda v: 0 < v <= 1e30, "above 0 and at most 1e30")

    def env_kwargs(self) -> dict[str, Any]:
        """Return the settings of the maze; for other environments, those that were changed."""
        names = ("size", "lifetime", "view", "wall_penalty", "goal", "teleport")
        wanted = names if "PlasticRL/" in self.env else changed(self).intersection(names)
        return {name: getattr(self, name) for name in wanted}

    def policy_kwargs(self) -> dict[str, Any]:
        """Return the settings of the network."""
        kwargs: dict[str, Any] = {"core": self.core, "hidden_size": self.hidden_size}
        if self.core == "plastic":
            kwargs |= {"rule": self.rule, "alpha": self.alpha, "eta": self.eta}
        if self.core != "lstm":
            kwargs["nonlinearity"] = self.nonlinearity
        return kwargs

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them, without the folders."""
        return {name: value for name, value in asdict(self).items() if name not in ("out", "resume")}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "MazeRun":
        """Return the settings that ``to_json`` gave.

        Raises:
            ValueError: a setting is unknown or of another type.
            UsageError: a setting is out of bounds.
        """
        kinds = get_type_hints(cls)
        for name, value in content.items():
            if name not in kinds:
                raise ValueError(f"there is no setting {name}")
            if not _is_a(value, kinds[name]):
                raise ValueError(f"{name} cannot be {value!r}")
        return cls(**content)


@dataclass(frozen=True)
class Evaluate:
    """Test a run's agent on fresh lifetimes, and compare it with random play and with an all-knowing agent."""

    run: Annotated[Path | None, Positional] = None
    """Run folder; by default the trained agent that comes with the package."""
    episodes: int = 300
    """Lifetimes to play."""
    out: Path | None = None
    """Folder for summary.json; by default evaluation/, in the run folder if one is named."""
    seed: int = 0
    """Which fresh lifetimes; never those of training."""
    deterministic: bool = False
    """Take the likeliest action instead of a sample."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _require(self, "episodes", lambda v: v >= 1, "at least 1")
        _require_seed(self)


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


def _require_seed(config: Any) -> None:
    _require(config, "seed", lambda v: 0 <= v < FRESH, f"from 0 to {FRESH - 1}")


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


def changed(config: Any) -> set[str]:
    """Return the names of the settings that are not the default."""
    return {f.name for f in fields(config) if getattr(config, f.name) != f.default}

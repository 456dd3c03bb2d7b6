"""What the settings of all commands share: bounds, presets, and the forms they take in JSON and on a command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from plastic_rl.checks import check_at_least, check_choice, check_used, check_within, finite_number
from plastic_rl.choices import (
    MODULATIONS,
    MODULATOR,
    UNUSED,
    FanOut,
    Modulation,
    ModulatorNonlinearity,
    default_rule,
)
from plastic_rl.errors import UsageError, option
from plastic_rl.seeds import LARGEST

MAY_CHANGE = ("threads", "device")  # what a resumed run may change besides its length


@dataclass(frozen=True)
class Bound:
    """Stands in a field's annotation and checks its value; None is not checked.

    Attributes:
        check: takes the name of the option and the value, and raises ValueError if the value is out of bounds.
    """

    check: Callable[[str, Any], object]


def at_least(least: float) -> Bound:
    """Return the bound of values that are ``least`` or more."""
    return Bound(partial(check_at_least, least=least))


def within(low: float, high: float) -> Bound:
    """Return the bound of values from ``low`` to ``high``."""
    return Bound(partial(check_within, low=low, high=high))


def unset(words: str, choices: Sequence[str] = ()) -> Any:
    """Return an annotation that lets ``--help`` say in words what happens when a setting is None.

    Args:
        words: what happens.
        choices: the values to choose from, if the setting is a choice.
    """
    return tyro.conf.arg(
        help_behavior_hint=lambda shown: f"(default: {words if shown == 'None' else shown})",
        metavar=f"{{{','.join(choices)}}}" if choices else None,
    )


NONE = "none"  # how a command line gives a number or a choice the value None
MODULATION = unset("none", (*MODULATIONS, NONE))
Count = Annotated[int, at_least(1)]
CountOrNone = Annotated[int, at_least(0)]  # 0 switches off what is counted
Weight = Annotated[float, at_least(0)]
Fraction = Annotated[float, within(0, 1)]
Seed = Annotated[int, within(0, LARGEST)]
# PyTorch's Adam cannot compute with numbers near the largest of float32.
POSITIVE = Bound(partial(finite_number, low=0.0, high=1e30, above=True))
Positive = Annotated[float, POSITIVE]

RunT = TypeVar("RunT", bound="Run")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a command. Each field becomes an option, and its docstring the option's help.

    ``--help`` begins a new line where the docstring of a field does, so such a line is a sentence.
    """

    leading: ClassVar[tuple[str, ...]] = ()  # the settings that others depend on, of which the values are found first

    @classmethod
    def variant(cls, leading: Mapping[str, Any]) -> "type[Settings]":
        """Return the class of the settings that there are, given the leading ones by name."""
        return cls

    def __post_init__(self) -> None:
        """Check the numbers against the bounds in the annotations.

        Raises:
            UsageError: a number is out of bounds.
        """
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for bound in getattr(kind, "__metadata__", ()):
                if isinstance(bound, Bound) and value is not None:
                    try:
                        bound.check(option(name), value)
                    except ValueError as error:
                        raise UsageError(str(error)) from error

    def pick(self, *names: str) -> dict[str, Any]:
        """Return the settings of these names."""
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class ModulationSettings(Settings):
    """How a network modulates its own plasticity."""

    modulation: Annotated[Modulation | None, MODULATION] = None
    """Let the network compute the rates of its own plasticity (Backpropamine).
    With simple, the rate of the rule; with retroactive, the rate at which an eligibility trace becomes a trace."""
    fan_out: FanOut = "none"
    """How the modulation reaches the neurons: alike, or by a gain and an offset of each neuron."""
    modulator_nonlinearity: ModulatorNonlinearity = "tanh"
    """Range of the modulation: -1 to 1 (tanh) or 0 to 1 (sigmoid)."""

    def __post_init__(self) -> None:
        """Check that there are no settings of a modulator without one."""
        super().__post_init__()
        if self.modulation is None:
            for field in fields(ModulationSettings):
                if field.name in MODULATOR and (value := getattr(self, field.name)) != field.default:
                    raise UsageError(
                        f"{option(field.name)} is {value} without --modulation: leave it out, or choose a modulation"
                    )

    @staticmethod
    def adapted_rule(chosen: Any) -> dict[str, Any]:
        """Return the default of the rule, which depends on the modulation."""
        return {"rule": default_rule(chosen.modulation)}


@dataclass(frozen=True, kw_only=True)
class Run(Settings):
    """Settings of a training run, which are kept in its config.json.

    The constructor's defaults are those of the first preset; ``from_preset`` starts from any preset and also adapts
    the settings that depend on others. ``preset`` is the first of the leading settings.
    """

    command: ClassVar[str]
    length: ClassVar[str]  # the setting that says how long to train

    out: Annotated[Path | None, unset("a new one under runs/, named after the time")] = None
    """Run folder, new or empty."""
    resume: Annotated[Path | None, unset("start a new run")] = None
    """Folder of a run to continue with its own settings.
    Its length (--steps or --episodes), --threads and --device can be given anew."""
    preset: str
    """Where the defaults of the other settings come from."""
    seed: Seed = 0
    """Seed of every random generator; the same seed repeats the run."""
    threads: Annotated[int | None, within(1, 1024), unset("one per core")] = None
    """Processor threads."""
    device: str = "cpu"
    """PyTorch device of the network, such as cpu or cuda. The fused kernels run on the CPU."""
    tensorboard: bool = False
    """Write a TensorBoard log into the run folder."""
    core: str
    """Core of the network."""
    checkpoint_every: Weight = 60.0
    """Seconds between checkpoints."""
    eval_episodes: Count
    """Fresh episodes that the trained network is tested on."""

    @classmethod
    def presets(cls: type[RunT]) -> dict[str, RunT]:
        """Return the presets by name, the default first."""
        raise NotImplementedError

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """Return the defaults that depend on other settings.

        Args:
            chosen: has the preset's settings, changed to those that are given, as attributes.
        """
        raise NotImplementedError

    @classmethod
    def from_preset(cls: type[RunT], preset: str | None = None, **given: Any) -> RunT:
        """Return a preset's settings, with those in ``given`` changed and those that depend on them adapted.

        Args:
            preset: its name; None: the default preset.
            given: settings that are to have these values.

        Raises:
            UsageError: a setting is out of bounds.
        """
        presets = cls.presets()
        name = next(iter(presets)) if preset is None else preset
        check_choice("preset", name, presets)
        start = presets[name]
        chosen = SimpleNamespace(**{**start.pick(*names_of(cls)), **given})
        return replace(start, **{**cls.adapted(chosen), **given})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them, without ``out`` and ``resume``."""
        content = {name: value for name, value in asdict(self).items() if name not in ("out", "resume")}
        return {name: str(value) if isinstance(value, Path) else value for name, value in content.items()}

    @classmethod
    def from_json(cls: type[RunT], content: Mapping[str, Any]) -> RunT:
        """Return the settings that ``to_json`` gave; those missing, as in older runs, are the preset's.

        Raises:
            ValueError: a setting is unknown or has another type.
            UsageError: a setting is out of bounds.
        """
        kinds, settings = get_type_hints(cls), dict(content)
        for name, value in content.items():
            if name not in names_of(cls):
                raise ValueError(f"there is no setting {name}")
            if Path in get_args(kinds[name]) and isinstance(value, str):
                settings[name] = Path(value)
            elif not is_a(value, kinds[name]):
                raise ValueError(f"{name} cannot be {value!r}")
        return cls.from_preset(**settings)

    def to_words(self) -> list[str]:
        """Return the words of a command line that gives these settings."""
        leading = self.pick(*self.leading)
        names = changed(self, type(self).from_preset(**leading)) - {"out", "resume"}
        words = []
        for name in sorted({*leading, *names}):
            value = getattr(self, name)
            if isinstance(value, bool):
                words.append(option(name if value else f"no-{name}"))
            else:
                words += [option(name), NONE if value is None else str(value)]
        return words


def names_of(kind: type[Settings]) -> tuple[str, ...]:
    """Return the names of the settings that a class holds."""
    return tuple(field.name for field in fields(kind))


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value, as read from JSON, fits a field's annotation."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return any(is_a(value, one) for one in get_args(kind))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is kind


def changed(settings: Settings, before: Settings) -> set[str]:
    """Return the names of the settings that differ from those before."""
    return {name for name in names_of(type(settings)) if getattr(settings, name) != getattr(before, name)}


def check_resumed(settings: Run, kept: Run) -> None:
    """Check that a resumed run keeps its settings, except its length and those in ``MAY_CHANGE``.

    Raises:
        UsageError: other settings differ.
    """
    if wrong := sorted(changed(settings, kept) - {kept.length, *MAY_CHANGE}):
        raise UsageError(f"--resume continues with the run's own settings: leave out {', '.join(map(option, wrong))}")


def check_core(settings: Run, default: Run) -> None:
    """Check that no setting is given that the core has no use for.

    Args:
        settings: of a new run.
        default: the settings that hold where none are given but the leading ones.

    Raises:
        UsageError: such a setting differs from the default.
    """
    leading = changed(settings, type(settings).from_preset(settings.preset)) & set(settings.leading)
    changes = changed(settings, default) | leading
    given, unused = (sorted(map(option, names)) for names in (changes, UNUSED[settings.core]))
    try:
        check_used(f"--core {settings.core}", given, unused)
    except ValueError as error:
        raise UsageError(str(error)) from error

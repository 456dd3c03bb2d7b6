"""The command line: ``python train.py COMMAND``, ``plastic-rl COMMAND`` or ``python -m plastic_rl.cli COMMAND``."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from plastic_rl.errors import UsageError, UserError, invocation, option, program_name
from plastic_rl.settings import AGENT_RUNS, RUNS, TASKS
from plastic_rl.settings.base import NONE, Run, RunT, Settings, check_core, check_resumed, is_a
from plastic_rl.settings.compare import Compare
from plastic_rl.settings.curves import Curves
from plastic_rl.settings.evaluate import Evaluate
from plastic_rl.settings.play import Play
from plastic_rl.settings.watch import Watch

if TYPE_CHECKING:
    from plastic_rl.runs.folder import RunFolder


class Command(NamedTuple):
    """A command: its settings, and "module:function", called with them; to train, also with a run to resume."""

    settings: type[Settings]
    function: str  # loaded when it is called, so that --help and mistakes are answered at once


COMMANDS = {
    **{name: Command(kind, "plastic_rl.commands.agents:train") for name, kind in AGENT_RUNS.items()},
    **{name: Command(kind, "plastic_rl.commands.tasks:train") for name, kind in TASKS.items()},
    "compare": Command(Compare, "plastic_rl.commands.compare:compare"),
    "curves": Command(Curves, "plastic_rl.commands.curves:curves"),
    "evaluate": Command(Evaluate, "plastic_rl.commands.evaluate:evaluate"),
    "watch": Command(Watch, "plastic_rl.commands.watch:watch"),
    "play": Command(Play, "plastic_rl.commands.play:play"),
}
DESCRIPTION = "Networks that keep learning within their lifetime, in mazes and memory tasks."


def main(args: Sequence[str] | None = None) -> None:
    """Run a command. A user's mistake is one line on stderr and exit code 1, or 2 for a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    try:
        _run(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of the output has closed it (``| head``); Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error), 1)
    except MemoryError:
        _fail("there is not enough memory for that: try smaller numbers", 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(message: str, code: int) -> None:
    print(f"plastic-rl: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code) from None


def _run(words: list[str]) -> None:
    name = words[0] if words else ""
    if name not in COMMANDS:
        _explain(words)
    kind, function = COMMANDS[name]
    kind = kind.variant(_leading(kind, words))
    given = _read_run(kind, words) if issubclass(kind, Run) else (_read(kind, words),)
    module, _, attribute = function.partition(":")
    getattr(import_module(module), attribute)(*given)


def _explain(words: Sequence[str]) -> None:
    """Print the help of the program, or what is wrong with words that name no command, and exit."""
    kinds = (Annotated[kind, tyro.conf.subcommand(name)] for name, (kind, _) in COMMANDS.items())
    _tyro(Union[tuple(kinds)], words, prog=program_name(), description=DESCRIPTION)  # noqa: UP007
    raise UsageError(f"name the command first, one of {', '.join(COMMANDS)}")


def _read_run(kind: type[RunT], words: Sequence[str]) -> "tuple[RunT, RunFolder | None]":
    """Read the settings of a run; return them, and its folder if it is resumed.

    Raises:
        UserError: there is no such run to resume.
        UsageError: a setting is out of bounds, or cannot be set for this core or this resumed run.
    """
    default = kind.from_preset(**_leading(kind, words))
    settings = _read(kind, words, default)
    if settings.resume is None:
        check_core(settings, default)
        return settings, None
    from plastic_rl.runs.folder import RunFolder

    run = RunFolder(settings.resume)
    kept = _kept(kind, run)
    settings = _read(kind, words, kept)
    check_resumed(settings, kept)
    return settings, run


def _leading(kind: type[Settings], words: Sequence[str]) -> dict[str, Any]:
    """Return the settings given in words that the defaults of others depend on, such as the preset.

    They are looked for before the words are read as a whole, so that all other settings have their final defaults
    then. A value that cannot be read is left to that reading, which says what is wrong with it.
    """
    found: dict[str, Any] = {}
    kinds = get_type_hints(kind)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in kind.leading:
            continue
        text = value if equals else following
        try:
            parsed = None if text == NONE else _whole_number(text) if kinds[name] is int else text
        except ValueError:
            continue
        if is_a(parsed, kinds[name]):
            found[name] = parsed
    return found


def _kept(kind: type[RunT], run: "RunFolder") -> RunT:
    """Return the settings of a run to resume.

    Raises:
        UserError: there is no such run.
        UsageError: it is a run of another command.
    """
    kept: Run = run.settings(*RUNS.values())
    if not isinstance(kept, kind):
        again = invocation(kept.command, option("resume"), run)
        raise UsageError(f"{run} is a run of {kept.command}: continue it with {again}")
    return replace(kept, resume=run.path)


def _read(kind: type[Any], words: Sequence[str], default: Any = None) -> Any:
    """Read a command's settings from its name and the words after it."""
    return _tyro(kind, words[1:], prog=f"{program_name()} {words[0]}", default=default)


def _tyro(kind: Any, words: Sequence[str], **options: Any) -> Any:
    style = (tyro.conf.PositionalRequiredArgs, tyro.conf.OmitSubcommandPrefixes)
    return tyro.cli(kind, args=words, config=style, registry=_plain_values(), **options)


def _plain_values() -> ConstructorRegistry:
    """Return how values are read and shown.

    Whole numbers may be written as 1e6. Optional settings are shown by their type alone; numbers and choices among
    them can be given as none.
    """
    readers: dict[Any, tuple[str, Callable[[str], Any]]] = {
        int: ("INT", _whole_number),
        int | None: ("INT", partial(_unless_none, _whole_number)),
        float: ("FLOAT", _number),
        float | None: ("FLOAT", partial(_unless_none, _number)),
        Path: ("PATH", Path),
        Path | None: ("PATH", Path),
        str: ("STR", str),
        str | None: ("STR", str),
    }
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        kind, parts = info.type, get_args(info.type)
        if kind in readers:
            return _spec(*readers[kind], is_instance=partial(_is_any, parts or (kind,)))
        if type(None) in parts and get_origin(parts[0]) is Literal:
            choices = (*get_args(parts[0]), NONE)
            read, is_instance = partial(_unless_none, str), partial(is_a, kind=kind)
            return _spec(f"{{{','.join(choices)}}}", read, is_instance, choices)
        return None

    return registry


def _spec(
    metavar: str,
    read: Callable[[str], Any],
    is_instance: Callable[[Any], bool],
    choices: tuple[str, ...] | None = None,
) -> PrimitiveConstructorSpec:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=partial(_first, read),
        is_instance=is_instance,
        str_from_instance=lambda value: [str(value)],
        choices=choices,
    )


def _first(read: Callable[[str], Any], words: list[str]) -> Any:
    return read(words[0])


def _is_any(kinds: tuple[type, ...], value: Any) -> bool:
    return isinstance(value, kinds)


def _unless_none(read: Callable[[str], Any], word: str) -> Any:
    return None if word == NONE else read(word)


def _whole_number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        value = _number(word, "a whole number")
    if not value.is_integer():
        raise ValueError(f"{word!r} is not a whole number")
    return int(value)


def _number(word: str, expected: str = "a number") -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{word!r} is not {expected}") from None


if __name__ == "__main__":
    main()

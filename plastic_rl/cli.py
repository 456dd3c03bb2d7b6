"""The command line: ``python train.py COMMAND``, ``plastic-rl COMMAND`` or ``python -m plastic_rl.cli COMMAND``."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from plastic_rl.errors import UsageError, UserError, invocation, program_name
from plastic_rl.settings import (
    RUNS,
    TASKS,
    Compare,
    Curves,
    Evaluate,
    Images,
    MazeRun,
    Memorize,
    Omniglot,
    Play,
    TaskRun,
    Watch,
    check_core,
    check_resumed,
)

Command = (
    Annotated[MazeRun, tyro.conf.subcommand("maze")]
    | Annotated[Memorize, tyro.conf.subcommand("memorize")]
    | Annotated[Images, tyro.conf.subcommand("images")]
    | Annotated[Omniglot, tyro.conf.subcommand("omniglot")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Curves, tyro.conf.subcommand("curves")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Watch, tyro.conf.subcommand("watch")]
    | Annotated[Play, tyro.conf.subcommand("play")]
)


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 1, or 2 for a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a line under a table is no reason to fail
    try:
        words = sys.argv[1:] if args is None else args
        description = "Networks that keep learning within their lifetime, in mazes and memory tasks."
        config = _read(Command, words, description=description)
        if isinstance(config, (MazeRun, TaskRun)):
            if config.resume is not None:
                config = _resumed(config, config.resume, words)
            else:
                check_core(config)
        _run(config)
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has seen enough (``| head``); Python would complain again while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error), 1)
    except MemoryError:
        _fail("there is not enough memory for that: try smaller numbers", 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _read(kind: Any, words: Sequence[str], **options: Any) -> Any:
    """Read a command's settings from the words of a command line."""
    style = (tyro.conf.PositionalRequiredArgs, tyro.conf.OmitSubcommandPrefixes)
    return tyro.cli(kind, args=words, prog=program_name(), config=style, registry=_plain_values(), **options)


def _resumed(config: MazeRun | TaskRun, folder: Path, words: Sequence[str]) -> MazeRun | TaskRun:
    """Read the words anew, with the settings of the run that is to go on in place of the defaults.

    Raises:
        UserError: there is no such run.
        UsageError: it is of another command, or settings are given that a run cannot change.
    """
    from plastic_rl.runs.folder import read_run

    kept = replace(read_run(folder, *RUNS.values()), resume=folder)
    if type(kept) is not type(config):
        again = invocation(kept.command, "--resume", folder)
        raise UsageError(f"{folder} is a run of {kept.command}: go on with {again}")
    settings = _read(type(config), words[1:], default=kept)
    check_resumed(settings, kept)
    return settings


def _fail(message: str, code: int) -> None:
    print(f"plastic-rl: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code) from None


def _run(config: object) -> None:
    # Loaded here, so that --help and mistakes are answered at once.
    if isinstance(config, MazeRun):
        from plastic_rl.commands.maze import train

        train(config)
        return
    if isinstance(config, Compare):
        from plastic_rl.commands.compare import compare

        compare(config)
        return
    if isinstance(config, Curves):
        from plastic_rl.commands.curves import curves

        curves(config)
        return
    if isinstance(config, TaskRun):
        from plastic_rl.commands import supervised

        supervised.train(config)
        return
    if isinstance(config, Evaluate) and config.run is not None:
        from plastic_rl.runs.folder import named, read_config

        if read_config(named(config.run))["command"] in TASKS:
            from plastic_rl.commands import supervised

            supervised.evaluate(config, named(config.run))
            return
    if isinstance(config, Evaluate):
        from plastic_rl.evaluation import agents as evaluation

        evaluation.evaluate(config)
        return
    from plastic_rl.viewing import scene as playing

    if isinstance(config, Watch):
        playing.watch(config)
    elif isinstance(config, Play):
        playing.play(config)


def _plain_values() -> ConstructorRegistry:
    """How values are read and shown: whole numbers also as 1e6, and settings that may be left out by their type."""
    readers: dict[type, tuple[str, Callable[[str], Any]]] = {
        int: ("INT", _whole_number),
        float: ("FLOAT", _number),
        Path: ("PATH", Path),
        str: ("STR", str),
    }
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        for kind, (metavar, read) in readers.items():
            if info.type in (kind, kind | None):
                kinds = (kind,) if info.type is kind else (kind, type(None))
                return PrimitiveConstructorSpec(
                    nargs=1,
                    metavar=metavar,
                    instance_from_str=partial(_first, read),
                    is_instance=partial(_is_any, kinds),
                    str_from_instance=lambda value: [str(value)],
                )
        return None

    return registry


def _first(read: Callable[[str], Any], words: list[str]) -> Any:
    return read(words[0])


def _is_any(kinds: tuple[type, ...], value: Any) -> bool:
    return isinstance(value, kinds)


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

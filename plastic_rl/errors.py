"""Mistakes that are the user's to mend: shown as one line, never as a traceback."""

import shlex
import subprocess
import sys
from pathlib import Path


class UserError(Exception):
    """Something that the command was asked for cannot be done. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """The command was called wrongly. Exit code 2."""

    exit_code = 2


class DivergenceError(RuntimeError):
    """The loss, a gradient or a weight became infinite or not a number."""


def program() -> str:
    """Return how this program was called, to tell the user what to type next."""
    called = Path(sys.argv[0])
    if called.name == "train.py":
        return f"python {quoted(called)}"
    if called.name == "cli.py":
        return "python -m plastic_rl.cli"
    return "plastic-rl"


def program_name() -> str:
    """Return this program's name, one word, as its help has it."""
    called = Path(sys.argv[0]).name
    return called if called == "train.py" else "plastic-rl"


def invocation(*words: object) -> str:
    """Return a command of this program as it can be typed into a shell."""
    return " ".join([program(), *map(quoted, words)])


def quoted(word: object) -> str:
    """Return a word as this system's shell takes it."""
    return subprocess.list2cmdline([str(word)]) if sys.platform == "win32" else shlex.quote(str(word))

"""The user's mistakes, shown as one line and never as a traceback; and the words of this program to name in it."""

import shlex
import subprocess
import sys
from pathlib import Path


class UserError(Exception):
    """The command cannot do what it was asked for. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """The command was called in a wrong way. Exit code 2."""

    exit_code = 2


class DivergenceError(RuntimeError):
    """The loss, a gradient or a weight became infinite or NaN."""


class FaultyEnvironmentError(ValueError):
    """An environment returned what none may return: an infinite or undefined observation or reward."""


def program() -> str:
    """Return how this program was called, for a command that the user can type next."""
    called = Path(sys.argv[0])
    if called.name == "train.py":
        return f"python {quoted(called)}"
    if called.name == "cli.py":
        return "python -m plastic_rl.cli"
    return "plastic-rl"


def program_name() -> str:
    """Return the name of this program in its help, one word."""
    called = Path(sys.argv[0]).name
    return called if called == "train.py" else "plastic-rl"


def invocation(*words: object) -> str:
    """Return a command of this program, ready to be typed into a shell."""
    return " ".join([program(), *map(quoted, words)])


def option(name: str) -> str:
    """Return the command-line option of a setting: ``--n-steps`` for ``n_steps``."""
    return f"--{name.replace('_', '-')}"


def quoted(word: object) -> str:
    """Return a word, quoted where this system's shell needs it."""
    return subprocess.list2cmdline([str(word)]) if sys.platform == "win32" else shlex.quote(str(word))

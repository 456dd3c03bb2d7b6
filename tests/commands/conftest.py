import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plastic_rl import cli
from plastic_rl.ops import set_num_threads

HERE = Path(__file__).parent
SMALL = [
    "--steps", "800", "--log-every", "160", "--hidden-size", "8", "--envs", "4", "--n-steps", "20", "--lifetime", "20",
    "--size", "7", "--eval-episodes", "5", "--threads", "1",
]  # fmt: skip


def environment(**changes):
    """The environment variables of a machine without a screen; of the environments beside the tests."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    kept = {name: value for name, value in os.environ.items() if name not in screens}
    return kept | {"PYTHONPATH": str(HERE), "COLUMNS": "100"} | changes


def begin(*words, cwd):
    """Start the program in a process of its own, and go on beside it."""
    return subprocess.Popen(
        [sys.executable, "-m", "plastic_rl.cli", *map(str, words)],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def command():
    """Run the program as a user does, in a process of its own."""

    def run(*words, cwd, program=("-m", "plastic_rl.cli"), **changes):
        return subprocess.run(
            [sys.executable, *program, *map(str, words)],
            cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory of its own, without a screen or a trained agent; threads are set back in the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plastic_rl.runs.finding.TRAINED", tmp_path / "missing")
    monkeypatch.syspath_prepend(str(HERE))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)
    set_num_threads(None)


@pytest.fixture
def call(here, capsys):
    """Call the program within this process, which is faster: exit code, output, and what is on stderr."""

    def run(*words):
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Call the program with a mistake: returns its one line, after checking that it is one, and the exit code."""

    def run(*words, code):
        found, _, error = call(*words)
        assert found == code, error
        assert error.startswith("plastic-rl: error: ")
        assert error.count("\n") == 1
        return error

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, command):
    """A finished run, made once; and what was printed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    result = command("maze", "--out", folder, *SMALL, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout

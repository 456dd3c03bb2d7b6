"""What a person at a terminal sees while training."""

import os
import re
import struct
import subprocess
import sys

import pytest

from .conftest import SMALL, environment

pty = pytest.importorskip("pty")
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")


def test_a_progress_bar_tells_return_speed_and_time_left(tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "plastic_rl.cli", "maze", *SMALL, "--steps", "4000", "--out", "run"],
        cwd=tmp_path, env=environment(TERM="xterm"), stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=300) == 0
    last = shown.decode().split("\ntrained")[0].strip().split("\r")[-1]
    assert re.search(r"100% \|.*\| 4.00k of 4.00k steps, .* steps/s, return -?\d+\.\d, 00:00 left", last)
    assert b"160 of" not in shown

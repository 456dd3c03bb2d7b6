"""Keeping freed memory: asked of the C library where there is one that can, and harmless elsewhere."""

import subprocess
import sys

import pytest

from plastic_rl.training import machine

CODE = """
import resource, torch
from plastic_rl.training.machine import keep_freed_memory
print(keep_freed_memory())
torch.set_num_threads(1)
for _ in range(10):
    torch.ones(4_000_000) + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(4_000_000) + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_the_second_tensor_takes_the_first_one_s_memory():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, faults = result.stdout.split()
    assert kept in ("True", "False")
    if kept == "True":
        assert int(faults) < 4000  # of 160,000 that it would be


def test_elsewhere_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert not machine.keep_freed_memory()


def test_another_c_library(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: object())
    assert not machine.keep_freed_memory()

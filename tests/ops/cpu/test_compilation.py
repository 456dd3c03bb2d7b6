"""The kernels are compiled once a machine, and anywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import plastic_rl

PACKAGE = Path(plastic_rl.__file__).parent
ANNOUNCEMENT = "plastic_rl: compiling the CPU kernels, which takes up to a minute"
STEP = """
import torch
from plastic_rl.ops import plastic_rnn
zeros = torch.zeros(1, 1, 1)
outputs, _ = plastic_rnn(zeros + 1, zeros[0], zeros[0], 0.1, zeros[0], zeros, nonlinearity="relu", engine="fused")
print(outputs.item())
"""
BITS = """
import hashlib, torch
from plastic_rl.ops import plastic_rnn
steps, batch, n = 30, 2, 21
for rule in ("hebb", "oja", "clip"):
    torch.manual_seed(0)
    u, clamp = torch.randn(steps, batch, n), torch.full((steps, batch, n), float("nan"))
    clamp[5:20] = torch.randn(batch, n)
    clamp[20:, :, ::2] = 0.5
    w, alpha, eta = torch.randn(n, n) / n**0.5, torch.randn(n, n) / n, torch.tensor(0.1)
    hidden, trace = torch.randn(batch, n), torch.randn(batch, n, n) / n
    starts = torch.zeros(steps, batch, dtype=torch.bool)
    starts[23, 0] = True
    leaves = [t.requires_grad_() for t in (u, w, alpha, eta, hidden, trace, clamp)]
    outputs, state = plastic_rnn(
        u, w, alpha, eta, hidden, trace, rule=rule, clamp=clamp, episode_start=starts, engine="fused"
    )
    (outputs.square().sum() + state.trace.square().sum()).backward()
    results = [outputs.detach(), state.trace.detach(), *(t.grad for t in leaves)]
    print(rule, *(hashlib.sha256(t.numpy().tobytes()).hexdigest()[:12] for t in results))
"""


def run(folder: Path, program: str = STEP, **environment: str) -> subprocess.CompletedProcess:
    """Run a program in a fresh process that finds the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def copy(tmp_path):
    """A copy of the package with nothing compiled."""
    shutil.copytree(PACKAGE, tmp_path / "plastic_rl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("envs", "agents"):
        source = Path(__import__(f"plastic_rl.{name}", fromlist=["__file__"]).__file__).parent
        if not (tmp_path / "plastic_rl" / name).exists():
            shutil.copytree(source, tmp_path / "plastic_rl" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
def test_compilation_is_announced_in_one_line_and_kept(copy):
    """And what is kept computes the same bits as what was just compiled, which calls other copies of its functions."""
    first, second = (run(copy, BITS, NUMBA_CACHE_DIR=str(copy / "cache")) for _ in range(2))
    assert first.stderr.startswith(f"{ANNOUNCEMENT} (kept in {copy / 'cache'}")
    assert first.stderr.count("\n") == 1
    assert second.stderr == ""
    assert first.stdout == second.stdout
    assert first.stdout.count("\n") == 3


@pytest.mark.slow
def test_an_install_that_cannot_be_written_to_works(copy):
    """A file stands where each folder for a cache would: that stops root, too."""
    nowhere = copy / "file"
    nowhere.touch()
    (copy / "plastic_rl" / "ops" / "cpu" / "__pycache__").touch()
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(nowhere / "home"))
    done = run(copy, **homes)
    assert done.stderr.startswith(f"{ANNOUNCEMENT} (not kept")
    assert done.stdout == "1.0\n"

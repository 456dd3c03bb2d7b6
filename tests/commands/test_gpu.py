"""The commands on a GPU: runs that end, repeat and go on there, and runs that move between it and the CPU."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .conftest import SMALL

pytestmark = pytest.mark.gpu

STEPS = ["--presentation-steps", "2", "--blank-steps", "1", "--cycles", "1", "--test-steps", "2"]
FEW = ["--eval-episodes", "5", "--threads", "1"]
RUNS = {
    "plastic": ["memorize", "--patterns", "2", "--bits", "8", *STEPS, *FEW],
    "rnn": ["memorize", "--core", "rnn", "--patterns", "2", "--bits", "8", *STEPS, *FEW],
    "lstm": ["memorize", "--core", "lstm", "--patterns", "2", "--bits", "8", *STEPS, *FEW],
    "images": ["images", "--data", "synthetic", "--decay-episodes", "8", *STEPS, *FEW],
    "omniglot": [
        *("omniglot", "--data", "glyphs", "--width", "8", "--batch-size", "4", "--log-every", "20"),
        *("--validate-every", "20", "--validation-episodes", "20", "--distortion", "0.1", "--decay-episodes", "80"),
        *FEW,
    ],
}  # fmt: skip
LENGTHS = {name: ("20", "40") if name == "omniglot" else ("2", "4") for name in RUNS}  # of half a run, and of the whole


def summary(folder):
    return json.loads(Path(folder, "summary.json").read_text())


def weights(folder):
    return load_file(Path(folder, "model.safetensors"))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_in_two_parts_is_the_run_in_one(call, monkeypatch, name):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    words = [*RUNS[name], "--device", "cuda"]
    half, whole = LENGTHS[name]
    for folder, episodes in (("whole", whole), ("parts", half)):
        code, _, error = call(*words, "--episodes", episodes, "--out", folder)
        assert (code, error) == (0, "")
    code, out, error = call(words[0], "--resume", "parts", "--episodes", whole)
    assert (code, error) == (0, "")
    assert f"going on from episode {half}" in out
    torch.testing.assert_close(weights("parts"), weights("whole"), rtol=0, atol=0)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_a_gpu_is_tested_and_goes_on_without_one(call, name):
    half, whole = LENGTHS[name]
    assert call(*RUNS[name], "--device", "cuda", "--episodes", half, "--out", "run")[0] == 0
    assert call("evaluate", "run", "--episodes", "5")[0] == 0
    code, _, error = call(RUNS[name][0], "--resume", "run", "--device", "cpu", "--episodes", whole)
    assert (code, error) == (0, "")
    assert summary("run")["episodes"] == int(whole)


@pytest.mark.parametrize("core", ["plastic", "rnn", "lstm", "memoryless"])
def test_the_maze(call, core):
    words = ["maze", *SMALL, "--core", core, "--device", "cuda"]
    assert call(*words, "--out", "run")[0] == 0
    assert summary("run")["steps"] == 800
    assert call("evaluate", "run", "--episodes", "5")[0] == 0
    code, _, error = call("maze", "--resume", "run", "--steps", "1600")
    assert (code, error) == (0, "")
    assert all(weight.isfinite().all() for weight in weights("run").values())

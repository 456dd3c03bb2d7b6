"""Runs that repeat, that stop and go on, and that are killed: the same weights in the end, nothing corrupt."""

import csv
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from plastic_rl.agents import archive
from plastic_rl.commands import agents
from plastic_rl.runs import load_agent
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import MazeRun
from plastic_rl.training.recorder import Recorder

from .conftest import begin

# Lifetimes are cut in the middle by updates of 30 steps; 240 environment steps make an update.
WORDS = [
    "--log-every",
    "2400",
    "--hidden-size",
    "8",
    "--envs",
    "8",
    "--lifetime",
    "50",
    "--n-steps",
    "30",
    "--size",
    "7",
    "--eval-episodes",
    "5",
    "--threads",
    "1",
    "--seed",
    "7",
    "--decay-steps",
    "20000",
]
STEPS = 48_000
OFTEN = [*WORDS, "--checkpoint-every", "0.2"]
CLOCK = ("seconds", "env_steps_per_second")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, command):
    """A run of STEPS in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    result = command("maze", *WORDS, "--steps", STEPS, "--out", folder, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


def weights(folder):
    return (Path(folder) / "model.safetensors").read_bytes()


def course(folder):
    """The rows of metrics.csv as they are written, without the clock's columns."""
    rows = list(csv.DictReader((Path(folder) / "metrics.csv").read_text().splitlines()))
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


def test_a_seed_repeats_a_run(call):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert call("maze", *WORDS, "--steps", 2400, "--seed", seed, "--out", name)[0] == 0
    assert weights("a") == weights("b") != weights("c")
    a, b = (json.loads(Path(name, "summary.json").read_text()) for name in "ab")
    clock = ("train_seconds", "env_steps_per_second")
    assert {k: v for k, v in a.items() if k not in clock} == {k: v for k, v in b.items() if k not in clock}


@pytest.mark.parametrize(
    "network",
    [
        ["--core", "plastic"],
        ["--modulation", "simple", "--fan-out", "neuron"],
        ["--core", "plastic_lstm", "--modulation", "retroactive"],
        ["--core", "rnn"],
        ["--core", "lstm"],
        ["--core", "gru"],
    ],
)
def test_a_run_in_two_parts_is_the_run_in_one(call, network):
    words = [*WORDS, *network]
    assert call("maze", *words, "--steps", 9600, "--out", "whole")[0] == 0
    assert call("maze", *words, "--steps", 4800, "--out", "parts")[0] == 0
    first = RunFolder("parts").metrics().rows()[-1]["seconds"]
    code, out, _ = call("maze", "--resume", "parts", "--steps", 9600)
    assert code == 0
    assert "resuming at step 4800" in out
    assert weights("parts") == weights("whole")
    assert course("parts") == course("whole")
    rows = RunFolder("parts").metrics().rows()
    assert [row["steps"] for row in rows] == [2400, 4800, 7200, 9600]
    assert rows[2]["seconds"] > first
    summary = json.loads(Path("parts/summary.json").read_text())
    assert summary["steps"] == 9600
    assert summary["train_seconds"] >= rows[-1]["seconds"]
    assert json.loads(Path("parts/config.json").read_text())["run"]["steps"] == 9600


def test_a_run_of_an_older_version_goes_on_as_it_would_have(call):
    assert call("maze", *WORDS, "--steps", 4800, "--out", "whole")[0] == 0
    assert call("maze", *WORDS, "--steps", 2400, "--out", "old")[0] == 0
    path = Path("old/config.json")
    config = json.loads(path.read_text())
    for name in ("adam_eps", "modulation", "fan_out", "modulator_nonlinearity", "bound", "reward", "openness"):
        del config["run"][name]  # which older versions did not have
    path.write_text(json.dumps(config))
    code, _, error = call("maze", "--resume", "old", "--steps", 4800)
    assert code == 0, error
    assert weights("old") == weights("whole")


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_loses_nothing(call, here, uninterrupted, which):
    process = begin("maze", *OFTEN, "--steps", STEPS, "--out", "run", cwd=here)
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(which)
    rest, error = process.communicate(timeout=300)
    assert process.returncode == 128 + which, lines
    assert error == ""
    stopped = archive.read(here / "run/checkpoint.zip").config["num_timesteps"]
    assert 0 < stopped < STEPS
    told = f"stopped at step {stopped} of {STEPS}; resume with: python -m plastic_rl.cli maze --resume run"
    assert rest.splitlines()[-1] == told
    assert not (here / "run/summary.json").exists()
    assert load_agent(here / "run").num_timesteps == stopped
    code, out, _ = call("maze", "--resume", "run")
    assert code == 0
    assert f"resuming at step {stopped}" in out
    assert weights("run") == weights(uninterrupted)
    assert course("run") == course(uninterrupted)


def test_a_second_stop_is_obeyed_at_once(call, monkeypatch):
    def twice(*_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_on_step", twice)
        code, out, _ = call("maze", *WORDS, "--steps", 2400, "--out", "run")
    assert code == 130
    assert "stopped; resume from the last checkpoint with: " in out
    assert signal.getsignal(signal.SIGINT) is before
    assert call("maze", "--resume", "run")[0] == 0
    assert len(course("run")) == 1


def test_a_stop_while_the_finished_agent_is_tested(call, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(agents, "assess", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(1))
        code, out, _ = call("maze", *WORDS, "--steps", 2400, "--out", "run")
    assert code == 143
    assert "maze --resume run" in out
    assert not Path("run/summary.json").exists()
    kept = weights("run")
    assert call("maze", "--resume", "run")[0] == 0
    assert Path("run/summary.json").exists()
    assert weights("run") == kept


def test_a_line_cut_short_is_written_anew(call):
    assert call("maze", *WORDS, "--steps", 4800, "--out", "run")[0] == 0
    whole = course("run")
    with open("run/metrics.csv", "a") as file:
        file.write("7200,1.5,-0.")
    assert [row["steps"] for row in RunFolder("run").metrics().rows()] == [2400, 4800]
    assert call("maze", "--resume", "run", "--steps", 7200)[0] == 0
    assert course("run")[:2] == whole
    assert [row["steps"] for row in course("run")] == ["2400", "4800", "7200"]


def test_a_run_killed_before_its_first_checkpoint_begins_anew(call):
    assert call("maze", *WORDS, "--steps", 2400, "--out", "whole")[0] == 0
    Path("run").mkdir()
    Path("run/config.json").write_bytes(Path("whole/config.json").read_bytes())
    assert call("maze", "--resume", "run")[0] == 0
    assert weights("run") == weights("whole")


def test_going_on_keeps_threads_and_device_of_the_run(call):
    assert call("maze", *WORDS, "--steps", 240, "--out", "run")[0] == 0
    assert call("maze", "--resume", "run", "--steps", 480)[0] == 0
    assert json.loads(Path("run/config.json").read_text())["run"]["threads"] == 1
    assert call("maze", "--resume", "run", "--steps", 720, "--threads", 2)[0] == 0
    assert json.loads(Path("run/summary.json").read_text())["threads"] == 2


@pytest.mark.slow
def test_kills_at_any_moment_corrupt_nothing(call, here, uninterrupted):
    chance = random.Random(0)
    kills = 0
    for _ in range(30):
        started = (here / "run/config.json").exists()
        words = ("--resume", "run") if started else (*OFTEN, "--steps", STEPS, "--out", "run")
        process = begin("maze", *words, cwd=here)
        if chance.random() < 0.75:  # in the middle of training, rather than of the start
            process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.6))
        finished = process.poll() is not None
        process.kill()
        process.communicate()
        if finished:
            break
        kills += 1
        if (here / "run/config.json").exists():
            assert RunFolder(here / "run").settings(MazeRun).steps == STEPS
        if (here / "run/checkpoint.zip").exists():
            archive.read(here / "run/checkpoint.zip")
        if (here / "run/model.safetensors").exists():
            load_agent(here / "run")
        steps = [row["steps"] for row in RunFolder(here / "run").metrics().rows()]
        assert steps == sorted(set(steps))
        if kills == 8:
            break
    assert kills >= 3
    if not (here / "run/summary.json").exists():
        assert call("maze", "--resume", "run")[0] == 0
    assert weights("run") == weights(uninterrupted)
    assert course("run") == course(uninterrupted)
    assert not [path.name for path in Path("run").iterdir() if path.name.startswith(".")]

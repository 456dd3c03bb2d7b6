"""Run folders: what is read how often, what is kept, and what is removed."""

import builtins
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from plastic_rl import cli
from plastic_rl.agents import archive
from plastic_rl.errors import UsageError, UserError
from plastic_rl.ops import set_num_threads
from plastic_rl.runs.finding import TRAINED, evaluation_folder, find_run, opponent_in
from plastic_rl.runs.folder import FILES, RESULTS, RunFolder
from plastic_rl.runs.metrics import MetricsFile
from plastic_rl.settings import MazeRun, Memorize

WORDS = {
    "maze": [
        *("maze", "--steps", "40", "--log-every", "20", "--hidden-size", "4", "--envs", "2", "--n-steps", "10"),
        *("--lifetime", "10", "--size", "5", "--eval-episodes", "2", "--threads", "1"),
    ],
    "memorize": [
        *("memorize", "--episodes", "3", "--patterns", "1", "--bits", "4", "--presentation-steps", "1"),
        *("--blank-steps", "0", "--cycles", "1", "--test-steps", "1", "--eval-episodes", "2", "--threads", "1"),
    ],
}
LONGER = {"maze": ("--steps", "80"), "memorize": ("--episodes", "6")}


@pytest.fixture
def reads(monkeypatch):
    """How often each file was opened for reading, by its name."""
    counts = Counter()
    real = io.open

    def counted(file, mode="r", *args, **kwargs):
        if isinstance(file, (str, Path)) and not set(mode) & set("wax+"):
            counts[Path(file).name] += 1
        return real(file, mode, *args, **kwargs)

    monkeypatch.setattr(io, "open", counted)  # what pathlib calls
    monkeypatch.setattr(builtins, "open", counted)
    return counts


@pytest.mark.parametrize("command", WORDS)
def test_a_resumed_run_reads_its_config_and_its_checkpoint_once(tmp_path, monkeypatch, reads, command):
    monkeypatch.chdir(tmp_path)
    cli.main([*WORDS[command], "--out", "run"])
    reads.clear()
    cli.main([command, "--resume", "run", *LONGER[command]])
    set_num_threads(None)
    checkpoint = {"maze": "checkpoint.zip", "memorize": "checkpoint.pt"}[command]
    assert (reads["config.json"], reads[checkpoint]) == (1, 1)


def without(content, *names):
    return {name: value for name, value in content.items() if name not in names}


@pytest.mark.parametrize("command", WORDS)
def test_a_run_from_before_a_setting_existed_is_resumed(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    cli.main([*WORDS[command], "--out", "run"])
    newer = ("bound", "modulation", "fan_out", "modulator_nonlinearity")
    config = json.loads(Path("run/config.json").read_text())
    assert set(newer) < set(config["run"])
    config["run"] = without(config["run"], *newer)
    if command == "maze":
        config["agent"]["policy_kwargs"] = without(config["agent"]["policy_kwargs"], *newer)
        saved = archive.read("run/checkpoint.zip")
        saved.config["policy_kwargs"] = without(saved.config["policy_kwargs"], *newer)
        archive.write("run/checkpoint.zip", saved)
    Path("run/config.json").write_text(json.dumps(config))
    cli.main([command, "--resume", "run", *LONGER[command]])
    set_num_threads(None)


def test_a_run_that_is_trained_further_keeps_what_training_needs(tmp_path):
    run = RunFolder(tmp_path)
    for name in (*FILES, "notes.txt", ".summary.json.123"):
        (tmp_path / name).touch()
    assert all((run.is_run, run.has_progress, run.is_finished))
    run.clear_leftovers()
    run.drop_results()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", *FILES} - set(RESULTS)
    assert not run.is_finished


def test_settings_are_those_that_were_written(tmp_path):
    written = MazeRun(size=7, seed=3)
    RunFolder(tmp_path).write_config(written, agent={})
    run = RunFolder(tmp_path)
    assert run.settings(Memorize, MazeRun) == written
    assert list(run.config) == ["command", "run", "agent", "versions"]
    with pytest.raises(UserError, match="is a run of maze: expected a run of memorize"):
        run.settings(Memorize)


def test_metrics_are_dropped_after_a_checkpoint(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv", ("steps", "loss"))
    assert metrics.rows() == []
    metrics.keep_until(0)
    for steps in (10, 20, 30):
        metrics.add({"steps": steps, "loss": steps / 7, "other": 1})
    with open(metrics.path, "a") as file:
        file.write("40,0.")
    metrics.keep_until(20)
    assert metrics.path.read_text() == "steps,loss\n10,1.42857\n20,2.85714\n"
    metrics.add({"steps": 25})
    assert metrics.rows() == [{"steps": 10, "loss": 1.42857}, {"steps": 20, "loss": 2.85714}, {"steps": 25}]


def test_which_run_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "package"
    monkeypatch.setattr("plastic_rl.runs.finding.TRAINED", package)
    with pytest.raises(UsageError, match="there is no trained agent in "):
        find_run(None)
    shutil.copytree(TRAINED, package, ignore=shutil.ignore_patterns("*.safetensors"))
    assert find_run(None).path == find_run(Path("maze")).path == package / "maze"
    assert evaluation_folder(find_run(None)) == Path("evaluation")
    assert find_run(Path("runs/maze")).path == Path("runs/maze")
    Path("maze").mkdir()  # a folder of the user's own comes first
    assert find_run(Path("maze")).path == Path("maze")
    assert evaluation_folder(find_run(Path("maze"))) == Path("maze/evaluation")


def test_whom_a_person_is_compared_with(tmp_path, monkeypatch):
    monkeypatch.setattr("plastic_rl.runs.finding.TRAINED", tmp_path)
    assert opponent_in("PlasticRL/GridMaze-v0") is None
    shutil.copytree(TRAINED, tmp_path, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    assert opponent_in("PlasticRL/CueReward-v0").path == tmp_path / "cue-reward"
    for env in (None, "PlasticRL/GridMaze-v0", "PlasticRL/RandomMaze-v0"):
        assert opponent_in(env).path == tmp_path / "maze"

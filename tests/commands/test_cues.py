"""The commands ``cue-reward`` and ``cue-action``, from a run as a user begins it to what can be done with it."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from plastic_rl.runs import load_agent
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import CueActionRun, CueRewardRun

NETWORK = ["--hidden-size", 8, "--envs", 4, "--n-steps", 10, "--eval-episodes", 5, "--threads", 1, "--log-every", 160]
# Lifetimes of 15 and 18 steps, which are cut in the middle by updates of 10 steps.
TASKS = {
    "cue-reward": ["--cues", 3, "--bits", 4, "--lifetime", 15, "--blanks", 1],
    "cue-action": ["--cues", 3, "--bits", 3, "--code", "one-hot", "--actions", 2, "--meetings", 2, "--delay", 1],
}


@pytest.fixture(scope="module", params=TASKS)
def trained(request, tmp_path_factory, command):
    """The name of a command, a finished run of it, and what was printed."""
    name = request.param
    folder = tmp_path_factory.mktemp(name) / "run"
    words = [*TASKS[name], *NETWORK, "--steps", 800]
    result = command(name, *words, "--out", folder, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return name, folder, result.stdout


@pytest.fixture
def run(trained, here):
    """A copy of a finished run."""
    return Path(shutil.copytree(trained[1], here / "run"))


def weights(folder):
    return (Path(folder) / "model.safetensors").read_bytes()


def test_a_run_folder_holds_what_it_should(trained):
    name, folder, said = trained
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.csv", "checkpoint.zip", "model.safetensors", "summary.json", "curve.png",
        "lifetime.gif",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["command"] == name
    assert config["run"]["modulation"] == "simple"
    assert config["agent"]["policy_kwargs"]["optimizer_kwargs"] == {"eps": 1e-6}
    kind = CueRewardRun if name == "cue-reward" else CueActionRun
    assert RunFolder(folder).settings(kind).to_json() == config["run"]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["steps"], summary["updates"]) == (800, 20)
    assert 0 <= summary["right_answers"] <= 1
    assert summary["oracle_return"] > summary["random_return"]
    for word in ("random play", "this agent", "of the ideal observer", "right answers", "last quarter"):
        assert word in said
    assert not [word for word in ("oracle", "with a hit") if word in said]
    assert Image.open(folder / "lifetime.gif").n_frames == {"cue-reward": 16, "cue-action": 19}[name]


def test_a_seed_repeats_a_run_in_one_part_or_in_two(trained, call):
    name, whole, _ = trained
    words = [*TASKS[name], *NETWORK, "--decay-steps", 800]
    assert call(name, *words, "--steps", 400, "--out", "parts")[0] == 0
    code, said, error = call(name, "--resume", "parts", "--steps", 800)
    assert code == 0, error
    assert "resuming at step 400" in said
    assert weights("parts") == weights(whole)
    assert call(name, *words, "--steps", 400, "--seed", 1, "--out", "other")[0] == 0
    assert call(name, "--resume", "other", "--steps", 800)[0] == 0
    assert weights("other") != weights(whole)


def test_a_run_can_be_tested_watched_and_drawn(run, call):
    code, said, error = call("evaluate", "run", "--episodes", 4)
    assert code == 0, error
    assert "trace frozen 5 steps after the first right answer" in said
    summary = json.loads(Path("run/evaluation/summary.json").read_text())
    assert {"right_answers", "right_answers_trace_zero", "right_answers_last_quarter_modulation_zero"} <= {*summary}
    assert call("watch", "run", "--gif", "lifetime.gif")[0] == 0
    assert call("curves", "run", "--out", "curve.png")[0] == 0
    assert "return_mean" in Path("curve.csv").read_text()
    assert load_agent("run").num_timesteps == 800


def test_a_run_is_resumed_by_its_own_command(trained, run, refused):
    name = trained[0]
    assert f"run is a run of {name}: continue it with" in refused("maze", "--resume", "run", code=2)
    assert "leave out --cues" in refused(name, "--resume", "run", "--cues", 7, code=2)
    assert "has finished its 800 steps" in refused(name, "--resume", "run", code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cue-reward", "--cues", 1], "cues is 1: expected a whole number of at least 2"),
        (["cue-reward", "--shown", 4], "shown is 4: expected 1 to 3"),
        (["cue-reward", "--bits", 1], "cues is 4: expected at most 2, since bits is 1"),
        (["cue-reward", "--lifetime", 0], "lifetime is 0: expected"),
        (["cue-reward", "--env", "PlasticRL/CueAction-v0", "--shown", 1], "has no setting 'shown'"),
        (["cue-action", "--actions", 1], "actions is 1: expected a whole number of at least 2"),
        (["cue-action", "--delay", 99_999], "lifetime, cues x meetings x (delay + 2), is 4800048"),
        (["cue-action", "--steps", 0], "--steps is 0: expected at least 1"),
        (["cue-reward", "--core", "rnn", "--modulation", "retroactive"], "--core rnn has no use for --modulation"),
        (["cue-reward", "--modulation", "none", "--fan-out", "neuron"], "--fan-out is neuron without --modulation"),
        (["cue-reward", "--adam-eps", 0], "--adam-eps is 0.0: expected a finite number above 0"),
    ],
)
def test_a_setting_that_cannot_be(refused, words, says):
    assert says in refused(*words, "--out", "new", code=2)
    assert not Path("new").exists()


@pytest.mark.parametrize("words", [["cue-reward", "--size", 7], ["cue-action", "--lifetime", 50]])
def test_a_setting_of_another_task(call, words):
    code, _, error = call(*words, "--out", "new")
    assert code == 2
    assert words[1] in error


def test_cues_in_the_maze_command_have_their_own_lifetime(call):
    code, _, error = call("maze", "--env", "PlasticRL/CueReward-v0", *NETWORK, "--steps", 40, "--out", "run")
    assert code == 0, error
    assert json.loads(Path("run/config.json").read_text())["run"]["lifetime"] == 120
    assert call("evaluate", "run", "--episodes", 2)[0] == 0

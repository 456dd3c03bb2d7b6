"""A user's mistakes: one clear line, the right exit code, nothing lost."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from plastic_rl.errors import invocation
from plastic_rl.runs import load_agent
from plastic_rl.runs.folder import MODEL, RunFolder

from .conftest import SMALL

OTHER = [
    "--hidden-size",
    "8",
    "--envs",
    "2",
    "--n-steps",
    "20",
    "--steps",
    "80",
    "--eval-episodes",
    "3",
    "--threads",
    "1",
]


def snapshot(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


@pytest.fixture
def run(trained, here):
    """A copy of a finished run."""
    return Path(shutil.copytree(trained[0], here / "run"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Expected one of"),
        (["fly"], "fly"),
        (["maze", "--stesp", "5"], "Perhaps you meant"),
        (["maze", "--stesp", "5"], "run plastic-rl maze --help"),
        (["maze", "--steps", "many"], "'many' is not a whole number"),
        (["maze", "--steps", "1.5"], "'1.5' is not a whole number"),
        (["maze", "--eta", "x"], "'x' is not a number"),
        (["maze", "--rule", "hebbian"], "hebb"),
    ],
)
def test_a_call_that_cannot_be_read(call, words, says):
    code, _, error = call(*words)
    assert code == 2
    assert says in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "0"], "--steps is 0: expected at least 1"),
        (["--gamma", "1.5"], "--gamma is 1.5: expected 0 to 1"),
        (["--learning-rate", "nan"], "--learning-rate is nan: expected a finite number above 0"),
        (["--learning-rate", "1e38"], "--learning-rate is 1e+38: expected a finite number above 0 and at most"),
        (["--seed", "-1"], "--seed is -1"),
        (["--threads", "1e12"], "--threads is 1000000000000: expected 1 to 1024"),
        (["--lifetime", "1e30"], "expected 1 to 1000000000"),
        (["--seed", "5000000000"], "--seed is 5000000000"),
        (["--size", "6"], "size is 6: expected an odd whole number of at least 5"),
        (["--size", "3"], "size is 3: expected an odd whole number of at least 5"),
        (["--view", "4"], "view is 4: expected an odd"),
        (["--lifetime", "0"], "lifetime is 0: expected"),
        (["--reward", "0"], "reward is 0.0: expected a finite number above 0"),
        (["--openness", "0.5"], "GridMazeVector has no setting 'openness'"),
        (["--env", "PlasticRL/RandomMaze-v0", "--openness", "2"], "openness is 2.0: expected"),
        (["--wall-penalty", "inf"], "wall_penalty is inf: expected a finite number"),
        (["--env", "Nowhere-v0"], "`Nowhere` doesn't exist"),
        (["--env", "no_such_module:Maze-v0"], "there is no module no_such_module"),
        (["--env", "odd_envs:Nowhere-v0"], "`Nowhere` doesn't exist"),
        (["--env", "CartPole-v1", "--size", "9"], "CartPole-v1 refuses these settings"),
        (["--env", "odd_envs:Odd/Dict-v0", *OTHER], "observations of a kind that is not supported: Dict("),
        (["--env", "odd_envs:Odd/Text-v0", *OTHER], "actions of a kind that is not supported: Text("),
        (["--device", "abacus"], "--device abacus cannot be used"),
        (["--device", "meta"], "--device meta cannot be used"),
    ],
)
def test_a_setting_that_cannot_be(refused, words, says):
    assert says in refused("maze", *words, "--out", "new", code=2)
    assert not Path("new").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_not_silently_replaced(refused):
    assert "--device cpu can" in refused("maze", "--device", "cuda", code=2)


def test_more_memory_than_there_is(refused):
    assert "memory for 32 environments x 10000000" in refused("maze", "--hidden-size", "10000000", code=1)
    assert "not enough memory" in refused("memorize", "--hidden-size", "1e10", code=1)


@pytest.mark.parametrize(
    "words",
    [
        ["maze", "--core", "lstm", "--nonlinearity", "relu"],
        ["maze", "--core", "rnn", "--rule", "oja"],
        ["memorize", "--core", "rnn", "--learn-eta"],
        ["omniglot", "--core", "fixed", "--eta", "0.4"],
    ],
)
def test_a_setting_that_the_core_has_no_use_for(refused, words):
    assert f"--core {words[2]} has no use for {words[3]}" in refused(*words, code=2)
    assert not Path("runs").exists()


def test_commands_to_type_are_quoted_as_the_system_s_shell_takes_them(monkeypatch):
    assert invocation("watch", "a run").endswith("watch 'a run'")
    monkeypatch.setattr(sys, "platform", "win32")
    assert invocation("watch", r"runs\maze 1").endswith(r'watch "runs\maze 1"')


def test_tensorboard_that_is_not_installed(refused, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "plastic-rl[tensorboard]"' in refused("maze", "--tensorboard", "--out", "new", code=1)
    assert not Path("new").exists()


def test_out_never_touches_what_is_there(refused, run):
    before = snapshot(run)
    assert "maze --resume run" in refused("maze", *SMALL, "--out", "run", code=2)
    assert snapshot(run) == before
    Path("notes").mkdir()
    Path("notes/today.txt").touch()
    assert "is not empty" in refused("maze", *SMALL, "--out", "notes", code=2)
    assert "a file is in its place" in refused("maze", *SMALL, "--out", "notes/today.txt", code=1)
    assert "a file is in its place" in refused("maze", *SMALL, "--out", "notes/today.txt/new", code=1)


def test_evaluate_never_replaces_a_run_s_summary(refused, run):
    before = snapshot(run)
    assert "would be lost" in refused("evaluate", "run", "--out", "run", code=2)
    assert snapshot(run) == before
    assert "a file is in its place" in refused("evaluate", "run", "--out", "run/metrics.csv/x", code=1)


def test_a_course_needs_an_agent_and_a_file(refused, call, run):
    Path("new").mkdir()
    assert "--course new is a folder: name a file in it" in refused("evaluate", "run", "--course", "new", code=2)
    words = ["--patterns", "1", "--bits", "4", "--episodes", "2", "--threads", "1"]
    assert call("memorize", *words, "--out", "patterns")[0] == 0
    error = refused("evaluate", "patterns", "--course", "course.npz", code=2)
    assert "--course is for agents, which have lifetimes: leave it out" in error


@pytest.mark.parametrize("words", [["maze", "--resume"], ["evaluate"], ["watch"]])
def test_a_folder_that_is_no_run(refused, words):
    assert "there is no folder nowhere" in refused(*words, "nowhere", code=1)
    Path("empty").mkdir()
    assert "empty is not a run folder: it has no config.json" in refused(*words, "empty", code=1)


def test_resume_keeps_the_run_s_settings(refused, run):
    error = refused("maze", "--resume", "run", "--seed", 3, "--hidden-size", 9, "--steps", 900, code=2)
    assert "leave out --hidden-size, --seed" in error
    assert "leave out --core" in refused("maze", "--resume", "run", "--core", "rnn", code=2)


def test_resume_refuses_a_default_that_is_not_the_run_s(call, refused):
    assert call("maze", *SMALL, "--seed", 3, "--out", "other")[0] == 0
    assert "leave out --seed" in refused("maze", "--resume", "other", "--steps", 1600, "--seed", 0, code=2)
    assert call("maze", "--resume", "other", "--steps", 1600, "--seed", 3)[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked")
def test_two_processes_never_train_into_one_folder(call, refused, run):
    before = snapshot(run)
    with RunFolder(run).claim():
        assert "run is in use: another process" in refused("maze", "--resume", "run", "--steps", 1600, code=1)
        assert call("evaluate", "run", "--episodes", 2)[0] == 0
    assert snapshot(run) == before
    assert call("maze", "--resume", "run", "--steps", 1600)[0] == 0


def test_resume_never_ends_a_run_before_where_it_is(refused, run):
    (run / "summary.json").unlink()
    before = snapshot(run)
    error = refused("maze", "--resume", "run", "--steps", 100, code=2)
    assert "--steps is 100, but run has done 800 already: give the total number, --steps 900 for example" in error
    assert snapshot(run) == before


def test_resume_of_a_finished_run_says_how_to_go_on(refused, run):
    before = snapshot(run)
    assert "has finished its 800 steps" in refused("maze", "--resume", "run", code=2)
    assert snapshot(run) == before


def edited(**changes):
    def edit(content):
        config = json.loads(content)
        config["run"].update(changes)
        return json.dumps(config).encode()

    return edit


def first_half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("config.json", first_half, "is not JSON"),
        ("config.json", lambda _: b"[1]", "is not a JSON object"),
        ("config.json", lambda _: b"{}", "does not describe a run"),
        ("config.json", edited(env=5), "env cannot be 5"),
        ("config.json", edited(envs=[1]), "envs cannot be [1]"),
        ("config.json", edited(steps=-4), "--steps is -4"),
        ("config.json", edited(steps=True), "steps cannot be True"),
        ("config.json", edited(colour="red"), "there is no setting colour"),
        ("config.json", edited(view=5), "observation_space is Box (15,), not Box (31,)"),
        ("config.json", edited(rule="oja"), "another run, whose rule is hebb"),
        ("config.json", edited(seed=9), "another run, whose seed is 0"),
        ("checkpoint.zip", first_half, "damaged"),
        ("checkpoint.zip", lambda _: b"", "damaged"),
        ("checkpoint.zip", None, "has no checkpoint.zip to resume from"),
        ("metrics.csv", lambda _: b"\xff\x00", "metrics.csv is damaged"),
        ("metrics.csv", lambda _: b"steps\nmany\n", "metrics.csv is damaged"),
        ("metrics.csv", lambda _: b"steps\n" + b"1" * 200_000 + b"\n", "metrics.csv is damaged"),
    ],
)
def test_resume_of_a_damaged_run(refused, run, name, damage, says):
    if damage is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(damage((run / name).read_bytes()))
    kept = {k: v for k, v in snapshot(run).items() if k != "config.json"}
    assert says in refused("maze", "--resume", "run", "--steps", 1600, code=1)
    assert {k: v for k, v in snapshot(run).items() if k != "config.json"} == kept


def test_resume_from_another_run_s_checkpoint(call, refused, run):
    assert call("maze", *SMALL, "--hidden-size", 6, "--out", "other")[0] == 0
    shutil.copy("other/checkpoint.zip", run / "checkpoint.zip")
    assert "another run, whose hidden_size is 6" in refused("maze", "--resume", "run", "--steps", 1600, code=1)


PICKLE = b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."


@pytest.mark.parametrize("words", [["evaluate", "run", "--episodes", 2], ["watch", "run", "--gif", "new.gif"]])
@pytest.mark.parametrize("damage", [None, first_half, lambda _: b"", lambda _: PICKLE])
def test_a_model_that_cannot_be_loaded(refused, run, words, damage):
    model = run / MODEL
    if damage is None:
        model.unlink()
    else:
        model.write_bytes(damage(model.read_bytes()))
    assert MODEL in refused(*words, code=1)
    assert {path.name for path in Path().iterdir()} == {"run"}


def test_a_model_of_another_architecture(refused, run):
    config = json.loads((run / "config.json").read_text())
    config["agent"]["policy_kwargs"]["hidden_size"] = 9
    (run / "config.json").write_text(json.dumps(config))
    assert "do not fit" in refused("evaluate", "run", code=1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--gif", "lifetime.png"], 2, "expected a name that ends in .gif"),
        (["--gif", "run"], 2, "expected a name that ends in .gif"),
        (["--gif", "run/metrics.csv/lifetime.gif"], 1, "lifetime.gif cannot be written: "),
        (["--gif", "run/metrics.csv/new/lifetime.gif"], 1, "lifetime.gif cannot be written: "),
        (["--gif", "/proc/lifetime.gif"], 1, "lifetime.gif cannot be written: "),
        (["--gif", "folder.gif"], 1, "folder.gif cannot be written: "),
        (["--fps", "0"], 2, "--fps is 0: expected 1 to 100"),
        ([], 1, "no window can be opened: there is no display; write a GIF instead: plastic-rl watch run --gif"),
    ],
)
def test_watch_that_cannot_be(refused, run, words, code, says):
    Path("folder.gif").mkdir()
    assert says in refused("watch", "run", *words, code=code)
    assert {path.name for path in Path().iterdir()} == {"run", "folder.gif"}


def test_the_agent_of_the_package_has_a_name(trained, call, monkeypatch):
    monkeypatch.setattr("plastic_rl.runs.finding.TRAINED", trained[0].parent)
    for words in (["evaluate", trained[0].name, "--episodes", 2], ["watch", trained[0].name, "--gif", "new.gif"]):
        code, _, error = call(*words)
        assert code == 0, error


@pytest.mark.parametrize("words", [["watch"], ["watch", "--gif", "new.gif"], ["evaluate"]])
def test_no_run_named_and_no_agent_in_the_package(refused, words):
    error = refused(*words, code=2)
    assert "no run folder is named, and there is no trained agent in " in error
    assert not list(Path().iterdir())


def test_play_against_an_agent_of_another_task(refused, call):
    assert call("maze", "--env", "CartPole-v1", *OTHER, "--out", "pole")[0] == 0
    assert "CartPole-v1 cannot be played: it does not say which key" in refused("play", "pole", code=2)
    error = refused("play", "pole", "--env", "PlasticRL/CueReward-v0", code=2)
    assert "the agent of pole does not fit PlasticRL/CueReward-v0: leave out --env" in error
    assert "there is no folder nowhere" in refused("play", "nowhere", code=1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 1, "no window can be opened: there is no display"),
        (["--size", "4"], 2, "size is 4: expected an odd whole number"),
        (["--seed", "-3"], 2, "--seed is -3"),
        (["--env", "PlasticRL/GridMaze-v0", "--random-walls"], 2, "--random-walls chooses the environment"),
        (["--env", "PlasticRL/CueAction-v0", "--size", "7"], 2, "CueAction has no setting 'size'"),
        (["--env", "Maze-v9"], 2, "--env Maze-v9: "),
    ],
)
def test_play_that_cannot_be(refused, words, code, says):
    assert says in refused("play", *words, code=code)


def test_without_a_display_nothing_else_is_on_stderr(command, run):
    result = command("watch", "run", cwd=run.parent)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("plastic-rl: error: no window can be opened")
    assert result.stderr.count("\n") == 1


def test_divergence_names_the_step_and_keeps_the_last_good_checkpoint(refused):
    words = [*SMALL, "--checkpoint-every", 0, "--out", "wild", "--learning-rate", "1e30"]
    error = refused("maze", *words, code=1)
    assert "training diverged at step " in error
    assert "checkpoint is kept in wild" in error
    agent = load_agent(Path("wild"))
    assert all(torch.isfinite(weight).all() for weight in agent.policy.parameters())
    assert not Path("wild/summary.json").exists()


@pytest.mark.filterwarnings("ignore:.*reward is a NaN")
def test_a_reward_that_is_no_number_stops_training(refused):
    words = ["--env", "odd_envs:Odd/Nan-v0", *OTHER, "--out", "wild"]
    error = refused("maze", *words, code=1)
    assert "the reward of environment 0 is nan in step 1 of training: expected finite numbers" in error
    assert "checkpoint is kept in wild" in error

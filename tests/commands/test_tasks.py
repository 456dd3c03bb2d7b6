"""The commands memorize and images, and evaluate for their runs: what they leave behind, and a user's mistakes."""

import csv
import itertools
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from plastic_rl import cli
from plastic_rl.data.archives import Published
from plastic_rl.runs import networks
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import Images, Memorize
from plastic_rl.tasks import PatternCompletion

from .conftest import begin

PATTERNS = [
    *("--patterns", "2", "--bits", "8", "--presentation-steps", "2", "--blank-steps", "1", "--cycles", "1"),
    *("--test-steps", "2", "--eval-episodes", "5", "--threads", "1"),
]
PHOTOGRAPHS = [
    "--batch-size",
    "1",
    *("--presentation-steps", "1", "--blank-steps", "0", "--cycles", "1", "--test-steps", "1"),
    *("--eval-episodes", "3", "--threads", "1"),
]
RECORD = 3073  # bytes of a photograph


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of each command, made once."""
    folder = tmp_path_factory.mktemp("finished")
    cli.main(["memorize", *PATTERNS, "--episodes", "30", "--out", str(folder / "memorize")])
    cli.main(["images", *PHOTOGRAPHS, "--data", "synthetic", "--episodes", "3", "--out", str(folder / "images")])
    return folder


@pytest.fixture
def runs(finished, here):
    """Copies of the finished runs."""
    for name in ("memorize", "images"):
        shutil.copytree(finished / name, here / name)


def summary(folder):
    return json.loads(Path(folder, "summary.json").read_text())


def course(folder):
    rows = csv.DictReader(Path(folder, "metrics.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def weights(folder):
    return Path(folder, "model.safetensors").read_bytes()


def without_clock(content):
    return {
        k: v for k, v in content.items() if k not in ("train_seconds", "episodes_per_second", "seconds_to_1_percent")
    }


@pytest.mark.parametrize("name", ["memorize", "images"])
def test_a_run_folder_holds_what_it_should(finished, name):
    folder = finished / name
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.csv", "checkpoint.pt", "model.safetensors", "summary.json", "curve.png", "episodes.png",
    }  # fmt: skip
    for picture in ("curve.png", "episodes.png"):
        with Image.open(folder / picture) as image:
            assert min(image.size) > 500
    found = summary(folder)
    episodes = {"memorize": 30, "images": 3}[name]
    assert found["episodes"] == len(course(folder)) == episodes
    assert found["episodes_per_second"] == pytest.approx(episodes / found["train_seconds"])
    parameters = {"memorize": 2 * 9 * 9, "images": 2 * 1025 * 1025 + 1}[name]
    assert found["parameters"] == parameters
    config = json.loads((folder / "config.json").read_text())
    assert config["command"] == name
    assert {"memorize": Memorize, "images": Images}[name].from_json(config["run"]).to_json() == config["run"]


def test_what_memorize_tells(call):
    code, out, error = call("memorize", *PATTERNS, "--episodes", "80", "--out", "run")
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "run: 162 parameters, 1 threads"
    assert sum(" of 80 episodes   wrong_bits " in line for line in lines) == 40
    assert "episodes to 1 percent:  never" in out
    found = summary("run")
    told = next(line for line in lines if line.startswith("this network")).split()[2:]
    assert told == [f"{found['loss']:.4g}", f"{found['wrong_bits']:.2%}", f"{found['wrong_erased_bits']:.2%}"]
    assert found["episodes_to_1_percent"] is None
    assert "evaluate run" in out


def test_a_task_that_is_learned_says_when(call):
    easy = ["--patterns", "1", "--bits", "4", "--presentation-steps", "3", "--blank-steps", "1", "--test-steps", "2"]
    words = [*easy, "--eta", "0.3", "--learning-rate", "0.05", "--batch-size", "10", "--threads", "1"]
    assert call("memorize", *words, "--episodes", "1500", "--out", "run")[0] == 0
    found = summary("run")
    assert found["wrong_bits"] < 0.01
    assert 20 <= found["episodes_to_1_percent"] < 1500
    row = next(row for row in RunFolder("run").metrics().rows() if row["episodes"] == found["episodes_to_1_percent"])
    assert row["wrong_bits"] == 0
    assert found["seconds_to_1_percent"] == pytest.approx(row["seconds"])
    assert call("evaluate", "run", "--episodes", "100")[0] == 0
    tested = summary("run/evaluation")
    # Without its traces, the network cannot know a bit that is erased: half of the erased half is wrong.
    assert tested["wrong_bits"] < 0.01
    assert tested["wrong_bits_trace_zero"] == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("core", ["plastic", "plastic_lstm", "rnn", "lstm", "gru"])
def test_evaluate_a_run_of_memorize(call, core):
    assert call("memorize", *PATTERNS, "--core", core, "--episodes", "4", "--out", "run")[0] == 0
    code, out, error = call("evaluate", "run", "--episodes", "7", "--seed", "5")
    assert (code, error) == (0, "")
    assert out.startswith("run after 4 episodes, tested on 7 fresh ones:")
    found = summary("run/evaluation")
    assert {path.name for path in Path("run/evaluation").iterdir()} == {"summary.json", "episodes.png"}
    assert (found["command"], found["trained_episodes"], found["episodes"]) == ("memorize", 4, 7)
    assert ("with its trace at zero" in out) == ("wrong_bits_trace_zero" in found) == core.startswith("plastic")
    if core.startswith("plastic"):
        for name in ("loss", "wrong_bits", "wrong_erased_bits"):
            assert found[f"{name}_trace_zero"] == pytest.approx(found[f"{name}_alpha_zero"], rel=1e-5)
    call("evaluate", "run", "--episodes", "7", "--seed", "5", "--out", "again")
    assert summary("again") == found
    call("evaluate", "run", "--episodes", "7", "--seed", "6", "--out", "other")
    assert summary("other")["loss"] != found["loss"]


@pytest.mark.parametrize("modulation", ["simple", "retroactive"])
def test_evaluate_a_modulated_run_of_memorize(call, modulation):
    words = ["--modulation", modulation, "--fan-out", "neuron", "--learn-eta"]
    assert call("memorize", *PATTERNS, *words, "--episodes", "4", "--out", "run")[0] == 0
    assert call("memorize", "--resume", "run", "--episodes", "8")[0] == 0
    retroactive = modulation == "retroactive"
    rows = RunFolder("run").metrics().rows()
    assert len(rows) == 8
    assert ("eta" in rows[0]) == retroactive
    assert summary("run")["parameters"] == 2 * 9 * 9 + 3 * 9 + 1 + retroactive
    code, out, _ = call("evaluate", "run", "--episodes", "7")
    assert code == 0
    found = summary("run/evaluation")
    assert found["loss_trace_zero"] == pytest.approx(found["loss_alpha_zero"], rel=1e-5)
    assert ("with its modulation at zero" in out) == ("loss_modulation_zero" in found) is True
    assert ("with its eligibility at zero" in out) == ("loss_eligibility_zero" in found) == retroactive


def test_evaluate_a_run_of_images(runs, call):
    code, out, _ = call("evaluate", "images", "--out", "tested")
    assert code == 0
    assert "this network on training data" in out
    assert "with its alpha at zero on held-out data" in out
    found, before = summary("tested"), summary("images")
    assert found["episodes"] == before["eval_episodes"] == 3
    for name in ("loss", "correlation", "squared_error"):
        for part in ("train", "heldout"):
            assert found[f"{name}_{part}"] == pytest.approx(before[f"{name}_{part}"], rel=1e-3)  # the same episodes
            trace, alpha = (found[f"{name}_{ablation}_{part}"] for ablation in ("trace_zero", "alpha_zero"))
            assert trace == pytest.approx(alpha, rel=1e-3, abs=1e-4)
    assert found["loss_train"] != found["loss_heldout"]


@pytest.mark.parametrize("command", ["memorize", "images"])
def test_a_run_in_two_parts_is_the_run_in_one(call, command):
    words = PATTERNS if command == "memorize" else [*PHOTOGRAPHS, "--data", "synthetic", "--decay-episodes", "4"]
    whole, half = (20, 10) if command == "memorize" else (4, 2)
    for name, seed in (("whole", 3), ("parts", 3), ("other", 4)):
        episodes = half if name == "parts" else whole
        assert call(command, *words, "--seed", seed, "--episodes", episodes, "--out", name)[0] == 0
    code, out, _ = call(command, "--resume", "parts", "--episodes", whole)
    assert code == 0
    assert f"resuming at episode {half}" in out
    assert weights("parts") == weights("whole") != weights("other")
    assert course("parts") == course("whole")
    assert without_clock(summary("parts")) == without_clock(summary("whole"))


def test_a_finished_run_whose_learning_rate_is_still_falling_says_how_far_it_can_go(here, call, refused):
    assert call("memorize", *PATTERNS, "--episodes", 10, "--decay-episodes", 15, "--out", "run")[0] == 0
    assert "to continue it, give a larger number, --episodes 15 for" in refused("memorize", "--resume", "run", code=2)
    assert call("memorize", "--resume", "run", "--episodes", 15)[0] == 0
    assert "has fallen to 0, start a new run" in refused("memorize", "--resume", "run", code=2)


def test_a_run_moves_to_another_device(here, call, refused):
    assert call("memorize", *PATTERNS, "--episodes", 4, "--out", "run")[0] == 0
    path = Path("run/config.json")
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "meta"'))
    words = ["memorize", "--resume", "run", "--episodes", 8]
    assert "--device meta cannot be used on this machine; --device cpu can" in refused(*words, code=2)
    assert call(*words, "--device", "cpu")[0] == 0
    assert json.loads(path.read_text())["run"]["device"] == "cpu"


def test_a_run_that_is_stopped_goes_on(here, call):
    words = ["memorize", *PATTERNS, "--learning-rate", "1e-4", "--seed", "7"]
    process = begin(*words, "--episodes", "200000", "--out", "run", cwd=here)
    while not Path("run/metrics.csv").exists() or len(course("run")) < 20:
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 143, error
    assert "of 200000; resume with: python -m plastic_rl.cli memorize --resume run" in out
    done = len(course("run"))
    assert f"stopped at episode {done} of" in out
    assert not Path("run/summary.json").exists()
    assert call("memorize", "--resume", "run", "--episodes", done + 30)[0] == 0
    assert call(*words, "--episodes", done + 30, "--out", "whole")[0] == 0
    assert weights("run") == weights("whole")
    assert course("run") == course("whole")


def test_a_run_killed_before_its_first_checkpoint_begins_anew(runs, call):
    Path("killed").mkdir()
    shutil.copy("memorize/config.json", "killed/config.json")
    assert call("memorize", "--resume", "killed")[0] == 0
    assert weights("killed") == weights("memorize")


def write_photographs(folder, training=6, held_out=4):
    """A small CIFAR-10."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, count in (("data_batch_1.bin", training), ("test_batch.bin", held_out)):
        records = generator.integers(0, 256, (count, RECORD), np.uint8)
        records[:, 0] = 3
        (folder / name).write_bytes(records.tobytes())


def test_photographs_of_the_user_s_own_folder(call, monkeypatch):
    write_photographs(Path("photographs"))
    code, out, _ = call("images", *PHOTOGRAPHS, "--data-dir", "photographs", "--episodes", "2", "--out", "run")
    assert code == 0
    assert out.startswith("cifar10: 6 images to train on, 4 held out\n")
    before = summary("run")
    assert {"correlation_train", "correlation_heldout"} <= before.keys()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # the folder is found from there too
    assert call("evaluate", "../run")[0] == 0
    assert summary("../run/evaluation")["loss_heldout"] == pytest.approx(before["loss_heldout"], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["memorize", "--episodes", "0"], "--episodes is 0: expected at least 1"),
        (["memorize", "--batch-size", "0"], "--batch-size is 0"),
        (["memorize", "--eta", "1.5"], "--eta is 1.5: expected 0 to 1"),
        (["memorize", "--learning-rate", "-1"], "--learning-rate is -1.0: expected a finite number above 0"),
        (["memorize", "--max-grad-norm", "nan"], "--max-grad-norm is nan"),
        (["memorize", "--init-scale", "-1"], "--init-scale is -1.0: expected a finite number of at least 0"),
        (["memorize", "--decay-episodes", "-1"], "--decay-episodes is -1"),
        (["memorize", "--decay-episodes", "9", "--episodes", "10"], "would change nothing: give --decay-episodes 10"),
        (["memorize", "--eval-episodes", "0"], "--eval-episodes is 0"),
        (["memorize", "--seed", "-1"], "--seed is -1"),
        (["memorize", "--cycles", "0"], "--cycles is 0: expected at least 1"),
        (["memorize", "--blank-steps", "-1"], "--blank-steps is -1: expected at least 0"),
        (["memorize", "--patterns", "0"], "patterns is 0: expected at least 1"),
        (["memorize", "--bits", "1"], "--bits is 1: expected at least 2"),
        (["memorize", "--erased", "1"], "--erased is 1.0: expected a share between 0 and 1"),
        (["memorize", "--hidden-size", "5"], "--hidden-size is 5: expected at least 1001 for this task"),
        (["memorize", "--core", "rnn", "--drive", "add"], "a core rnn cannot be driven by 'add': expected 'clamp'"),
        (["memorize", "--device", "abacus"], "--device abacus cannot be used"),
        (["images", "--cycles", "0"], "--cycles is 0: expected at least 1"),
        (["images", "--test-steps", "0"], "--test-steps is 0"),
        (["images", "--data", "synthetic", "--data-dir", "x"], "--data-dir is for photographs"),
        (["memorize", "--init-alpha", "nan"], "--init-alpha is nan: expected -1e+30 to 1e+30"),
        (["memorize", "--core", "lstm", "--drive", "add"], "a core lstm cannot be driven by 'add'"),
        (["images", "--data", "synthetic", "--hidden-size", "1024"], "--hidden-size is 1024: expected at least 1025"),
    ],
)
def test_a_setting_that_cannot_be(refused, words, says):
    assert says in refused(*words, "--out", "new", code=2)
    assert not Path("new").exists()


def test_photographs_that_cannot_be_had(refused, monkeypatch):
    Path("empty").mkdir()
    assert "empty has no CIFAR-10: expected cifar-10-bin" in refused("images", "--data-dir", "empty", code=1)
    assert "nowhere does not exist: expected a folder" in refused("images", "--data-dir", "nowhere", code=1)
    write_photographs(Path("few"), training=2)
    assert "images holds 2 images: expected at least the 3" in refused("images", "--data-dir", "few", code=2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("plastic_rl.data.archives.cache_folder", lambda: Path("cache").absolute())
    monkeypatch.setattr(
        "plastic_rl.data.images.CIFAR10", Published("http://127.0.0.1:1", "x", "md5:0", 1, "--data synthetic")
    )
    error = refused("images", "--out", "new", code=1)
    assert "http://127.0.0.1:1/x cannot be reached" in error
    assert "new runs can do without it: --data synthetic" in error
    assert not Path("new").exists()


def test_photographs_that_were_moved(refused, call):
    write_photographs(Path("photographs"))
    assert call("images", *PHOTOGRAPHS, "--data-dir", "photographs", "--episodes", "1", "--out", "run")[0] == 0
    Path("photographs").rename("moved")
    assert "photographs does not exist: expected a folder" in refused("evaluate", "run", code=1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["memorize", "--resume", "nowhere"], 1, "there is no folder nowhere"),
        (["memorize", "--resume", "images"], 2, "images is a run of images: continue it with "),
        (["maze", "--resume", "memorize"], 2, "memorize is a run of memorize: continue it with "),
        (["memorize", "--resume", "memorize"], 2, "has finished its 30 episodes: to continue it, give a larger number"),
        (["images", "--resume", "images"], 2, "its learning rate has fallen to 0, start a new run"),
        (["images", "--resume", "images", "--episodes", "900"], 2, "would change nothing: start a new run"),
        (["memorize", "--resume", "memorize", "--bits", "9", "--seed", "3"], 2, "leave out --bits, --seed"),
        (["memorize", "--resume", "memorize", "--episodes", "3"], 2, "has finished its 30 episodes"),
        (["memorize", "--out", "memorize"], 2, "memorize holds another run: name a new folder, or resume that run"),
        (["evaluate", "memorize", "--deterministic"], 2, "--deterministic is for agents"),
        (["evaluate", "memorize", "--episodes", "0"], 2, "--episodes is 0: expected at least 1"),
        (["evaluate", "memorize", "--out", "images"], 2, "would be lost: name another folder"),
        (["watch", "memorize", "--gif", "new.gif"], 1, "memorize is a run of memorize"),
        (["play", "memorize"], 1, "memorize is a run of memorize"),
    ],
)
def test_runs_that_are_asked_for_what_cannot_be(refused, runs, words, code, says):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert says in refused(*words, code=code)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_resume_never_ends_a_run_before_where_it_is(refused, runs):
    Path("memorize/summary.json").unlink()
    error = refused("memorize", "--resume", "memorize", "--episodes", "3", code=2)
    assert "--episodes is 3, but memorize has done 30 already: give the total number, --episodes 33 for" in error


def edited(**changes):
    def edit(content):
        config = json.loads(content)
        config["run"].update(changes)
        return json.dumps(config).encode()

    return edit


def half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("config.json", half, "is not JSON"),
        ("config.json", edited(bits="many"), "bits cannot be 'many'"),
        ("config.json", edited(colour="red"), "there is no setting colour"),
        ("config.json", edited(episodes=-1), "--episodes is -1"),
        ("config.json", edited(core="lstm"), "it is damaged, or of another run"),
        ("config.json", edited(bits=9), "it is damaged, or of another run"),
        ("checkpoint.pt", half, "checkpoint.pt is damaged"),
        ("checkpoint.pt", lambda _: b"\x80\x02cos\nsystem\n(S'touch pwned'\ntR.", "it was not run"),
        ("checkpoint.pt", None, "has no checkpoint.pt to resume from"),
        ("metrics.csv", lambda _: b"episodes\nmany\n", "metrics.csv is damaged"),
    ],
)
def test_resume_of_a_damaged_run(refused, runs, name, damage, says):
    path = Path("memorize", name)
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    before = weights("memorize")
    assert says in refused("memorize", "--resume", "memorize", "--episodes", "60", code=1)
    assert weights("memorize") == before
    assert not Path("pwned").exists()


@pytest.mark.parametrize("damage", [None, half, lambda _: b""])
def test_a_model_that_cannot_be_loaded(refused, runs, damage):
    path = Path("memorize/model.safetensors")
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    assert "model.safetensors" in refused("evaluate", "memorize", code=1)
    shutil.copy("images/model.safetensors", path)
    assert "the network in memorize cannot be loaded" in refused("evaluate", "memorize", code=1)


def test_divergence_keeps_the_last_good_checkpoint(refused, monkeypatch):
    loss, calls = PatternCompletion.loss, itertools.count()
    monkeypatch.setattr(PatternCompletion, "loss", lambda *a: loss(*a) * (float("inf") if next(calls) else 1.0))
    words = ["memorize", *PATTERNS, "--checkpoint-every", "0", "--out", "wild"]
    error = refused(*words, code=1)
    assert "training diverged at episode 2: " in error
    assert "The last good checkpoint is kept in wild" in error
    config, _, network, _ = networks.load(RunFolder("wild"))
    assert config.episodes == 200
    assert all(torch.isfinite(weight).all() for weight in network.parameters())
    assert not Path("wild/summary.json").exists()


def test_more_memory_than_there_is(refused):
    assert "not enough memory" in refused("memorize", "--bits", "10000000", code=1)

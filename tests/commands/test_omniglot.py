"""The command omniglot as a user calls it: runs, evaluate, the network in the package, and mistakes."""

import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from plastic_rl.data import Characters
from plastic_rl.data.archives import Published
from plastic_rl.errors import UserError
from plastic_rl.runs import finding, load_few_shot, networks
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import Omniglot

SMALL = [
    *("--data", "glyphs", "--width", "4", "--batch-size", "4", "--log-every", "20", "--validate-every", "40"),
    *("--validation-episodes", "20", "--eval-episodes", "30", "--threads", "1", "--training-way", "5"),
]
FILES = {
    "config.json", "metrics.csv", "checkpoint.pt", "model.safetensors", "summary.json", "curve.png", "episodes.png",
}  # fmt: skip
STAND_IN = "glyphs of fonts, a stand-in for Omniglot"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, command):
    """A finished run, made once, in a process of its own; and what was printed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = command("omniglot", *SMALL, "--episodes", "80", "--out", folder, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture
def run(finished, here):
    shutil.copytree(finished[0], "run")


def summary(folder):
    return json.loads(Path(folder, "summary.json").read_text())


def weights(folder):
    return Path(folder, "model.safetensors").read_bytes()


def test_a_run_folder_holds_what_it_should(finished):
    folder, out = finished
    assert {path.name for path in folder.iterdir()} == FILES
    for picture in ("curve.png", "episodes.png"):
        with Image.open(folder / picture) as image:
            assert min(image.size) > 500
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["episodes"] for row in rows] == ["20", "40", "60", "80"]
    assert [bool(row["validation_accuracy"]) for row in rows] == [False, True, False, True]
    found = summary(folder)
    assert {"accuracy_mean", "accuracy_ci95", "accuracy_median", "parameters"} <= found.keys()
    assert (found["episodes"], found["split"], found["data"], found["way"]) == (80, "glyphs", STAND_IN, 5)
    assert found["kept_episodes"] in (40, 80)
    config = json.loads((folder / "config.json").read_text())
    assert Omniglot.from_json(config["run"]).to_json() == config["run"]
    assert out.startswith(f"{STAND_IN}, split glyphs: 229 characters to train on, 32 for validation, 65 for")
    assert f"tested on 30 fresh episodes of {STAND_IN}, split glyphs, 5-way 1-shot:" in out


def test_evaluate_with_ablations(call, run):
    code, out, error = call("evaluate", "run", "--episodes", "200")
    assert (code, error) == (0, "")
    assert f"of {STAND_IN}, split glyphs, 5-way 1-shot:" in out
    found = summary("run/evaluation")
    assert (found["episodes"], found["split"], found["parameters"]) == (200, "glyphs", summary("run")["parameters"])
    for ablation in ("trace_zero", "alpha_zero"):  # chance
        assert found[f"accuracy_mean_{ablation}"] == pytest.approx(0.2, abs=0.03)
        assert f"{found[f'accuracy_mean_{ablation}']:.2%}" in out
    assert found["accuracy_mean"] > found["accuracy_mean_trace_zero"]
    assert {path.name for path in Path("run/evaluation").iterdir()} == {"summary.json", "episodes.png"}


def test_the_control_without_plasticity(call):
    assert call("omniglot", *SMALL, "--core", "fixed", "--episodes", "40", "--out", "run")[0] == 0
    code, out, _ = call("evaluate", "run", "--episodes", "200")
    assert code == 0
    assert "at zero" not in out
    assert summary("run/evaluation")["accuracy_mean"] == pytest.approx(0.2, abs=0.04)


def test_a_run_in_two_parts_is_the_run_in_one(call):
    words = [*SMALL, "--seed", "3", "--decay-episodes", "100"]
    assert call("omniglot", *words, "--episodes", "92", "--out", "whole")[0] == 0
    assert call("omniglot", *words, "--episodes", "52", "--out", "parts")[0] == 0
    assert call("omniglot", "--resume", "parts", "--episodes", "92")[0] == 0
    assert weights("parts") == weights("whole")
    clock = ("train_seconds", "episodes_per_second")
    one, other = ({k: v for k, v in summary(name).items() if k not in clock} for name in ("parts", "whole"))
    assert one == other


def test_a_short_run_is_validated_too(call):
    code, _, error = call("omniglot", *SMALL, "--validate-every", "1000", "--episodes", "12", "--out", "run")
    assert code == 0, error
    assert [row["episodes"] for row in csv.DictReader(Path("run/metrics.csv").read_text().splitlines())] == ["12"]
    assert summary("run")["kept_episodes"] == 12
    code, _, error = call("omniglot", *SMALL, "--validate-every", "0", "--episodes", "12", "--out", "other")
    assert code == 0, error
    assert "kept_episodes" not in summary("other")


def test_the_network_is_loaded_without_its_data(finished, monkeypatch):
    monkeypatch.setattr(networks, "glyph_characters", None)
    network = load_few_shot(finished[0])
    assert not network.training
    assert isinstance(network.output.w, torch.nn.Parameter)
    support, label, query = torch.rand(5, 2, 31, 31), torch.arange(5)[:, None].expand(5, 2), torch.rand(3, 2, 31, 31)
    logits = network(support, label, query)
    assert logits.shape == (2, 3, 5)
    torch.testing.assert_close(logits, network(support, label, query, label))  # in the order given


def test_a_network_that_is_none(call):
    assert call("memorize", "--bits", "4", "--patterns", "1", "--episodes", "1", "--out", "other")[0] == 0
    with pytest.raises(UserError, match="other is a run of memorize: expected a run of omniglot"):
        load_few_shot(Path("other"))
    with pytest.raises(UserError, match="there is no folder missing"):
        load_few_shot(Path("missing"))


def test_what_comes_with_the_package_is_found_by_its_name(call, run, monkeypatch):
    trained = Path("package/trained").absolute()
    shutil.copytree("run", trained / "omniglot")
    monkeypatch.setattr(finding, "TRAINED", trained)
    code, out, _ = call("evaluate", "omniglot", "--episodes", "30")
    assert code == 0
    assert "omniglot after" in out
    assert Path("evaluation/summary.json").exists()
    assert not (trained / "omniglot/evaluation").exists()
    Path("omniglot").mkdir()  # a folder of the user's own comes first
    code, _, error = call("evaluate", "omniglot")
    assert code == 1
    assert "omniglot is not a run folder" in error


@pytest.fixture
def letters(here):
    """A folder with a small Omniglot, of random dots."""
    generator = np.random.default_rng(0)
    for part, count in (("images_background", 70), ("images_evaluation", 12)):
        with zipfile.ZipFile(f"{part}.zip", "w") as archive:
            for k in range(count):
                for drawing in range(1, 21):
                    picture = Image.fromarray(generator.random((105, 105)) < 0.9)
                    name = f"{part}/A{k // 6}/character{k % 6 + 1:02}/{k:04}_{drawing:02}.png"
                    with archive.open(name, "w") as file:
                        picture.save(file, "PNG")
    return here


def test_a_folder_with_omniglot(call, letters, monkeypatch):
    monkeypatch.setattr("plastic_rl.data.omniglot.cache_folder", lambda: letters / "cache")
    words = [*SMALL[2:], "--data-dir", ".", "--split", "lake", "--episodes", "8", "--out", "run"]
    code, out, error = call("omniglot", *words)
    assert (code, error) == (0, "")
    assert "Omniglot, split lake: 10 characters to train on, 60 for validation, 12 for tests" in out
    assert "within one alphabet" in out
    found = summary("run")
    assert {"accuracy_mean", "accuracy_mean_within_alphabet"} <= found.keys()
    assert (found["data"], found["split"]) == ("Omniglot", "lake")
    for name in ("images_background.zip", "images_evaluation.zip"):
        Path("elsewhere").mkdir(exist_ok=True)
        shutil.move(name, "elsewhere")
    code, _, error = call("evaluate", "run", "--episodes", "5")
    assert code == 1
    assert "has no images_background.zip" in error
    assert call("evaluate", "run", "--episodes", "5", "--data-dir", "elsewhere")[0] == 0
    assert "accuracy_mean_trace_zero_within_alphabet" in summary("run/evaluation")


def test_without_a_network_there_is_a_clear_answer(refused, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for module in ("archives", "omniglot"):
        monkeypatch.setattr(f"plastic_rl.data.{module}.cache_folder", lambda: Path("cache").absolute())
    monkeypatch.setattr("plastic_rl.data.omniglot.ARCHIVES", [Published("http://127.0.0.1:1", "x.zip", "md5:0", 1)])
    error = refused("omniglot", "--out", "new", code=1)
    assert "http://127.0.0.1:1/x.zip cannot be reached" in error
    assert "--data glyphs" not in error  # this one has no stand-in
    assert "--data-dir FOLDER" in error
    assert not Path("new").exists()


def test_a_split_of_other_characters(refused, monkeypatch):
    few = Characters(np.zeros((70, 20, 31, 31), np.uint8), np.array([f"images_background/A/{k}" for k in range(70)]))
    monkeypatch.setattr("plastic_rl.runs.networks.omniglot_characters", lambda *_: few)
    says = {"vinyals": "of all 1623 characters of Omniglot: there are 70", "paper": "sets 60 characters aside"}
    for split, text in says.items():
        assert text in refused("omniglot", "--split", split, "--out", "new", code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--way", "1"], "--way is 1: expected at least 2"),
        (["--shot", "0"], "--shot is 0"),
        (["--training-way", "4"], "--training-way is 4: expected at least the way, 5"),
        (["--image-size", "30"], "--image-size is 30: expected 31 to 105"),
        (["--queries", "0"], "--queries is 0"),
        (["--distortion", "-1"], "--distortion is -1.0"),
        (["--width", "0"], "--width is 0"),
        (["--drop-every", "-1"], "--drop-every is -1"),
        (["--validation-episodes", "0"], "--validation-episodes is 0"),
        (["--eta", "2"], "--eta is 2.0: expected 0 to 1"),
        (["--data", "glyphs", "--split", "lake"], "--split is for Omniglot, not for --data glyphs"),
        (["--data", "glyphs", "--data-dir", "x"], "--data-dir is for Omniglot, not for --data glyphs"),
        (["--data", "glyphs", "--shot", "20"], "there are 20 drawings of a character: expected at least 21"),
        (["--data", "glyphs", "--way", "100"], "expected at least 100, the way"),
    ],
)
def test_a_setting_that_cannot_be(refused, words, says):
    assert says in refused("omniglot", *words, "--out", "new", code=2)
    assert not Path("new").exists()


def test_a_dataset_s_folder_for_what_has_none(refused, call):
    assert call("memorize", "--bits", "4", "--patterns", "1", "--episodes", "1", "--out", "run")[0] == 0
    assert "--data-dir is for runs on a dataset" in refused("evaluate", "run", "--data-dir", "x", code=2)


@pytest.mark.skipif(not (finding.TRAINED / "omniglot").is_dir(), reason="no trained network in the package yet")
def test_the_trained_network_in_the_package():
    folder = finding.TRAINED / "omniglot"
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "summary.json"}
    assert os.path.getsize(folder / "model.safetensors") < 1_000_000
    config = RunFolder(folder).settings(Omniglot)
    assert isinstance(config, Omniglot)
    assert config.data_dir is None  # it is of nobody's machine
    assert summary(folder)["accuracy_mean"] > 0.95
    load_few_shot()

"""The commands as a whole: three ways to call them, what they leave behind, what they print."""

import csv
import json
import shutil
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import plastic_rl
from plastic_rl.cli import COMMANDS
from plastic_rl.commands.environments import make_vec
from plastic_rl.evaluation.agents import TOGETHER, assess, comparison, random_return
from plastic_rl.evaluation.trials import ABLATIONS
from plastic_rl.runs import folder as folders
from plastic_rl.runs import load_agent
from plastic_rl.runs.folder import RunFolder
from plastic_rl.seeds import FRESH, MOST_ENVS
from plastic_rl.settings import MazeRun
from plastic_rl.text import duration, number, table

from .conftest import SMALL, begin

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "train.py": (str(ROOT / "train.py"),),
    "module": ("-m", "plastic_rl.cli"),
    "console script": (str(Path(sys.executable).with_name("plastic-rl")),),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_every_way_to_call_the_program_does_the_same(command, tmp_path, program):
    if program[0].endswith("plastic-rl") and not Path(program[0]).exists():
        pytest.skip("not installed as a script")
    result = command("--help", cwd=tmp_path, program=program)
    assert result.returncode == 0
    for name in COMMANDS:
        assert f"• {name} " in result.stdout
    assert result.stdout.startswith(f"usage: {'train.py' if program[-1].endswith('train.py') else 'plastic-rl'} ")
    result = command("maze", "--steps", "-5", cwd=tmp_path, program=program)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "plastic-rl: error: --steps is -5: expected at least 1\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option(call, name):
    code, out, _ = call(name, "--help")
    assert code == 0
    for field in fields(COMMANDS[name].settings):
        flag = field.name.replace("_", "-")
        assert f"--{flag} " in out or f"--no-{flag} " in out or flag in ("run", "runs")
    assert "None" not in out  # what happens without a value is said in words
    if name in ("watch", "play"):
        assert "Keys:" in out


def test_help_shows_the_numbers_of_the_chosen_preset(call):
    for words, numbers in (
        ([], ("7500000", "0.95", "0.001")),
        (["--preset", "paper"], ("250000000", "0.9", "0.0001")),
        (["--preset=paper", "--lifetime", "80"], ("(default: 80)",)),
    ):
        code, out, _ = call("maze", *words, "--help")
        assert code == 0
        assert all(one in out for one in numbers)


def test_reading_only_the_start_of_the_help_is_no_error(tmp_path):
    process = begin("maze", "--help", cwd=tmp_path)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(timeout=300)


def test_a_run_folder_holds_what_it_should(trained):
    folder, _ = trained
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.csv", "checkpoint.zip", "model.safetensors", "summary.json", "curve.png",
        "lifetime.gif",
    }  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    # None for what did not happen in these few lifetimes, such as a second hit.
    assert all(value is None or isinstance(value, (int, float, str)) for value in summary.values())
    assert (summary["steps"], summary["updates"]) == (800, 10)
    assert summary["env_steps_per_second"] == pytest.approx(800 / summary["train_seconds"])
    assert summary["oracle_return"] > summary["random_return"]
    assert summary["return_std"] >= 0
    assert summary["return_mean"] < summary["oracle_return"]
    config = json.loads((folder / "config.json").read_text())
    assert config["run"]["seed"] == 0
    assert config["run"]["hidden_size"] == 8
    assert "not installed" not in config["versions"].values()
    assert MazeRun.from_json(config["run"]).to_json() == config["run"]


def test_metrics_are_rows_at_fixed_steps(trained):
    rows = list(csv.DictReader((trained[0] / "metrics.csv").read_text().splitlines()))
    assert [row["steps"] for row in rows] == ["160", "320", "480", "640", "800"]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert all(value for row in rows for value in row.values())


def test_the_output_tells_how_it_went_and_what_to_do_next(trained):
    folder, out = trained
    lines = out.splitlines()
    assert sum(" steps/s   " in line for line in lines) == 5
    for word in ("random play", "this agent", "all-knowing oracle", f"watch {folder}"):
        assert word in out
    assert "\r" not in out


def test_the_pictures_are_pictures(trained):
    folder, _ = trained
    curve = Image.open(folder / "curve.png")
    assert min(curve.size) > 500
    gif = Image.open(folder / "lifetime.gif")
    assert gif.n_frames == 21
    durations = []
    for frame in range(gif.n_frames):
        gif.seek(frame)
        durations.append(gif.info["duration"])
    assert set(durations[:-1]) == {80}
    assert durations[-1] == 1500
    assert (folder / "lifetime.gif").stat().st_size < 1 << 20


def check_ablations(summary, out, names):
    """Check that these ablations are in the table and in the summary, and no others."""
    for ablation, words in ABLATIONS.items():
        said = words.format(hit="hit")
        assert (said in out) == (f"return_mean_{ablation}" in summary) == (ablation in names)
        if ablation in names:
            assert f"{said} {summary[f'return_mean_{ablation}']:.1f}" in " ".join(out.split())


def test_evaluate_says_and_keeps_the_same(trained, call):
    folder, _ = trained
    code, out, _ = call("evaluate", folder, "--episodes", 4, "--out", "tested", "--seed", 5)
    assert code == 0
    summary = json.loads(Path("tested/summary.json").read_text())
    assert f"{summary['return_mean']:.1f}" in out
    assert summary["trained_steps"] == 800
    assert summary["episodes"] == 4
    check_ablations(summary, out, ["trace_zero", "alpha_zero", "trace_frozen", "trace_cleared", "hidden_cleared"])
    agent = next(line for line in out.splitlines() if line.startswith("this agent"))
    assert f"%{summary['share_with_a_hit']:>13.0%}" in agent
    call("evaluate", folder, "--episodes", 4, "--out", "again", "--seed", 5)
    assert json.loads(Path("again/summary.json").read_text()) == summary


def test_a_modulated_run_is_trained_evaluated_and_recorded(call):
    words = ["--modulation", "retroactive", "--fan-out", "neuron", "--bound", 2, "--core", "plastic_lstm"]
    assert call("maze", *SMALL, *words, "--out", "run")[0] == 0
    config = json.loads(Path("run/config.json").read_text())
    kwargs = {"core": "plastic_lstm", "rule": "clip", "bound": 2.0, "modulation": "retroactive", "fan_out": "neuron"}
    assert kwargs.items() <= config["agent"]["policy_kwargs"].items()
    code, out, _ = call("evaluate", "run", "--episodes", 4, "--course", "found/course.npz")
    assert code == 0
    assert "the course of a lifetime: found/course.npz" in out
    check_ablations(json.loads(Path("run/evaluation/summary.json").read_text()), out, list(ABLATIONS))
    with np.load("found/course.npz") as course:
        assert course["hidden"].shape == course["cell"].shape == (20, 8)
        assert {"modulation", "eligibility_norm", "trace_norm"} < set(course)
    assert call("watch", "run", "--gif", "own.gif")[0] == 0


def test_without_a_run_the_trained_agent_of_the_package_is_taken(trained, call, monkeypatch):
    package = Path("package").absolute()
    shutil.copytree(trained[0], package / "maze")
    monkeypatch.setattr("plastic_rl.runs.finding.TRAINED", package)
    assert call("evaluate", "--episodes", 4, "--seed", 5)[0] == 0
    assert call("evaluate", package / "maze", "--episodes", 4, "--seed", 5, "--out", "named")[0] == 0
    summaries = [json.loads(Path(folder, "summary.json").read_text()) for folder in ("evaluation", "named")]
    assert summaries[0] == summaries[1]
    assert call("watch", "--gif", "own.gif")[0] == 0
    assert call("watch", package / "maze", "--gif", "named.gif")[0] == 0
    assert Path("own.gif").read_bytes() == Path("named.gif").read_bytes()


@pytest.mark.parametrize("named", [(), ("cue-reward",)])
def test_the_trained_agents_of_the_package_are_run_folders(command, tmp_path, named):
    """In a process of its own, where the tests' stand-in for it does not reach."""
    package = Path(plastic_rl.__file__).parent
    if not (package / "trained" / "".join(named or ("maze",))).is_dir():
        pytest.skip("this checkout has no trained agent")
    command("evaluate", *named, "--episodes", 1, cwd=tmp_path)  # may compile kernels, and says so
    result = command("evaluate", *named, "--episodes", 20, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    tested = json.loads((tmp_path / "evaluation/summary.json").read_text())
    assert tested["trained_steps"] > 0
    # Both know far more than agents without their traces.
    assert tested["return_mean"] > 0.6 * tested["oracle_return"] > 2 * tested["return_mean_trace_zero"]


def test_a_gif_of_a_lifetime_repeats_with_its_seed(trained, call):
    folder, _ = trained
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        code, out, _ = call("watch", folder, "--gif", f"pictures/{name}.gif", "--seed", seed)
        assert (code, out) == (0, f"written to pictures/{name}.gif\n")
    a, b, c = (Path(f"pictures/{name}.gif").read_bytes() for name in "abc")
    assert a == b != c


def test_a_very_long_lifetime_makes_a_gif_of_bounded_length(trained, call, monkeypatch):
    seed = ("--seed", 2)  # of a lifetime whose last picture differs from all others by more than the palettes do
    with monkeypatch.context() as patch:
        patch.setattr("plastic_rl.viewing.recording.MOST_FRAMES", 6)
        assert call("watch", trained[0], "--gif", "short.gif", *seed)[0] == 0
    assert call("watch", trained[0], "--gif", "whole.gif", *seed)[0] == 0
    with Image.open("short.gif") as short, Image.open("whole.gif") as whole:
        assert short.n_frames <= 7
        last = maze_of(short, -1)
        # It ends where the lifetime does; colours differ a little, as each file has a palette of its own.
        apart = [np.abs(last - maze_of(whole, frame)).mean() for frame in range(whole.n_frames)]
    assert np.argmin(apart) == len(apart) - 1


def maze_of(gif, frame):
    """The left part of a picture, without the network, whose shades depend on the pictures before."""
    gif.seek(frame % gif.n_frames)
    return np.asarray(gif.convert("RGB"), float)[:300, :300]


def test_the_model_says_after_how_many_steps_it_was_kept(trained):
    assert load_agent(trained[0]).num_timesteps == 800


def test_an_environment_that_is_no_maze_is_trained_and_drawn(call):
    words = [
        "--hidden-size",
        "8",
        "--envs",
        "2",
        "--n-steps",
        "20",
        "--eval-episodes",
        "3",
        "--threads",
        "1",
        "--log-every",
        "100",
    ]
    code, out, _ = call("maze", "--env", "CartPole-v1", "--steps", 400, "--out", "pole", *words)
    assert code == 0
    assert "oracle" not in out
    summary = json.loads(Path("pole/summary.json").read_text())
    assert summary["random_return"] > 5
    assert "oracle_return" not in summary
    assert Image.open("pole/lifetime.gif").n_frames > 5
    code, out, _ = call("maze", "--resume", "pole", "--steps", 800)
    assert code == 0
    assert "begin anew" in out
    steps = [row["steps"] for row in RunFolder("pole").metrics().rows()]
    assert steps == [120, 200, 320, 400, 520, 600, 720, 800]


def test_an_environment_of_the_user_s_own_module_that_draws_nothing(call):
    words = [
        "--steps",
        "80",
        "--hidden-size",
        "8",
        "--envs",
        "2",
        "--n-steps",
        "20",
        "--eval-episodes",
        "3",
        "--threads",
        "1",
    ]
    code, out, _ = call("maze", "--env", "odd_envs:Odd/Plain-v0", "--out", "odd", *words)
    assert code == 0
    assert "no lifetime.gif: Odd/Plain-v0 draws no pictures" in out
    assert "a lifetime:" not in out
    code, _, error = call("watch", "odd", "--gif", "odd.gif")
    assert code == 1
    assert "draws no pictures" in error


def test_a_machine_that_cannot_draw_an_environment_still_finishes(call):
    words = ["--steps", 80, "--hidden-size", 8, "--envs", 2, "--n-steps", 20, "--eval-episodes", 3, "--threads", 1]
    code, out, error = call("maze", "--env", "odd_envs:Odd/Blind-v0", "--out", "blind", *words)
    assert code == 0, error
    assert "no lifetime.gif: no picture can be drawn: OpenGL cannot be initialized" in out
    assert Path("blind/summary.json").exists()


def test_an_environment_of_a_like_name_is_no_maze(call):
    words = ["--steps", 80, "--hidden-size", 8, "--envs", 2, "--n-steps", 20, "--eval-episodes", 3, "--threads", 1]
    code, _, error = call("maze", "--env", "odd_envs:MyPlasticRL/Plain-v0", "--out", "like", *words)
    assert code == 0, error


@pytest.mark.parametrize("env", ["Odd/Image-v0", "Odd/Many-v0", "Odd/Switches-v0"])
def test_a_run_on_any_spaces_is_trained_tested_and_gone_on_with(call, env):
    words = ["--hidden-size", 4, "--envs", 2, "--n-steps", 5, "--eval-episodes", 2, "--threads", 1, "--steps", 20]
    assert call("maze", "--env", f"odd_envs:{env}", "--out", "seen", *words)[0] == 0
    for again in (["evaluate", "seen"], ["maze", "--resume", "seen", "--steps", 40]):
        code, _, error = call(*again)
        assert code == 0, error


def test_seeds_of_tests_share_no_lifetimes(trained, call, monkeypatch):
    seeds = []
    monkeypatch.setattr("plastic_rl.commands.evaluate.ablate", lambda *_: {})
    monkeypatch.setattr("plastic_rl.commands.evaluate.assess", lambda *how: seeds.append(how[3]) or assess(*how))
    for seed in (0, 1):
        assert call("evaluate", trained[0], "--seed", seed, "--out", f"tests-{seed}")[0] == 0
    assert seeds[1] - seeds[0] >= TOGETHER


def test_random_play_counts_long_episodes_as_often_as_short_ones():
    env = make_vec("CartPole-v1", 100, {})
    assert 20 < random_return(env, 100, 0) < 25  # 22.2 on average; the first 100 to end, 16.9


def test_a_single_test_has_no_error():
    found = {"return_mean": 3.0, "return_std": 0.0, "random_return": 1.0, "episodes": 1}
    assert comparison(found, None).splitlines()[-1].split() == ["this", "agent", "3.0"]
    assert comparison(found | {"return_std": 2.0, "episodes": 5}, None).splitlines()[-1].split()[-1] == "1.0"


def test_whole_numbers_may_be_written_short(call):
    _, _, error = call("maze", "--steps", "-1e6")
    assert "--steps is -1000000" in error


def test_runs_of_the_same_second_do_not_meet(here, monkeypatch):
    monkeypatch.setattr(folders.time, "strftime", lambda _: "now")
    made = [RunFolder.create(None, "maze") for _ in range(3)]
    assert [str(folder) for folder in made] == ["runs/maze-now", "runs/maze-now-2", "runs/maze-now-3"]


def test_runs_begun_at_the_same_moment_do_not_meet(here, monkeypatch):
    """Even if each looks for a free name before the others have taken theirs."""
    monkeypatch.setattr(folders.time, "strftime", lambda _: "now")
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert len({str(RunFolder.create(None, "maze")) for _ in range(3)}) == 3


def test_tests_never_use_seeds_of_training(refused):
    last = FRESH - MOST_ENVS - 1
    run = MazeRun(seed=last, envs=MOST_ENVS)
    assert run.seed + run.envs - 1 < FRESH  # mazes side by side have seeds that follow each other
    assert f"--seed is {last + 1}: expected 0 to {last}" in refused("maze", "--seed", last + 1, code=2)
    assert "--envs is 100000001: expected 1 to 100000000" in refused("maze", "--envs", MOST_ENVS + 1, code=2)


def test_a_folder_with_a_killed_run_s_leftovers_only_is_empty(here):
    Path("new").mkdir()
    Path("new/.config.json.123").touch()
    assert RunFolder.create(Path("new"), "maze").path == Path("new")


def test_numbers_and_tables_read_well():
    assert [number(v) for v in (0, 12.34, 950, 12_300, 4_560_000)] == ["0", "12.3", "950", "12.3k", "4.56M"]
    assert [duration(v) for v in (0.4, 42, 185, 3720)] == ["0 s", "42 s", "3 min 5 s", "1 h 2 min"]
    assert table([["", "n"], ["ab", "10"], ["c", ""]]).splitlines() == ["      n", "───────", "ab   10", "c"]


def test_a_copied_run_folder_works_elsewhere(trained, call):
    shutil.copytree(trained[0], "copy")
    assert call("evaluate", "copy", "--episodes", 2)[0] == 0
    assert Path("copy/evaluation/summary.json").exists()

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest

from plastic_rl.commands.compare import MARKS, MAY_DIFFER, _first, _median, hidden_sizes
from plastic_rl.modules.controls import count_parameters
from plastic_rl.modules.cores import CoreSettings
from plastic_rl.runs.agents import load_agent
from plastic_rl.settings import AGENTS, COMPARISONS

from .conftest import begin

SMALL = [
    "--steps", 400, "--log-every", 100, "--eval-episodes", 2, "--size", 5, "--lifetime", 10, "--hidden-size", 6,
]  # fmt: skip


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_controls_have_as_many_neurons_or_as_many_parameters():
    sizes = hidden_sizes(COMPARISONS["maze"](), 15)
    assert set(sizes) == set(AGENTS)
    assert {name for name, size in sizes.items() if size != 100} == {"rnn-wide", "lstm", "gru"}
    # 15 features of the maze: 15 * N + N * N weights, N biases more, and for the plastic network N * N coefficients.
    plastic = 15 * 100 + 100 + 2 * 100 * 100 + 1
    wide, lstm = sizes["rnn-wide"], sizes["lstm"]
    assert abs(15 * wide + wide * wide + 2 * wide - plastic) < 3 * wide
    assert abs(4 * (15 * lstm + lstm * lstm + 2 * lstm) - plastic) < 4 * 3 * lstm


@pytest.mark.parametrize("task", COMPARISONS)
def test_all_agents_have_as_many_parameters_if_asked_to(task):
    config = COMPARISONS[task](match_parameters=True, hidden_size=60)
    sizes = hidden_sizes(config, 26)
    assert sizes["plastic"] == sizes["oja"] == sizes["clip"] == 60
    assert sizes["plastic-lstm"] < sizes["lstm"] < 60 < sizes["rnn"] == sizes["rnn-wide"] < sizes["memoryless"]
    counts = {}
    for agent, size in sizes.items():
        settings = config.run_settings(agent, 0).policy_kwargs() | {"hidden_size": size}
        counts[agent] = count_parameters(CoreSettings(**settings).build(26))
    assert all(abs(count - counts["plastic"]) < 0.03 * counts["plastic"] for count in counts.values()), counts


@pytest.mark.parametrize("task", COMPARISONS)
def test_agents_are_what_they_are_named_after_in_every_task(task):
    config = COMPARISONS[task]()
    for agent in AGENTS:
        run = config.run_settings(agent, 0)
        assert run.command == task
        if run.core.startswith("plastic"):
            assert run.rule == {"plastic": "hebb", "shared": "hebb", "oja": "oja"}.get(agent, "clip")
            assert bool(run.modulation) == (agent in ("simple", "retroactive", "retroactive-lstm"))


def test_every_agent_differs_from_the_plastic_one_in_what_it_is_named_after():
    config = COMPARISONS["maze"](steps=7_000_000, learning_rate=2e-4, wall_penalty=0.2)
    first = config.run_settings("plastic", 3)
    assert first.wall_penalty == 0.2
    assert (first.steps, first.decay_steps, first.learning_rate) == (7_000_000, 7_000_000, 2e-4)
    assert (first.seed, first.threads, first.core) == (3, 1, "plastic")
    for agent, differs in AGENTS.items():
        run = config.run_settings(agent, 3).to_json()
        expected = {name: value for name, value in differs.items() if value != first.to_json()[name]}
        assert {name: value for name, value in run.items() if value != first.to_json()[name]} == expected


def test_the_papers_learning_rate_does_not_fall():
    assert COMPARISONS["maze"](preset="paper").run_settings("plastic", 0).decay_steps == 0


def test_a_level_is_reached_when_it_is_first_reached():
    curve = (np.array([100.0, 200.0, 300.0]), np.array([1.0, 2.0, 3.0]), np.array([10.0, 60.0, 55.0]))
    assert _first(curve, 60) == (200.0, 2.0)
    assert _first(curve, 61) is None


def test_what_was_not_reached_counts_in_the_median():
    assert _median([1.0, None, 3.0]) == 3.0
    assert _median([None, None, 3.0]) is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
def test_a_signal_while_a_run_begins_ends_that_run_too(call, monkeypatch, tmp_path):
    begun = []

    def start(job):
        begun.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True))
        os.kill(os.getpid(), signal.SIGINT)
        return begun[-1]

    monkeypatch.setattr("plastic_rl.commands.jobs.Job.start", start)
    code, said, _ = call("compare", "--out", tmp_path / "comparison", *SMALL, "--agents", "rnn", "--seeds", 3)
    assert code == 128 + signal.SIGINT
    assert "to continue, give the same command again" in said
    assert [process.poll() is not None for process in begun] == [True]


def test_a_comparison_goes_on_and_ends_with_a_figure(call, refused, tmp_path):
    out = tmp_path / "comparison"
    words = ["compare", "--out", out, *SMALL, "--agents", "plastic", "rnn-wide", "--jobs", 2]
    code, said, error = call(*words, "--seeds", 1)
    assert code == 0, error
    assert {path.name for path in out.iterdir()} == {
        "config.json", "plastic", "rnn-wide", "curves.csv", "agents.csv", "comparison.png",
    }  # fmt: skip
    assert "plastic, seed 0: begun" in said
    kept = (out / "plastic/seed-0/summary.json").read_bytes()
    assert "plastic/seed-0" in refused("evaluate", out, code=1)

    code, said, error = call(*words, "--seeds", 2)
    assert code == 0, error
    assert "seed 0: begun" not in said
    assert said.count("seed 1: begun") == 2
    assert (out / "plastic/seed-0/summary.json").read_bytes() == kept
    agents = rows_of(out / "agents.csv")
    assert [(row["agent"], row["seeds"]) for row in agents] == [("plastic", "2"), ("rnn-wide", "2")]

    code, said, error = call("compare", "--out", out, *SMALL, "--agents", "memoryless", "--seeds", 1)
    assert code == 0, error
    told = [(row["agent"], row["seeds"]) for row in rows_of(out / "agents.csv")]
    assert told == [("plastic", "2"), ("rnn-wide", "2"), ("memoryless", "1")]  # with those of the calls before
    returns = [json.loads((out / f"plastic/seed-{k}/summary.json").read_text())["return_mean"] for k in (0, 1)]
    assert float(agents[0]["return"]) == pytest.approx(np.mean(returns), rel=1e-4, abs=1e-6)
    assert (float(agents[0]["lowest"]), float(agents[0]["highest"])) == pytest.approx((min(returns), max(returns)))
    assert not any(f"return_at_{mark}" in name for name in agents[0] for mark in MARKS)
    curves = rows_of(out / "curves.csv")
    own = rows_of(out / "plastic/seed-1/metrics.csv")
    assert [row["return_mean"] for row in curves if (row["agent"], row["seed"]) == ("plastic", "1")] == [
        row["return_mean"] for row in own if row["return_mean"]
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--task", "cue-reward", "--lifetime", 12), ["share_of_oracle", "right_answers"]),
        (("--task", "cue-action", "--cues", 2, "--meetings", 1), ["share_of_oracle", "right_answers"]),
        (("--env", "CartPole-v1"), []),
    ],
)
def test_comparisons_in_other_tasks(call, here, words, names):
    small = ["--steps", 400, "--log-every", 100, "--eval-episodes", 4, "--hidden-size", 6]
    if "--env" in words:
        small[1] = 8000
    agents = ["retroactive", "rnn"]
    code, said, error = call("compare", *words, *small, "--seeds", 1, "--agents", *agents, "--out", "comparison")
    assert code == 0, (said, error, *(path.read_text() for path in here.glob("comparison/*/*.log")))
    rows = rows_of(here / "comparison/agents.csv")
    assert [row["agent"] for row in rows] == agents
    assert [name for name in rows[0] if name in ("share_of_oracle", "right_answers", "share_with_a_hit")] == names
    assert ("of the ideal observer" in said) == bool(names)
    assert "minutes to" not in said
    assert (here / "comparison/comparison.png").exists()
    summary = json.loads((here / "comparison/retroactive/seed-0/config.json").read_text())
    assert summary["run"]["modulation"] == "retroactive"


def test_a_comparison_keeps_its_settings(refused, call, tmp_path):
    out = tmp_path / "comparison"
    words = ["compare", "--out", out, *SMALL, "--seeds", 1, "--agents", "memoryless"]
    assert call(*words)[0] == 0
    error = refused(*words, "--learning-rate", 1, code=2)
    assert f"--learning-rate is 1.0, but in {out} it is not given" in error
    config = json.loads((out / "config.json").read_text())
    for name in ("wall_penalty", "task", "match_parameters"):
        del config["run"][name]  # a folder that is older than these settings
    (out / "config.json").write_text(json.dumps(config))
    assert call(*words)[0] == 0
    assert f"--wall-penalty is 0.0, but in {out} it is 0.1" in refused(*words, "--wall-penalty", 0, code=2)
    error = refused("compare", "--task", "cue-reward", "--out", out, code=2)
    assert f"--task is cue-reward, but in {out} it is maze" in error
    assert "--out" in refused("compare", "--out", out / "memoryless", *SMALL, code=2)
    assert "holds" in refused("maze", "--out", out, code=2)


def test_a_comparison_of_older_or_damaged_runs(refused, call, tmp_path):
    out = tmp_path / "comparison"
    words = ["compare", "--out", out, *SMALL, "--seeds", 1, "--agents", "memoryless"]
    assert call(*words)[0] == 0
    path = out / "memoryless/seed-0/summary.json"
    summary = json.loads(path.read_text())
    del summary["share_with_a_hit"]  # as older versions wrote it
    path.write_text(json.dumps(summary))
    code, _, error = call(*words, "memoryless")  # named twice
    assert code == 0, error
    assert rows_of(out / "agents.csv")[0]["share_with_a_hit"] == ""
    path.write_text("{")
    assert "summary.json" in refused(*words, code=1)
    path.write_text(json.dumps(summary))
    (out / "memoryless/seed-0/metrics.csv").unlink()
    assert "has no curve" in refused(*words, code=1)


ENDS = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@pytest.mark.parametrize("which", ENDS)
def test_a_comparison_that_is_stopped_stops_its_runs(here, which):
    words = [*SMALL, "--agents", "rnn", "--seeds", 1, "--out", "comparison"]
    words[1] = 10_000_000
    before = signal.signal(which, signal.SIG_DFL)  # tests that run under nohup would pass on that it is ignored
    process = begin("compare", *words, cwd=here)
    signal.signal(which, before)
    metrics = here / "comparison/rnn/seed-0/metrics.csv"
    while not (metrics.exists() and metrics.read_text().count("\n") > 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(which)
    out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (128 + which, "")
    assert out.splitlines()[-1] == "stopped; to continue, give the same command again"
    assert "resume with: " in (here / "comparison/rnn/seed-0.log").read_text()  # it has ended, and kept a checkpoint
    assert load_agent(here / "comparison/rnn/seed-0").num_timesteps > 0


def test_a_run_that_fails_does_not_stop_the_others(refused, tmp_path):
    out = tmp_path / "comparison"
    (out / "rnn").mkdir(parents=True)
    (out / "rnn/seed-0").write_text("in the way")
    config = COMPARISONS["maze"](out=out, steps=400, log_every=100, eval_episodes=2, size=5, lifetime=10, hidden_size=6)
    kept = {name: value for name, value in asdict(config).items() if name not in MAY_DIFFER}
    (out / "config.json").write_text(json.dumps({"command": "compare", "run": kept}))
    error = refused("compare", "--out", out, *SMALL, "--agents", "rnn", "memoryless", "--seeds", 1, code=1)
    assert "1 of 2 runs failed" in error
    log = out / "rnn/seed-0.log"
    assert str(log) in error
    assert "a file is in its place" in log.read_text()
    assert [row["agent"] for row in rows_of(out / "agents.csv")] == ["memoryless"]


def test_a_comparison_that_cannot_be_leaves_nothing(refused, tmp_path):
    out = tmp_path / "comparison"
    assert "unknown agent 'bee': expected one of plastic, " in refused("compare", "--agents", "bee", code=2)
    assert "unknown preset 'paper'" in refused("compare", "--task", "cue-action", "--preset", "paper", code=2)
    assert "cues is 1: expected a whole" in refused(
        "compare", "--out", out, "--task", "cue-reward", "--cues", 1, code=2
    )
    assert "`Nowhere` doesn't exist" in refused("compare", "--out", out, "--env", "Nowhere-v0", code=2)
    assert "size is 4: expected an odd" in refused("compare", "--out", out, "--size", 4, code=2)
    assert "--seeds is 0: expected at least 1" in refused("compare", "--out", out, "--seeds", 0, code=2)
    short = "--steps is 7999: expected at least 8000, one lifetime in each of 32 environments"
    assert short in refused("compare", "--out", out, "--steps", 7999, code=2)
    assert not out.exists()

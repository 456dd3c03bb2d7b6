"""What the settings of all commands share: bounds, JSON, the words of a command line, and what cannot be given."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from plastic_rl.cli import COMMANDS, _read_run
from plastic_rl.envs.maze.config import MazeConfig
from plastic_rl.errors import UsageError
from plastic_rl.settings import (
    AGENT_RUNS,
    AGENTS,
    COMPARISONS,
    RUNS,
    CueActionRun,
    CueRewardRun,
    Images,
    MazeRun,
    Memorize,
    Omniglot,
    check_core,
    check_resumed,
)


def read(*words):
    return _read_run(RUNS[words[0]], [str(word) for word in words])[0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MazeRun(steps=0), "--steps is 0: expected at least 1"),
        (lambda: MazeRun(n_steps=0), "--n-steps is 0: expected at least 1"),
        (lambda: MazeRun(gamma=1.5), "--gamma is 1.5: expected 0 to 1"),
        (lambda: MazeRun(vf_coef=float("nan")), "--vf-coef is nan: expected at least 0"),
        (lambda: MazeRun(learning_rate=0.0), "--learning-rate is 0.0: expected a finite number above 0"),
        (lambda: MazeRun(threads=0), "--threads is 0: expected 1 to 1024"),
        (lambda: Memorize(hidden_size=0), "--hidden-size is 0: expected at least 1"),
        (lambda: Memorize(max_grad_norm=-1.0), "--max-grad-norm is -1.0: expected a finite number above 0"),
        (lambda: Images(init_alpha=float("inf")), r"--init-alpha is inf: expected -1e\+30 to 1e\+30"),
        (lambda: Omniglot(way=1), "--way is 1: expected at least 2"),
        (lambda: Omniglot(way=7, training_way=6), "--training-way is 6: expected at least the way, 7"),
        (lambda: COMPARISONS["maze"](jobs=0), "--jobs is 0: expected at least 1"),
        (lambda: COMPARISONS["maze"](agents=()), "--agents is empty"),
        (
            lambda: COMPARISONS["maze"](steps=10),
            "--steps is 10: expected at least 8000, one lifetime in each of 32",
        ),
    ],
)
def test_bounds_name_the_option(make, says):
    with pytest.raises(UsageError, match=says):
        make()


@pytest.mark.parametrize("kind", RUNS.values(), ids=RUNS)
def test_every_number_has_a_bound(kind):
    """A class that gives a field of its base another default must not lose the field's bound."""
    # The environment checks its own.
    other = {field.name for field in fields(kind.env_settings)} if kind in AGENT_RUNS.values() else set()
    for name, value in kind().to_json().items():
        if type(value) in (int, float) and name not in other:
            with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is "):
                kind(**{name: float("-inf")})


@pytest.mark.parametrize("kind", RUNS.values(), ids=RUNS)
def test_settings_survive_json_and_the_command_line(kind):
    for preset in kind.presets():
        for given in ({}, {"seed": 5, kind.length: 777, "tensorboard": True, "learning_rate": 3e-4}):
            run = kind.from_preset(preset, **given)
            assert kind.from_json(run.to_json()) == run
            assert read(kind.command, *run.to_words()) == run


def test_words_give_a_value_that_another_preset_has():
    run = MazeRun.from_preset("paper", lifetime=50, learning_rate=1e-3, n_steps=50)
    assert read("maze", *run.to_words()) == run


def test_an_older_config_lacks_newer_settings():
    content = MazeRun.from_preset("paper", lifetime=80).to_json()
    for name in ("reward", "openness", "gamma", "n_steps"):
        del content[name]
    run = MazeRun.from_json(content)
    assert (run.reward, run.openness, run.gamma, run.n_steps) == (10.0, 0.2, 0.9, 80)


def test_json_of_another_kind_is_refused():
    content = MazeRun().to_json()
    for change, says in (
        ({"colour": "red"}, "there is no setting colour"),
        ({"preset": "best"}, "preset cannot be 'best'"),
        ({"steps": True}, "steps cannot be True"),
        ({"steps": 1.5}, "steps cannot be 1.5"),
        ({"goal": "north"}, "goal cannot be 'north'"),
        ({"envs": None}, "envs cannot be None"),
    ):
        with pytest.raises(ValueError, match=says):
            MazeRun.from_json({**content, **change})


@pytest.mark.parametrize("preset", [["--preset", "paper"], ["--preset=paper"]])
def test_the_preset_is_chosen_before_the_other_words_are_read(preset):
    run = read("maze", "--lifetime", "80", "--gamma", "0.95", *preset)
    assert (run.preset, run.n_steps, run.gamma, run.gae_lambda, run.steps) == ("paper", 80, 0.95, 1.0, 250_000_000)


def test_defaults_follow_the_settings_that_they_depend_on():
    assert read("maze", "--steps", "1e6").decay_steps == 1_000_000
    assert read("maze", "--steps=1e6", "--decay_steps", 7_500_000).decay_steps == 7_500_000
    assert read("maze", "--preset", "paper", "--steps", 100).decay_steps == 0
    rnn = read("memorize", "--preset", "comparison", "--core", "rnn")
    assert (rnn.hidden_size, rnn.learning_rate) == (2050, 3e-5)
    assert read("memorize", "--core", "rnn").hidden_size is None
    assert read("images", "--preset", "paper", "--core", "lstm").learning_rate == 3e-5
    assert read("images", "--core", "lstm").learning_rate == 2e-4
    wide = read("omniglot", "--way", 30, "--data", "glyphs", "--episodes", 80)
    assert (wide.training_way, wide.queries, wide.split, wide.decay_episodes) == (30, 30, None, 80)


def test_folders_of_data_are_found_from_everywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Images(data_dir=Path("photographs")).data_dir == tmp_path / "photographs"
    assert Omniglot(data_dir=Path("~")).data_dir == Path.home()


def test_a_setting_goes_only_to_environments_that_take_it():
    maze = {field.name for field in fields(MazeConfig)}
    assert set(MazeRun().env_kwargs()) == maze
    assert set(MazeRun(env="PlasticRL/RandomMaze-v0").env_kwargs()) == maze | {"openness"}
    assert MazeRun(env="CartPole-v1").env_kwargs() == {}
    # What was asked for is never dropped: the environment says that it does not take it.
    assert MazeRun(env="CartPole-v1", size=9).env_kwargs() == {"size": 9}
    assert MazeRun(openness=0.5).env_kwargs()["openness"] == 0.5


def test_an_environment_of_another_kind_has_its_own_defaults():
    run = read("maze", "--env", "PlasticRL/CueReward-v0")
    assert (run.lifetime, run.env_kwargs()) == (120, {"lifetime": 120})
    assert read("maze", *run.to_words()) == MazeRun.from_json(run.to_json()) == run
    assert read("maze", "--env", "PlasticRL/CueReward-v0", "--lifetime", 250).env_kwargs() == {"lifetime": 250}
    assert read("maze", "--env=PlasticRL/CueReward-v0", "--preset", "paper").n_steps == 120
    assert read("maze", "--env", "PlasticRL/CueAction-v0").env_kwargs() == {}
    assert read("cue-reward", "--env", "PlasticRL/GridMaze-v0").env_kwargs() == {"lifetime": 250}
    # What was asked for is never dropped.
    assert read("maze", "--env", "PlasticRL/CueReward-v0", "--size", 7).env_kwargs() == {"lifetime": 120, "size": 7}


def test_a_run_before_there_were_such_defaults_keeps_its_lifetime():
    content = MazeRun(env="PlasticRL/CueReward-v0").to_json()
    assert content["lifetime"] == 250
    assert MazeRun.from_json(content).env_kwargs() == {"lifetime": 250}


def test_cue_tasks_are_given_their_own_settings():
    run = read("cue-reward", "--cues", 3, "--bits", 8, "--code", "one-hot", "--lifetime", 60, "--shown", 1)
    assert run.env_kwargs() == dict(cues=3, bits=8, code="one-hot", lifetime=60, shown=1, blanks=3)
    run = read("cue-action", "--actions", 3, "--meetings", 2, "--delay", 1)
    assert run.env_kwargs() == dict(cues=8, bits=20, code="random", actions=3, meetings=2, delay=1)
    assert run.lifetime == 8 * 2 * 3


def test_a_resumed_run_keeps_its_settings():
    kept = MazeRun(seed=3)
    check_resumed(MazeRun(seed=3, steps=9, threads=2, device="cuda"), kept)
    with pytest.raises(UsageError, match="leave out --hidden-size, --seed"):
        check_resumed(MazeRun(hidden_size=9), kept)


@pytest.mark.parametrize(
    ("kind", "core"),
    [
        (MazeRun, "rnn"),
        (MazeRun, "lstm"),
        (MazeRun, "memoryless"),
        (Memorize, "lstm"),
        (Images, "rnn"),
        (Omniglot, "fixed"),
    ],
)
def test_a_core_is_not_given_what_it_has_no_use_for(kind, core):
    for preset in kind.presets():
        default = kind.from_preset(preset, core=core)
        check_core(default, default)
        for given in ({"rule": "clip"}, {"alpha": "neuron"}, {"eta": 0.9}):
            (name,) = given
            with pytest.raises(UsageError, match=f"--core {core} has no use for --{name}:"):
                check_core(kind.from_preset(preset, core=core, **given), default)


@pytest.mark.parametrize("kind", [CueRewardRun, CueActionRun])
def test_a_modulation_of_the_preset_can_be_left_out(kind):
    assert (kind().modulation, kind().rule) == ("simple", "clip")
    run = read(kind.command, "--modulation", "none")
    assert (run.modulation, run.rule) == (None, "hebb")
    assert read(kind.command, *run.to_words()) == kind.from_json(run.to_json()) == run
    rnn = read(kind.command, "--core", "rnn")
    assert set(rnn.policy_kwargs()) == {"core", "hidden_size", "nonlinearity"}
    assert read(kind.command, *rnn.to_words()) == rnn


def test_an_optional_number_can_be_given_as_none():
    run = read("omniglot", "--training-way", "none")
    assert run.training_way is None
    assert read("omniglot", *run.to_words()) == run


@pytest.mark.parametrize("command", ["maze", "memorize", "images"])
def test_modulated_networks_are_clipped_by_default(command):
    assert read(command).rule == "hebb"
    for given in ([], ["--fan-out", "neuron"], ["--modulator-nonlinearity", "sigmoid"]):
        run = read(command, "--modulation", "retroactive", *given)
        assert (run.modulation, run.rule) == ("retroactive", "clip")
        assert read(command, *run.to_words()) == run
        assert type(run).from_json(run.to_json()) == run
    assert read(command, "--modulation", "simple", "--rule", "hebb").rule == "hebb"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["maze", "--fan-out", "neuron"], "--fan-out is neuron without --modulation: leave it out, or choose"),
        (["images", "--modulator-nonlinearity", "sigmoid"], "--modulator-nonlinearity is sigmoid without --modulation"),
        (["maze", "--core", "rnn", "--modulation", "simple"], "--core rnn has no use for --modulation: leave it out"),
        (["memorize", "--core", "lstm", "--modulation", "simple"], "--core lstm has no use for --modulation: leave it"),
        (["maze", "--core", "gru", "--bound", "2"], "--core gru has no use for --bound: leave it out"),
        (["maze", "--core", "plastic_lstm", "--nonlinearity", "relu"], "--core plastic_lstm has no use for --nonline"),
        (["maze", "--bound", "-1"], "--bound is -1.0: expected at least 0"),
    ],
)
def test_modulation_that_cannot_be(words, says):
    with pytest.raises(UsageError, match=says):
        read(*words)


def test_the_agent_and_its_network_are_given_the_settings_that_they_take():
    assert set(MazeRun().agent_settings()) == {
        "n_steps", "gamma", "gae_lambda", "ent_coef", "squared_prob_coef", "vf_coef", "max_grad_norm",
        "normalize_advantage", "seed",
    }  # fmt: skip
    plastic = {"core", "hidden_size", "rule", "bound", "alpha", "eta", "nonlinearity"}
    assert set(MazeRun().policy_kwargs()) == plastic
    modulation = {"modulation", "fan_out", "modulator_nonlinearity"}
    assert set(MazeRun(modulation="simple").policy_kwargs()) == plastic | modulation
    assert set(MazeRun(core="plastic_lstm").policy_kwargs()) == plastic - {"nonlinearity"}
    assert set(Memorize(modulation="simple").core_settings()) == plastic - {"nonlinearity"} | modulation | {
        "learn_eta", "init_scale", "init_alpha",
    }  # fmt: skip
    assert set(MazeRun(core="lstm").policy_kwargs()) == {"core", "hidden_size"}
    assert set(Memorize(core="rnn").core_settings()) == {"core", "hidden_size", "init_scale"}


def test_a_comparison_passes_its_settings_on():
    config = COMPARISONS["maze"](preset="paper", reward=5.0, env="PlasticRL/RandomMaze-v0", openness=0.5, steps=10**6)
    for agent in AGENTS:
        run = config.run_settings(agent, 2)
        assert (run.reward, run.openness, run.learning_rate, run.n_steps, run.threads) == (5.0, 0.5, 1e-4, 250, 1)
        assert read("maze", *run.to_words()) == run


def test_commands_can_be_loaded_and_settings_load_no_torch():
    script = "import sys; import plastic_rl.cli; print('torch' in sys.modules, 'stable_baselines3' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
    for kind, function in COMMANDS.values():
        module, _, name = function.partition(":")
        loaded = __import__(module, fromlist=[name])
        assert callable(getattr(loaded, name))
        assert kind.__doc__

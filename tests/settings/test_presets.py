"""Presets: the values that they give, and how these depend on other settings."""

import pytest

from plastic_rl.settings import RUNS, CueActionRun, CueRewardRun, Images, MazeRun, Memorize, Omniglot


@pytest.mark.parametrize("kind", RUNS.values(), ids=RUNS)
def test_the_constructor_has_the_first_preset_s_defaults(kind):
    for name, preset in kind.presets().items():
        assert (type(preset), preset.preset) == (kind, name)
        assert kind.from_preset(name) == preset
    assert kind() == next(iter(kind.presets().values())) == kind.from_preset()


def test_an_unknown_preset():
    with pytest.raises(ValueError, match="unknown preset 'best': expected one of tuned, paper"):
        MazeRun.from_preset("best")


def test_a_maze_preset_gives_what_is_not_given():
    paper = MazeRun.from_preset("paper", lifetime=200, gamma=0.8)
    assert (paper.n_steps, paper.gamma, paper.gae_lambda, paper.learning_rate) == (200, 0.8, 1.0, 1e-4)
    tuned = MazeRun.from_preset(steps=10)
    assert (tuned.steps, tuned.n_steps, tuned.decay_steps) == (10, 50, 10)
    assert (MazeRun.from_preset().decay_steps, MazeRun.from_preset("paper", steps=10).decay_steps) == (
        7_500_000,
        0,
    )
    assert MazeRun().agent_settings() == tuned.agent_settings()
    assert None not in [value for name, value in tuned.to_json().items() if name not in ("threads", "modulation")]


def test_cue_presets():
    paper = CueRewardRun.from_preset("paper")
    assert (paper.hidden_size, paper.envs, paper.n_steps, paper.modulation, paper.rule) == (
        200, 30, 120, "retroactive", "clip",
    )  # fmt: skip
    assert (paper.steps, paper.learning_rate, paper.decay_steps, paper.adam_eps) == (720_000_000, 1e-4, 0, 1e-6)
    assert (paper.gamma, paper.gae_lambda, paper.vf_coef, paper.squared_prob_coef) == (0.9, 1.0, 0.1, 0.1)
    assert (paper.eta, paper.ent_coef, paper.max_grad_norm) == (0.1, 0.0, 2.0)
    assert CueRewardRun.from_preset("paper", lifetime=200).n_steps == 200
    assert CueRewardRun.from_preset(steps=10).decay_steps == CueActionRun.from_preset(steps=10).decay_steps == 10
    assert {*CueActionRun.presets()} == {"tuned"}


def test_completion_presets():
    paper = Memorize.from_preset()
    assert (paper.patterns, paper.bits, paper.presentation_steps, paper.blank_steps) == (5, 1000, 10, 3)
    assert (paper.cycles, paper.learning_rate, paper.hidden_size, paper.rule) == (3, 1e-3, None, "hebb")
    comparison = Memorize.from_preset("comparison")
    assert (comparison.patterns, comparison.bits, comparison.presentation_steps, comparison.blank_steps) == (
        2,
        50,
        3,
        1,
    )
    assert (comparison.cycles, comparison.learning_rate, comparison.hidden_size) == (1, 3e-4, None)
    lstm = Memorize.from_preset("comparison", core="lstm", bits=40)
    assert (lstm.hidden_size, lstm.learning_rate, lstm.bits) == (2050, 3e-5, 40)
    images = Images.from_preset("paper")
    assert (images.presentation_steps, images.cycles, images.test_steps, images.learning_rate) == (20, 3, 3, 1e-4)
    assert (images.batch_size, images.decay_episodes, images.init_alpha, images.episodes) == (1, 0, 0.0, 40_000)
    assert images.queries == 1
    tuned = Images.from_preset(episodes=1000)
    assert (tuned.batch_size, tuned.learning_rate, tuned.decay_episodes, tuned.init_alpha) == (1, 2e-4, 1000, 0.01)


def test_omniglot_presets():
    paper = Omniglot.from_preset("paper")
    assert (paper.episodes, paper.batch_size, paper.learning_rate, paper.drop_every) == (5_000_000, 1, 3e-5, 1_000_000)
    assert (paper.activation, paper.batch_norm, paper.queries, paper.decay_episodes) == ("tanh", False, 1, 0)
    assert (paper.split, paper.rule, paper.alpha, paper.training_way, paper.distortion) == (
        "paper",
        "oja",
        "shared",
        None,
        0,
    )
    tuned = Omniglot.from_preset()
    assert tuned.decay_episodes == tuned.episodes
    assert (tuned.queries, Omniglot.from_preset(way=7).queries, Omniglot.from_preset(queries=2).queries) == (5, 7, 2)
    assert (tuned.training_way, Omniglot.from_preset(way=30).training_way) == (20, 30)
    assert Omniglot.from_preset(episodes=77).decay_episodes == 77
    assert Omniglot.from_preset(decay_episodes=0).decay_episodes == 0
    assert Omniglot.from_preset(data="glyphs").split is None

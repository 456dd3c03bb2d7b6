import gymnasium as gym
import numpy as np
import pytest
import torch

import plastic_rl  # noqa: F401  (registers the mazes)
from plastic_rl.agents import PlasticA2C
from plastic_rl.evaluation.trials import ABLATIONS, LEARNED, Lifetimes, ablations_of, live


@pytest.fixture(scope="module")
def env():
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=8, size=5, lifetime=80)


def agent_of(env, **policy_kwargs):
    if "modulation" in policy_kwargs:
        policy_kwargs["engine"] = "reference"  # which compiles nothing
    agent = PlasticA2C("PlasticPolicy", env, n_steps=5, policy_kwargs={"hidden_size": 12} | policy_kwargs, seed=0)
    with torch.no_grad():
        agent.policy.action_net.weight.normal_(std=0.5)  # so that what it does depends on its state
        if agent.policy.is_plastic:
            agent.policy.core.alpha.normal_(std=0.2)
            if agent.policy.eta is not None:
                agent.policy.core.eta.fill_(0.3)
    return agent


@pytest.fixture(scope="module")
def plastic(env):
    return agent_of(env)


def test_a_summary_has_the_returns_and_what_the_environment_says(env):
    rewards = np.array([[0, 10, -0.1, 0, 10, 10], [0, 0, 0, 0, 0, -0.1], [0, 0, 10, 0, 0, 0]])
    found = Lifetimes(rewards).summary(env.unwrapped)
    assert found["return_mean"] == pytest.approx((29.9 - 0.1 + 10) / 3)
    assert found["return_std"] == pytest.approx(np.std([29.9, -0.1, 10]))
    assert {*found} == {"return_mean", "return_std", *env.unwrapped.digest(rewards)}


def test_lifetimes_are_the_mazes_own(plastic, env):
    found = live(plastic, env, 20, seed=3)
    assert found.rewards.shape == (20, 80)
    assert found.hits.any()
    np.testing.assert_array_equal(found.hits, found.rewards == 10)
    again = live(plastic, env, 20, seed=3)
    np.testing.assert_array_equal(found.rewards, again.rewards)
    assert (found.rewards != live(plastic, env, 20, seed=4).rewards).any()


def test_a_trace_of_zero_and_an_alpha_of_zero_are_the_same(plastic, env):
    before = plastic.policy.core.alpha.detach().clone()
    normal, trace, alpha = (live(plastic, env, 8, 3, ablation=name) for name in (None, "trace_zero", "alpha_zero"))
    np.testing.assert_array_equal(trace.rewards, alpha.rewards)
    assert (normal.rewards != trace.rewards).any()
    assert plastic.policy.core.eta.item() == pytest.approx(0.3)
    assert plastic.policy.core.alpha.equal(before)


@pytest.mark.parametrize(
    ("ablation", "later"), [("trace_frozen", LEARNED), ("trace_cleared", 0), ("hidden_cleared", 0)]
)
def test_what_is_taken_away_at_a_hit_changes_nothing_before(plastic, env, ablation, later):
    """Side by side, where the first hit falls in some maze, random choices go on as before in all of them."""
    normal, changed = live(plastic, env, 8, 3), live(plastic, env, 8, 3, ablation=ablation)
    first = int(np.flatnonzero(normal.hits.any(0))[0])
    np.testing.assert_array_equal(normal.rewards[:, : first + 1 + later], changed.rewards[:, : first + 1 + later])
    assert (normal.rewards != changed.rewards).any()


PLASTIC = ["trace_zero", "alpha_zero", "trace_frozen", "trace_cleared", "hidden_cleared"]


@pytest.mark.parametrize("core", ["plastic", "plastic_lstm"])
def test_each_plastic_core_loses_what_it_has(env, core):
    modulation = {"modulation_zero", "modulation_shuffled"}
    assert ablations_of(agent_of(env, core=core)) == PLASTIC
    assert set(ablations_of(agent_of(env, core=core, modulation="simple"))) == {*PLASTIC} | modulation
    assert ablations_of(agent_of(env, core=core, modulation="retroactive")) == list(ABLATIONS)


def test_each_core_loses_what_it_has(env):
    assert ablations_of(agent_of(env, core="rnn")) == ["hidden_cleared"]
    assert ablations_of(agent_of(env, core="lstm")) == ["hidden_cleared"]
    assert ablations_of(agent_of(env, core="memoryless")) == []


def test_an_ablation_that_takes_nothing_is_refused(plastic, env):
    with pytest.raises(ValueError, match="no ablation 'trace_clear' of this agent: expected one of trace_zero"):
        live(plastic, env, 8, 3, ablation="trace_clear")
    with pytest.raises(ValueError, match="no ablation 'trace_cleared' of this agent: expected one of hidden_cleared"):
        live(agent_of(env, core="lstm"), env, 8, 3, ablation="trace_cleared")
    with pytest.raises(ValueError, match="lifetimes is 0"):
        live(plastic, env, 0, 3)


@pytest.fixture(scope="module", params=["plastic", "plastic_lstm"])
def retroactive(env, request):
    return agent_of(env, core=request.param, rule="clip", modulation="retroactive")


@pytest.mark.parametrize("ablation", ["trace_zero", "alpha_zero", "modulation_zero", "eligibility_zero"])
def test_without_its_traces_a_retroactive_agent_is_its_fixed_weights(retroactive, env, ablation):
    normal, one, other = (live(retroactive, env, 8, 3, ablation=name) for name in (None, "trace_zero", ablation))
    np.testing.assert_array_equal(one.rewards, other.rewards)
    assert (normal.rewards != one.rewards).any()


def test_an_eligibility_cleared_at_hits_changes_nothing_before(env):
    retroactive = agent_of(env, rule="clip", modulation="retroactive")
    normal, changed = live(retroactive, env, 8, 3), live(retroactive, env, 8, 3, ablation="eligibility_cleared")
    first = int(np.flatnonzero(normal.hits.any(0))[0])
    np.testing.assert_array_equal(normal.rewards[:, : first + 1], changed.rewards[:, : first + 1])
    assert (normal.rewards != changed.rewards).any()


def test_a_shuffled_modulation_has_the_signals_of_the_lifetime_in_another_order(env, monkeypatch):
    agent, signals = agent_of(env, rule="clip", modulation="simple"), []
    original = agent.policy.modulation

    def kept(state):
        signals.append(original(state))
        return signals[-1]

    monkeypatch.setattr(agent.policy, "modulation", kept)
    normal = live(agent, env, 16, 3)
    own = np.array(signals).reshape(2, 80, 8)
    signals.clear()
    shuffled = live(agent, env, 16, 3, ablation="modulation_shuffled")
    again, given = np.array(signals).reshape(2, 2, 80, 8)
    np.testing.assert_array_equal(again, own)
    np.testing.assert_allclose(np.sort(given, axis=1), np.sort(own, axis=1))
    orders = {tuple(np.argsort(given[r, :, b])) for r in range(2) for b in range(8)}
    assert len(orders) == 16  # each lifetime has an order of its own
    assert (normal.rewards != shuffled.rewards).any()
    np.testing.assert_array_equal(live(agent, env, 16, 3, ablation="modulation_shuffled").rewards, shuffled.rewards)
    assert agent.policy.core.modulator.signal is None


@pytest.mark.parametrize("core", ["rnn", "lstm", "gru"])
def test_controls_live_too(env, core):
    agent = agent_of(env, core=core)
    normal, cleared = (live(agent, env, 16, 3, ablation=name) for name in (None, "hidden_cleared"))
    assert normal.rewards.shape == (16, 80)
    assert (normal.rewards != cleared.rewards).any()

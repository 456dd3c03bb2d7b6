import gymnasium as gym
import numpy as np
import pytest
import torch

import plastic_rl  # noqa: F401  (registers the mazes)
from plastic_rl.agents import PlasticA2C
from plastic_rl.evaluation.trials import ABLATIONS, LEARNED, Lifetimes, ablations_of, live
from plastic_rl.modules import PlasticRNN


@pytest.fixture(scope="module")
def env():
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=8, size=5, lifetime=80)


def agent_of(env, **policy_kwargs):
    agent = PlasticA2C("PlasticPolicy", env, n_steps=5, policy_kwargs={"hidden_size": 12} | policy_kwargs, seed=0)
    with torch.no_grad():
        agent.policy.action_net.weight.normal_(std=0.5)  # so that what it does depends on its state
        if isinstance(agent.policy.core, PlasticRNN):
            agent.policy.core.eta.fill_(0.3)
            agent.policy.core.alpha.normal_(std=0.2)
    return agent


@pytest.fixture(scope="module")
def plastic(env):
    return agent_of(env)


def test_summary_of_a_few_hits_counted_by_hand():
    rewards = np.array([[0, 10, -0.1, 0, 10, 10], [0, 0, 0, 0, 0, -0.1], [0, 0, 10, 0, 0, 0]])
    found = Lifetimes(rewards).summary()
    assert found["return_mean"] == pytest.approx((29.9 - 0.1 + 10) / 3)
    assert found["return_std"] == pytest.approx(np.std([29.9, -0.1, 10]))
    assert found["share_with_a_hit"] == pytest.approx(2 / 3)
    assert found["steps_to_first_hit"] == pytest.approx((2 + 3) / 2)
    assert found["steps_between_hits"] == pytest.approx((3 + 1) / 2)


def test_without_hits_there_are_no_steps_to_them():
    found = Lifetimes(np.zeros((2, 5))).summary()
    assert (found["steps_to_first_hit"], found["steps_between_hits"]) == (None, None)


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


def test_each_core_loses_what_it_has(env):
    assert ablations_of(agent_of(env)) == list(ABLATIONS)
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


@pytest.mark.parametrize("core", ["rnn", "lstm"])
def test_controls_live_too(env, core):
    agent = agent_of(env, core=core)
    normal, cleared = (live(agent, env, 16, 3, ablation=name) for name in (None, "hidden_cleared"))
    assert normal.rewards.shape == (16, 80)
    assert (normal.rewards != cleared.rewards).any()

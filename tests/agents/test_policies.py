import gymnasium as gym
import numpy as np
import pytest
import torch

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C


def maze():
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=4, lifetime=20, size=5)


def new_agent(**policy_kwargs):
    kwargs = {"hidden_size": 12, **policy_kwargs}
    return PlasticA2C("PlasticPolicy", maze(), n_steps=20, policy_kwargs=kwargs, seed=0, device="cpu")


@pytest.mark.parametrize(
    ("policy_kwargs", "unused"),
    [
        ({"core": "rnn", "rule": "hebbian", "alpha": "x"}, "rule, alpha"),
        ({"core": "lstm", "eta": 0.5, "nonlinearity": "relu"}, "eta, nonlinearity"),
        ({"core": "memoryless", "engine": "fused"}, "engine"),
    ],
)
def test_a_setting_that_a_core_has_no_use_for_is_refused(policy_kwargs, unused):
    with pytest.raises(ValueError, match=f"{policy_kwargs['core']} has no use for {unused}: leave (it|them) out"):
        new_agent(**policy_kwargs)


def test_a_policy_alone_is_saved_and_loaded_by_stable_baselines(tmp_path):
    agent = new_agent(rule="clip", bound=0.5, alpha="shared")
    agent.policy.save(tmp_path / "policy")
    loaded, observation = type(agent.policy).load(tmp_path / "policy"), maze().reset(seed=0)[0]
    assert repr(loaded.core) == repr(agent.policy.core)
    assert (loaded.predict(observation)[1].hidden == agent.policy.predict(observation)[1].hidden).all()


def test_the_policys_methods_go_through_the_core():
    policy = new_agent(hidden_size=15).policy  # as many as features: one must not be mistaken for the other
    observations = torch.as_tensor(maze().reset(seed=0)[0])
    torch.nn.init.normal_(policy.action_net.weight)
    actions, values, logs, state = policy(observations)
    assert torch.equal(policy.predict_values(observations), values)
    assert torch.equal(policy.get_distribution(observations).log_prob(actions), logs)
    _, values, _, _ = policy(observations, state)
    assert torch.equal(policy.predict_values(observations, state), values)
    _, state = policy.predict(observations.numpy())
    assert torch.equal(policy.predict_values(observations, state), policy(observations, state)[1])
    assert torch.equal(policy.get_distribution(observations, state).mode(), policy(observations, state, None, True)[0])
    with pytest.raises(NotImplementedError, match="use replay"):
        policy.evaluate_actions(observations, actions)


@pytest.mark.parametrize(
    ("core", "modulation", "parts"),
    [
        ("plastic", None, ("hidden", "trace")),
        ("plastic", "simple", ("hidden", "trace")),
        ("plastic", "retroactive", ("hidden", "trace", "eligibility")),
        ("plastic_lstm", None, ("hidden", "cell", "trace")),
        ("plastic_lstm", "simple", ("hidden", "cell", "trace")),
        ("plastic_lstm", "retroactive", ("hidden", "cell", "trace", "eligibility")),
        ("rnn", None, ("hidden",)),
        ("lstm", None, ("hidden", "cell")),
        ("gru", None, ("hidden",)),
        ("memoryless", None, ("hidden",)),
    ],
)
def test_the_parts_of_a_state_have_names(core, modulation, parts):
    plastic = core.startswith("plastic")
    settings = {"rule": "clip", "modulation": modulation, "engine": "reference"}  # which compiles nothing
    agent = new_agent(core=core, **(settings if plastic else {})).learn(80)
    policy, observations = agent.policy, maze().reset(seed=0)[0]
    first = policy.initial_state(4)
    state = agent.predict(observations, first, deterministic=True)[1]
    for found in (first, state):
        assert found._fields == parts
        assert all(isinstance(part, np.ndarray) for part in found)
    assert not any(part.any() for part in first)
    for other in (None, first._replace()):
        np.testing.assert_array_equal(agent.predict(observations, other, deterministic=True)[1].hidden, state.hidden)
    assert (policy.is_plastic, policy.has_memory) == (plastic, core != "memoryless")
    assert policy.is_modulated == (modulation is not None)
    assert policy.eta == (policy.core.eta.item() if plastic and modulation != "simple" else None)
    if modulation is None:
        with pytest.raises(ValueError, match="has no modulation: check is_modulated first"):
            policy.modulation(state)
        with pytest.raises(ValueError, match="has no modulation"):
            _ = policy.modulation_range
    else:
        assert policy.modulation_range == (-1.0, 1.0)
        modulator = policy.core.modulator
        expected = np.tanh(state.hidden @ modulator.weight.detach().numpy() + modulator.bias.item())
        assert policy.modulation(state).shape == (4,)
        np.testing.assert_allclose(policy.modulation(state), expected, rtol=1e-4)
    if plastic:
        expected = policy.core.alpha.detach().numpy() * state.trace
        np.testing.assert_array_equal(policy.plastic_weights(state), expected)
    else:
        with pytest.raises(ValueError, match="no plastic connections"):
            policy.plastic_weights(state)
    assert policy.is_retroactive == (modulation == "retroactive")
    if policy.is_retroactive:
        expected = policy.core.alpha.detach().numpy() * state.eligibility
        np.testing.assert_array_equal(policy.eligible_weights(state), expected)
    else:
        with pytest.raises(ValueError, match="no eligibility trace: check is_retroactive first"):
            policy.eligible_weights(state)

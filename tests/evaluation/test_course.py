"""The course of a lifetime, against what the agent computes when the lifetime is lived again."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import plastic_rl  # noqa: F401  (registers the mazes)
from plastic_rl.agents import PlasticA2C
from plastic_rl.evaluation.course import record_course, write_course


@pytest.fixture(scope="module")
def env():
    return gym.make("PlasticRL/GridMaze-v0", size=5, lifetime=30)


def agent_of(env, **policy_kwargs):
    if "modulation" in policy_kwargs:
        policy_kwargs["engine"] = "reference"  # which compiles nothing
    agent = PlasticA2C("PlasticPolicy", env, n_steps=5, policy_kwargs={"hidden_size": 12} | policy_kwargs, seed=0)
    torch.nn.init.normal_(agent.policy.action_net.weight, std=0.5)
    return agent


EVERY = {"observation", "action", "reward", "value", "hidden"}


@pytest.mark.parametrize(
    ("kwargs", "more"),
    [
        ({"core": "rnn"}, set()),
        ({"core": "lstm"}, {"cell"}),
        ({"core": "plastic"}, {"trace_norm"}),
        ({"core": "plastic", "modulation": "simple"}, {"trace_norm", "modulation"}),
        ({"core": "plastic", "modulation": "retroactive"}, {"trace_norm", "eligibility_norm", "modulation"}),
        (
            {"core": "plastic_lstm", "modulation": "retroactive"},
            {"cell", "trace_norm", "eligibility_norm", "modulation"},
        ),
    ],
)
def test_what_a_course_holds(env, kwargs, more):
    course = record_course(agent_of(env, **kwargs), env, 3)
    assert set(course) == EVERY | more
    shapes = {"observation": (30, *env.observation_space.shape), "hidden": (30, 12), "cell": (30, 12)}
    assert {name: part.shape for name, part in course.items()} == {name: shapes.get(name, (30,)) for name in course}
    assert all(np.isfinite(part).all() for part in course.values())
    for name in more:
        assert course[name].any()


def test_a_course_is_the_lifetime(env):
    agent = agent_of(env, rule="clip", modulation="retroactive")
    course = record_course(agent, env, 3)
    observation, _ = env.reset(seed=3)
    for t, action in enumerate(course["action"]):
        np.testing.assert_array_equal(course["observation"][t], observation)
        observation, reward, *_ = env.step(action)
        assert course["reward"][t] == reward
    core = agent.policy.core
    with torch.no_grad():
        hidden, last = core(torch.as_tensor(course["observation"])[:, None])
    np.testing.assert_allclose(course["hidden"], hidden[:, 0].numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(course["modulation"], core.modulator(hidden)[:, 0].detach().numpy(), rtol=1e-4)
    np.testing.assert_allclose(course["value"], agent.policy.values(hidden)[:, 0].numpy(), rtol=1e-4, atol=1e-6)
    assert course["trace_norm"][-1] == pytest.approx(last.trace.norm().item(), rel=1e-4)
    assert course["eligibility_norm"][-1] == pytest.approx(last.eligibility.norm().item(), rel=1e-4)


def test_a_seed_repeats_a_course(env):
    agent = agent_of(env)
    first, again, other = (record_course(agent, env, seed) for seed in (3, 3, 4))
    for name, part in first.items():
        np.testing.assert_array_equal(part, again[name])
    assert (first["observation"] != other["observation"]).any()
    twice = [record_course(agent, env, 3, deterministic=True)["action"] for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def test_a_written_course_is_read_without_running_code(env, tmp_path):
    course = record_course(agent_of(env), env, 3)
    write_course(tmp_path / "new" / "course.npz", course)
    with np.load(tmp_path / "new" / "course.npz", allow_pickle=False) as read:
        assert set(read) == set(course)
        for name, part in course.items():
            np.testing.assert_array_equal(read[name], part)

"""Lifetimes lived a step at a time: what is seen of the network, and a trace that is kept from changing."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C
from plastic_rl.viewing.lifetime import Lifetime, rehearse


def make(env_id="PlasticRL/GridMaze-v0", core="plastic", settings=(), **kwargs):
    env = gym.make(env_id, **kwargs)
    settings = {"core": core, "hidden_size": 12, **dict(settings)}
    agent = PlasticA2C("PlasticPolicy", env, seed=0, policy_kwargs=settings)
    if agent.policy.is_plastic:
        with torch.no_grad():
            if agent.policy.core.eta is not None:
                agent.policy.core.eta.fill_(0.3)
            agent.policy.core.alpha.mul_(20)
    return agent, env


def minds(agent, env, seed=3, freeze=(), **kwargs):
    torch.manual_seed(0)
    lifetime = Lifetime(agent, env, seed, **kwargs)
    seen = []
    for step, _ in enumerate(lifetime):
        seen.append(lifetime.mind)
        if step in freeze:
            lifetime.frozen = not lifetime.frozen
    return seen


@pytest.fixture(scope="module")
def plastic():
    return make(size=5, lifetime=60)


def test_each_step_is_seen_before_it_is_taken(plastic):
    agent, env = plastic
    seen = minds(agent, env)
    assert [len(one.values) for one in seen] == [*range(1, 61), 60]
    assert [one.activity.shape for one in seen] == [(k, 12) for k in [*range(1, 61), 60]]
    for one in seen[:-1]:
        assert one.actions.shape == (4,)
        assert one.actions.sum() == pytest.approx(1, abs=1e-5)
        assert one.chosen in range(4)
    assert seen[-1].chosen is None
    assert {(one.names, one.outcomes) for one in seen} == {(("up", "right", "down", "left"), ("goal reached", ""))}
    assert all(one.counts and not one.signed and one.misses == () for one in seen)
    state = env.unwrapped.maze_state()
    assert len(seen[-1].hits) == state.hits > 0


def test_the_moves_shown_are_the_moves_made(plastic):
    agent, env = plastic
    torch.manual_seed(0)
    lifetime = Lifetime(agent, env, 3)
    chosen: list[int | None] = []
    made = []
    for _ in lifetime:
        chosen.append(lifetime.mind.chosen)
        made.append(env.unwrapped.dynamics._last_action[0])
    assert made[1:] == chosen[:-1]


def test_what_is_seen_is_what_the_policy_computes(plastic):
    agent, env = plastic
    seen = minds(agent, env)
    core = agent.policy.core
    env.reset(seed=3)
    with torch.no_grad():
        state, observation = None, env.reset(seed=3)[0]
        for one in seen[:10]:
            hidden, state = core(torch.as_tensor(observation)[None, None], state)
            distribution, value = agent.policy.heads(hidden[0])
            np.testing.assert_allclose(one.values[-1], value.item(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(one.actions, distribution.distribution.probs[0], rtol=1e-4)
            np.testing.assert_allclose(one.plastic, (core.alpha * state.trace[0]), rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(one.strengths[-1], np.abs(one.plastic).mean(), rtol=1e-6)
            observation = env.step(one.chosen)[0]


def test_a_frozen_trace_stays_and_a_thawed_one_goes_on(plastic):
    agent, env = plastic
    seen = minds(agent, env, freeze=(20, 40))
    free = minds(agent, env)
    for k in range(21):
        assert (seen[k].plastic == free[k].plastic).all()
    assert (seen[20].plastic != 0).any()
    for k in range(21, 41):
        assert seen[k].frozen
        assert (seen[k].plastic == seen[20].plastic).all()
        assert (seen[k].activity[-1] != seen[k].activity[-2]).any()
    assert not seen[41].frozen
    assert (seen[41].plastic != seen[40].plastic).any()


def test_a_trace_frozen_from_birth_stays_zero_and_costs_the_agent_its_plasticity(plastic):
    agent, env = plastic
    seen = minds(agent, env, frozen=True)
    assert all((one.plastic == 0).all() for one in seen)
    free = minds(agent, env)
    np.testing.assert_allclose(seen[1].activity[0], free[1].activity[0], rtol=1e-5)
    assert not np.allclose(seen[30].activity[:30], free[30].activity[:30])


@pytest.mark.parametrize("core", ["plastic", "plastic_lstm"])
@pytest.mark.parametrize("modulation", ["simple", "retroactive"])
@pytest.mark.parametrize(("nonlinearity", "low"), [("tanh", -1.0), ("sigmoid", 0.0)])
def test_modulation_and_eligibility_are_seen(core, modulation, nonlinearity, low):
    settings = {"rule": "clip", "modulation": modulation, "modulator_nonlinearity": nonlinearity, "engine": "reference"}
    agent, env = make(core=core, settings=settings, size=5, lifetime=20)
    torch.manual_seed(0)
    lifetime, state = Lifetime(agent, env, 3), None
    for step, _ in enumerate(lifetime):
        one = lifetime.mind
        assert one.modulation_range == (low, 1.0)
        assert (one.eligibility is not None) == (modulation == "retroactive")
        if step == 20:
            break
        assert len(one.modulation) == step + 1
        state = type(agent.policy.initial_state(1))(*lifetime._state)
        assert one.modulation[-1] == agent.policy.modulation(state)[0]
        if one.eligibility is not None:
            alpha = agent.policy.core.alpha.detach().numpy()
            np.testing.assert_allclose(one.eligibility, alpha * state.eligibility[0], rtol=1e-6)


def test_a_frozen_trace_stays_whatever_is_eligible():
    agent, env = make(settings={"rule": "clip", "modulation": "retroactive"}, size=5, lifetime=30)
    seen = minds(agent, env, freeze=(10,))
    assert all((one.plastic == seen[10].plastic).all() for one in seen[11:])
    assert (seen[20].eligibility != seen[10].eligibility).any()


def test_results_of_answers_are_marked_at_the_step_at_which_they_are_seen():
    agent, env = make("PlasticRL/CueReward-v0", lifetime=60)
    torch.manual_seed(0)
    lifetime, told = Lifetime(agent, env, 3), {True: [], False: []}
    for step, _ in enumerate(lifetime):
        now = env.unwrapped.snapshot()
        assert lifetime.mind.counts == now.go
        assert lifetime.mind.names == ("no", "yes")
        if now.told:
            told[now.right[-1]].append(step)
    one = lifetime.mind
    assert (one.hits, one.misses) == (tuple(told[True]), tuple(told[False]))
    assert one.hits
    assert one.misses
    assert one.outcomes == ("right answer", "wrong answer")


@pytest.mark.parametrize("core", ["rnn", "lstm", "gru", "memoryless"])
def test_cores_without_a_trace(core):
    agent, env = make(core=core, lifetime=20)
    seen = minds(agent, env, freeze=(3,))
    assert seen[-1].plastic is None
    assert seen[-1].strengths == seen[-1].modulation == ()
    assert seen[-1].eligibility is None
    assert not seen[-1].frozen
    assert seen[-1].activity.shape == (20, 12)


def test_actions_that_are_no_moves():
    seen = minds(*make("CartPole-v1"))
    assert {(one.names, one.signed, one.counts, one.outcomes) for one in seen} == {((), False, True, ("", ""))}
    assert seen[0].actions.shape == (2,)
    assert seen[-1].hits == ()
    agent, env = make("Pendulum-v1", max_episode_steps=15)
    seen = minds(agent, env)
    assert {(one.signed, one.chosen, one.actions.shape) for one in seen} == {(True, None, (1,))}
    assert all(abs(one.actions).max() <= 1 for one in seen)


def test_a_rehearsal_is_the_lifetime_that_follows(plastic):
    agent, env = plastic
    scales = rehearse(agent, env, 3)
    torch.manual_seed(3)
    lifetime = Lifetime(agent, env, 3)
    for _ in lifetime:
        pass
    low, high = scales.values
    assert low == min(0, *lifetime.mind.values)
    assert high == max(0, *lifetime.mind.values)
    assert scales.strength == max(lifetime.mind.strengths)
    assert scales.steps == 59


def test_a_rehearsal_of_a_lifetime_without_end_ends(monkeypatch):
    monkeypatch.setattr("plastic_rl.viewing.lifetime.LONGEST_REHEARSAL", 30)
    agent, env = make(lifetime=10**6)
    assert rehearse(agent, env, 0).steps == 29

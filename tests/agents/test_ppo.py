"""PlasticPPO: its loss, its minibatches, its settings and files, and that it learns."""

import re
from itertools import chain

import gymnasium as gym
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.evaluation import evaluate_policy

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C, PlasticPPO
from plastic_rl.agents.archive import ArchiveError


def maze(count=4):
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=count, lifetime=13, size=5)


def new_agent(env=None, policy_kwargs=None, **kwargs):
    policy_kwargs = {"hidden_size": 8, **(policy_kwargs or {})}
    given = {"n_steps": 10, "seed": 0, "device": "cpu", **kwargs}
    return PlasticPPO("PlasticPolicy", env or maze(), policy_kwargs=policy_kwargs, **given)


def weights_of(agent):
    return {name: weight.clone() for name, weight in agent.policy.state_dict().items()}


def same(one, other):
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_the_first_gradient_is_that_of_a2c():
    """All ratios are 1 before the first step, where the clipped loss has the gradient of the policy's own."""
    settings = {"learning_rate": 1e-2, "gamma": 0.9, "gae_lambda": 0.9, "vf_coef": 0.3, "max_grad_norm": 0.5,
                "normalize_advantage": True, "n_steps": 10, "seed": 0, "device": "cpu"}  # fmt: skip
    policy = {"hidden_size": 8}
    ours = PlasticPPO("PlasticPolicy", maze(), n_epochs=1, policy_kwargs=policy, **settings).learn(40)
    theirs = PlasticA2C("PlasticPolicy", maze(), squared_prob_coef=0.0, policy_kwargs=policy, **settings).learn(40)
    for name, weight in weights_of(ours).items():
        torch.testing.assert_close(weight, theirs.policy.state_dict()[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("core", ["plastic", "gru", "memoryless"])
@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_a_minibatch_is_a_part_of_the_rollout(core, actions):
    env = maze() if actions == "discrete" else gym.make_vec("Pendulum-v1", num_envs=4, vectorization_mode="sync")
    agent = new_agent(env, {"core": core}, normalize_advantage=False).learn(40)
    whole, which = agent.replay_rollout(), torch.tensor([2, 0])
    logs = whole.distribution.log_prob(whole.actions).unflatten(0, (10, 4))  # before the distribution is used again
    part = agent.replay_rollout(which)
    assert len(part.values) == 20
    for name in ("actions", "advantages", "returns", "values"):
        of_whole = getattr(whole, name).unflatten(0, (10, 4))[:, which].flatten(0, 1)
        torch.testing.assert_close(getattr(part, name), of_whole)
    torch.testing.assert_close(part.distribution.log_prob(part.actions), logs[:, which].flatten())


def test_probabilities_are_those_that_the_agent_acted_by():
    agent = new_agent()
    agent.train = lambda: None
    agent.learn(40)
    replay = agent.replay_rollout()
    acted = agent.log_probs()
    assert acted.shape == (10, 4)
    torch.testing.assert_close(acted.flatten(), replay.distribution.log_prob(replay.actions).detach())
    with torch.no_grad():
        agent.policy.core.w.mul_(0.5)
    torch.testing.assert_close(agent.log_probs().flatten(), acted.flatten())


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [5]), (10, [1] * 5), (20, [2, 2, 1]), (500, [5])])
def test_every_epoch_goes_through_all_environments(batch_size, sizes):
    agent = new_agent(maze(5), batch_size=batch_size, n_epochs=3)
    parts = [which.tolist() for which in agent._minibatches()]
    assert [len(part) for part in parts] == sizes * 3
    epochs = [[*chain(*parts[i : i + len(sizes)])] for i in range(0, len(parts), len(sizes))]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len(sizes) == 1 or epochs[0] != epochs[1] or epochs[1] != epochs[2]


def trained_on(agent, advantage, value_error=0.0):
    """Train on a rollout of the agent's whose advantages, and the errors of whose values, are all the same."""
    buffer = agent.rollout_buffer
    buffer.advantages[:] = advantage
    buffer.returns[:] = buffer.values + value_error
    before = weights_of(agent)
    agent.train()
    return before, weights_of(agent)


def collected(shift=0.0, **settings):
    """Return an agent whose policy has moved since it acted: the probability of all actions taken has grown or not."""
    settings = {"n_epochs": 1, "normalize_advantage": False, "learning_rate": 1e-2, **settings}
    agent = new_agent(**settings)
    train, agent.train = agent.train, lambda: None
    agent.learn(40)
    agent.train = train
    agent.rollout_buffer.actions[:] = 0
    acted = agent.log_probs()
    agent.log_probs = lambda: acted
    with torch.no_grad():
        agent.policy.action_net.bias[0] += shift
    return agent


@pytest.mark.parametrize(
    ("shift", "advantage", "moves"),
    [(3.0, 1.0, False), (3.0, -1.0, True), (-3.0, -1.0, False), (-3.0, 1.0, True), (0.0, 1.0, True)],
)
def test_beyond_the_clip_range_nothing_is_to_be_gained(shift, advantage, moves):
    """Farther away from what was done, a good action gets no better; on the way back there is no bound."""
    before, after = trained_on(collected(shift, vf_coef=0.0), advantage)
    assert same(before, after) is not moves


@pytest.mark.parametrize(("clip_range_vf", "moves"), [(None, True), (1.0, True), (0.1, False)])
def test_values_move_no_further_than_their_clip_range(clip_range_vf, moves):
    agent = collected(clip_range_vf=clip_range_vf)
    with torch.no_grad():
        agent.policy.value_net.bias += 0.5
    before, after = trained_on(agent, 0.0, value_error=2.0)
    assert same(before, after) is not moves


def test_epochs_end_when_the_policy_has_moved_far():
    agent = new_agent(learning_rate=0.1, n_epochs=10, target_kl=1e-4).learn(40)
    assert 1 <= agent._n_updates < 10
    assert new_agent(learning_rate=0.1, n_epochs=10).learn(40)._n_updates == 10


@pytest.mark.parametrize("core", ["plastic", "lstm"])
def test_training_continues_exactly(core, tmp_path):
    def agent():
        return new_agent(policy_kwargs={"core": core}, batch_size=20, n_epochs=3, clip_range=0.3)

    straight = agent().learn(240)
    agent().learn(120).save(tmp_path / "half", include=["run"])
    resumed = PlasticPPO.load(tmp_path / "half", env=maze(), resume=True, device="cpu")
    assert (resumed.batch_size, resumed.n_epochs, resumed.clip_range, resumed.target_kl) == (20, 3, 0.3, None)
    resumed.learn(120, reset_num_timesteps=False)
    assert resumed._n_updates == straight._n_updates == 6 * 3 * 2
    assert same(weights_of(straight), weights_of(resumed))
    assert not same(weights_of(straight), weights_of(agent()))


def test_schedules_are_followed_and_their_present_values_saved(tmp_path):
    agent = new_agent(clip_range=lambda left: 0.1 + 0.2 * left, clip_range_vf=lambda left: left, n_epochs=1)
    agent.learn(80)
    agent.save(tmp_path / "agent")
    loaded = PlasticPPO.load(tmp_path / "agent")
    assert (loaded.clip_range, loaded.clip_range_vf) == pytest.approx((0.1, 0.0))


def test_an_agent_of_a2c_is_another_kind(tmp_path):
    PlasticA2C("PlasticPolicy", maze(), n_steps=10, policy_kwargs={"hidden_size": 8}).save(tmp_path / "agent")
    with pytest.raises(ArchiveError, match="not a description of a PlasticPPO agent: format 'plastic-rl PlasticA2C 1'"):
        PlasticPPO.load(tmp_path / "agent")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            {"batch_size": 25},
            "batch_size is 25: expected a multiple of n_steps, which is 10, since a minibatch",
        ),
        ({"batch_size": 0}, "batch_size is 0: expected a whole number of at least 1"),
        ({"n_epochs": 0}, "n_epochs is 0: expected a whole number of at least 1"),
        ({"clip_range": -0.1}, "clip_range is -0.1: expected at least 0"),
        ({"clip_range_vf": -1.0}, "clip_range_vf is -1.0: expected at least 0"),
        ({"target_kl": -1.0}, "target_kl is -1.0: expected at least 0"),
        ({"gamma": 1.5}, "gamma is 1.5: expected 0 to 1"),
    ],
)
def test_a_setting_out_of_bounds_is_named(setting, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        new_agent(**setting)


class Recall(gym.Env):
    """Say at the second step which of three letters was shown at the first."""

    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.shown = 0, int(self.np_random.integers(3))
        return self.shown, {}

    def step(self, action):
        self.t += 1
        return 3, float(self.t == 2 and action == self.shown), self.t == 2, False, {}


@pytest.mark.parametrize("policy_kwargs", [{}, {"modulation": "simple"}, {"core": "gru"}], ids=str)
def test_what_was_shown_is_remembered(policy_kwargs):
    """Chance: 1/3 a lifetime. Ceiling: 1. Learned: more than 0.95."""
    env = gym.vector.SyncVectorEnv([Recall] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = new_agent(env, {"hidden_size": 16, **policy_kwargs}, n_steps=16, batch_size=64, learning_rate=1e-2)
    agent.learn(6_000)
    test = gym.vector.SyncVectorEnv([Recall] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    mean, _ = evaluate_policy(agent, agent._wrap_env(test), 100, deterministic=True)
    assert mean > 0.95


def test_a_continuous_action_is_learned(target_env):
    """Chance: about -0.9 a step (uniform actions). Ceiling: 0. Learned: better than -0.35."""

    env = gym.vector.SyncVectorEnv([target_env] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = new_agent(env, learning_rate=3e-3, batch_size=40).learn(12_000)
    mean, _ = evaluate_policy(agent, target_env(), 10, warn=False)
    assert mean / 10 > -0.35

"""A second algorithm on the same rollouts: it adds its loss, its settings and its format, and nothing else."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C, PlasticPPO, RecurrentAgent
from plastic_rl.agents.archive import ArchiveError
from plastic_rl.errors import FaultyEnvironmentError


class Proximal(RecurrentAgent):
    """Several gradient steps per rollout, on a loss whose probability ratios are clipped."""

    FORMAT = "test Proximal 1"
    saved_settings = (*RecurrentAgent.saved_settings, "clip_range", "epochs")

    def __init__(self, policy, env, learning_rate=1e-2, clip_range=0.2, epochs=3, **kwargs: Any):
        self.clip_range, self.epochs = clip_range, epochs
        super().__init__(policy, env, learning_rate, **kwargs)

    def train(self):
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        before = None
        for _ in range(self.epochs):
            replay = self.replay_rollout()
            logs = replay.distribution.log_prob(replay.actions)
            before = logs.detach() if before is None else before
            ratio = (logs - before).exp()
            clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
            gain = torch.min(replay.advantages * ratio, replay.advantages * clipped)
            self.descend(-gain.mean(), replay)


def maze():
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=3, lifetime=13, size=5)


def new_agent(core="plastic"):
    kwargs = {"core": core, "hidden_size": 8}
    return Proximal("PlasticPolicy", maze(), epochs=2, n_steps=10, seed=0, device="cpu", policy_kwargs=kwargs)


@pytest.mark.parametrize("core", ["plastic", "lstm"])
def test_a_second_algorithm_trains_and_continues_exactly(core, tmp_path):
    straight = new_agent(core).learn(240)
    new_agent(core).learn(120).save(tmp_path / "half.zip", include=["run"])
    resumed = Proximal.load(tmp_path / "half.zip", env=maze(), resume=True, device="cpu")
    assert (resumed.epochs, resumed.clip_range, resumed.n_steps) == (2, 0.2, 10)
    resumed.learn(120, reset_num_timesteps=False)
    assert (resumed.num_timesteps, resumed._n_updates) == (straight.num_timesteps, straight._n_updates) == (240, 16)
    untrained = new_agent(core).policy.state_dict()
    weights = resumed.policy.state_dict()
    for name, weight in straight.policy.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert any(not torch.equal(weight, untrained[name]) for name, weight in weights.items())


def test_each_gradient_step_replays_with_the_weights_of_the_step_before():
    agent = new_agent().learn(30)
    first, second = agent.replay_rollout(), agent.replay_rollout()
    assert torch.equal(first.values, second.values)
    agent.descend(-(first.advantages * first.distribution.log_prob(first.actions)).mean(), first)
    assert not torch.equal(agent.replay_rollout().values, first.values)


def test_an_agent_of_another_algorithm_is_refused(tmp_path):
    new_agent().save(tmp_path / "agent")
    with pytest.raises(ArchiveError, match="not a description of a PlasticA2C agent: format 'test Proximal 1'"):
        PlasticA2C.load(tmp_path / "agent")


def test_the_settings_of_a_second_algorithm_can_be_replaced_on_loading(tmp_path):
    new_agent().save(tmp_path / "agent")
    assert Proximal.load(tmp_path / "agent", epochs=5).epochs == 5
    with pytest.raises(TypeError, match="another squared_prob_coeff"):
        Proximal.load(tmp_path / "agent", squared_prob_coeff=0.0)


@pytest.mark.parametrize("Agent", [PlasticA2C, PlasticPPO])
def test_a_schedule_that_falls_to_zero_does_not_fall_below(Agent, tmp_path):
    """The last rollout goes on to step 90, beyond the 70 that were asked for."""
    rates = []
    agent = Agent("PlasticPolicy", maze(), lambda left: 1e-2 * left, 10, policy_kwargs={"hidden_size": 8}, seed=0)
    train = agent.train
    agent.train = lambda: [train(), rates.append(agent.policy.optimizer.param_groups[0]["lr"])]
    agent.learn(70)
    assert rates == pytest.approx([1e-2 * 40 / 70, 1e-2 * 10 / 70, 0.0])
    agent.save(tmp_path / "agent")
    assert Agent.load(tmp_path / "agent").lr_schedule(1.0) == 0.0


class Faulty(gym.Wrapper):
    """Gives something else from one step on, counted from 1; step 0 is the reset."""

    def __init__(self, env, step, observation=None, reward=None):
        super().__init__(env)
        self.t, self.step_of_fault, self.fault = 0, step, (observation, reward)

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        return (observation * self.fault[0] if self.step_of_fault == 0 else observation), info

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.t += 1
        if self.t >= self.step_of_fault:
            observation = observation if self.fault[0] is None else observation * np.float32(self.fault[0])
            reward = reward if self.fault[1] is None else self.fault[1]
        return observation, reward, *rest


@pytest.mark.parametrize(
    ("step", "fault", "says"),
    [
        (5, {"observation": np.nan}, r"the observation of environment 1 is \[nan.*\] in step 5 of training"),
        (0, {"observation": np.nan}, r"the observation of environment 1 is \[nan.*\] in step 1 of training"),
        (1, {"reward": np.nan}, "the reward of environment 1 is nan in step 1 of training: expected finite numbers"),
        (2, {"reward": -np.inf}, "the reward of environment 1 is -inf in step 2"),
    ],
)
@pytest.mark.parametrize("Agent", [PlasticA2C, PlasticPPO])
def test_what_is_not_finite_is_named_with_its_environment_and_step(Agent, step, fault, says):
    envs = [lambda: gym.make("CartPole-v1"), lambda: Faulty(gym.make("CartPole-v1"), step, **fault)]
    agent = Agent("PlasticPolicy", DummyVecEnv(envs), n_steps=8, policy_kwargs={"hidden_size": 8})
    with pytest.raises(FaultyEnvironmentError, match=says):
        agent.learn(64)
    assert all(parameter.isfinite().all() for parameter in agent.policy.parameters())


def test_large_numbers_are_no_fault():
    """Their sum is infinite, which is what is looked at first."""
    agent = new_agent()
    agent.learn(30)
    agent._check_finite("reward", np.full(3, 3e38, np.float32))
    agent._check_finite("observation", np.full((3, 2), 2**60))


class Terse(VecEnvWrapper):
    """Marks episodes that were cut off, but does not say what their last observation was."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            info.pop("terminal_observation", None)
        return observations, rewards, dones, infos


def test_a_cut_without_a_last_observation_counts_as_an_end():
    agent = PlasticA2C("PlasticPolicy", Terse(make_vec_env("Pendulum-v1", 2)), n_steps=200, seed=0)
    with pytest.warns(UserWarning, match='cut off without a "terminal_observation" in their info'):
        agent.learn(400)
    totals = [info["r"] for info in agent.ep_info_buffer]  # of the rewards that the environments gave
    assert agent.rollout_buffer.rewards.sum(0) == pytest.approx(totals, abs=1e-2)

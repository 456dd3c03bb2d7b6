import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers.vector import DictInfoToList, NormalizeObservation, NormalizeReward, RecordEpisodeStatistics
from stable_baselines3.common.evaluation import evaluate_policy

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import EpisodeMonitor, GymnasiumVecEnv, PlasticA2C, PlasticPPO
from plastic_rl.agents.vec_env import EMPTY


class Clock(gym.Env):
    """Observes the time: its second number is 0 at first and 1 after the last of 10 steps. Each step costs 0.7."""

    observation_space = spaces.Box(-4, 4, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.array([-0.7, self.t / 10], np.float32), -0.7, False, self.t == 10, {}

    def later(self, by):
        return self.t + by


def maze(count, lifetime):
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=count, lifetime=lifetime, size=5)


def late(count=2, Kind=Clock, wrap=lambda env: env):
    """Environments that restart in the step after an end, and cannot be reset one by one."""

    class Late(VectorWrapper):
        """Any wrapper."""

    return Late(wrap(gym.vector.SyncVectorEnv([Kind] * count)))


def test_a_late_restart_is_an_episode_of_its_own():
    """Of environments that end at different times, so that one restarts while the other goes on."""
    env = EpisodeMonitor(GymnasiumVecEnv(late()))
    env.reset()
    env.get_attr("unwrapped")[1].t = 5
    ends, counted, empty = [], [], []
    for t in range(1, 23):
        observations, rewards, dones, infos = env.step(np.zeros((2, 1), np.float32))
        for i in range(2):
            if dones[i]:
                ends.append((t, i))
                if EMPTY in infos[i]:
                    empty.append((t, i))
                    assert rewards[i] == 0
                    assert observations[i].tolist() == [0, 0]  # the first of the next episode
                    assert "episode" not in infos[i]
                else:
                    counted.append((t, i, infos[i]["episode"]["l"], infos[i]["episode"]["r"]))
                    assert infos[i]["terminal_observation"][1] == observations[i, 1] == 1
                    assert infos[i]["TimeLimit.truncated"]
    assert empty == [(6, 1), (11, 0), (17, 1), (22, 0)]
    assert [one[:3] for one in counted] == [(5, 1, 5), (10, 0, 10), (16, 1, 10), (21, 0, 10)]
    assert [one[3] for one in counted] == pytest.approx([-3.5, -7, -7, -7])
    assert len(ends) == 8
    assert env.episode_count == 4


def test_an_agent_learns_nothing_from_late_restarts():
    """A step that belongs to no episode has no part in the loss, and the next one starts from a state of zeros."""
    agent = PlasticA2C("PlasticPolicy", late(), n_steps=25, seed=0, policy_kwargs={"hidden_size": 8}, gamma=1.0)
    agent.learn(50)
    rollout = next(agent.rollout_buffer.get())
    assert rollout.lived.all(1).logical_not().nonzero().flatten().tolist() == [10, 21]
    assert rollout.episode_starts[:, 0].nonzero().flatten().tolist() == [0, 10, 11, 21, 22]
    replay = agent.replay_rollout()
    assert len(replay.actions) == len(replay.values) == len(replay.returns) == 2 * 23
    assert agent.ep_info_buffer[0]["l"] == 10
    hidden = agent._stepper.outputs
    torch.testing.assert_close(hidden[0], hidden[11])


@pytest.mark.parametrize("Agent", [PlasticA2C, PlasticPPO])
def test_a_rollout_of_restarts_alone_teaches_nothing(Agent):
    """Every eleventh step is one, of both environments."""
    agent = Agent("PlasticPolicy", late(), n_steps=1, seed=0, policy_kwargs={"hidden_size": 8})
    agent.learn(20)
    before, updates = {name: weight.clone() for name, weight in agent.policy.state_dict().items()}, agent._n_updates
    agent.learn(2, reset_num_timesteps=False)
    assert not agent.rollout_buffer.lived.any()
    assert agent._n_updates == updates
    assert all(torch.equal(weight, before[name]) for name, weight in agent.policy.state_dict().items())


def test_gymnasiums_own_vector_environments_are_learned_from():
    """Chance: about 22 steps. Ceiling: 500. Learned: more than 100; 182 and, restarted by a mask, 192 when tried."""
    env = gym.make_vec("CartPole-v1", num_envs=8)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    policy = {"core": "memoryless", "hidden_size": 32, "optimizer_kwargs": {"eps": 1e-8}}
    agent = PlasticPPO("PlasticPolicy", env, 3e-3, 32, 64, gamma=0.98, gae_lambda=0.9, policy_kwargs=policy, seed=0)
    agent.learn(12_000)
    assert np.mean([episode["r"] for episode in agent.ep_info_buffer][-20:]) > 100
    assert all(episode["l"] == episode["r"] for episode in agent.ep_info_buffer)
    assert evaluate_policy(agent, agent.get_env(), 8)[0] > 100


def test_an_evaluation_sees_no_late_restarts():
    agent = PlasticA2C("PlasticPolicy", late(), n_steps=25, seed=0, policy_kwargs={"hidden_size": 8})
    returns, lengths = evaluate_policy(agent, agent.get_env(), 6, return_episode_rewards=True)
    assert lengths == [10] * 6
    assert returns == pytest.approx([-7] * 6)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_numbers_of_gymnasiums_wrappers_are_right(mode):
    """Rewards are scaled by the spread of the returns, and every episode is 10 steps long, not the first alone."""
    env = gym.vector.SyncVectorEnv([Clock] * 2, autoreset_mode=mode)
    normalized = NormalizeReward(RecordEpisodeStatistics(env), gamma=0.5)
    adapter = GymnasiumVecEnv(normalized)
    adapter.reset()
    for _ in range(64):
        _, _, dones, infos = adapter.step(np.zeros((2, 1), np.float32))
        for i in range(2):
            if dones[i] and EMPTY not in infos[i]:
                assert (infos[i]["episode"]["l"], infos[i]["episode"]["r"]) == (10, pytest.approx(-7))
    assert normalized.accumulated_reward.min() == pytest.approx(-1.4, abs=0.2)  # -0.7 / (1 - gamma) in the long run


def test_observations_are_normalized_by_gymnasium():
    env = NormalizeObservation(gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync"))
    agent = PlasticA2C("PlasticPolicy", env, n_steps=20, policy_kwargs={"hidden_size": 8}, seed=0).learn(2000)
    assert 0.1 < agent.rollout_buffer.observations.std() < 5


def test_a_wrapper_that_cannot_restart_single_episodes_is_named():
    env = NormalizeReward(gym.vector.SyncVectorEnv([Clock] * 2, autoreset_mode=AutoresetMode.DISABLED))
    with pytest.raises(ValueError, match="NormalizeReward would forget the returns of all episodes when one restarts"):
        GymnasiumVecEnv(env)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("listed", [False, True])
def test_infos_arrive_at_every_step(mode, listed):
    env = gym.vector.SyncVectorEnv([Judged] * 2, autoreset_mode=mode)
    env = GymnasiumVecEnv(DictInfoToList(env) if listed else env)
    env.reset()
    for t in range(1, 10):
        *_, infos = env.step(np.zeros((2, 1), np.float32))
        assert infos == [{"is_success": False, "of": {"t": t}}] * 2
    *_, infos = env.step(np.zeros((2, 1), np.float32))
    assert [(info["is_success"], info["of"]["t"]) for info in infos] == [(True, 10)] * 2
    assert [info["terminal_observation"][1] for info in infos] == [1, 1]


@pytest.mark.parametrize("Kind", [gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv])
def test_attributes_and_methods_are_those_of_each_environment(Kind):
    env = GymnasiumVecEnv(Kind([Clock] * 3))
    env.reset()
    env.set_attr("t", 4)
    env.set_attr("t", 7, indices=1)
    assert env.get_attr("t") == [4, 7, 4]
    assert env.get_attr("t", [2, 1]) == [4, 7]
    assert env.env_method("later", 2) == [6, 9, 6]
    if Kind is gym.vector.SyncVectorEnv:
        assert env.env_method("later", by=3, indices=[1]) == [10]
    else:
        with pytest.raises(NotImplementedError, match="leave out indices"):
            env.env_method("later", 3, indices=[1])
    env.close()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_adapter_gives_the_first_observation_of_the_next_episode(mode):
    env = GymnasiumVecEnv(gym.vector.SyncVectorEnv([Clock] * 2, autoreset_mode=mode))
    env.reset()
    for _ in range(10):
        observations, _, dones, infos = env.step(np.zeros((2, 1), np.float32))
    assert dones.all()
    assert (observations == 0).all()
    assert [info["terminal_observation"][1] for info in infos] == [1.0, 1.0]
    assert all(info["TimeLimit.truncated"] for info in infos)
    observations, *_ = env.step(np.zeros((2, 1), np.float32))
    assert observations[:, 1] == pytest.approx([0.1, 0.1])


class Judged(Clock):
    """Puts into the last info whether the episode was a success."""

    def step(self, action):
        *seen, over, _ = super().step(action)
        return *seen, over, {"is_success": self.t == 10, "of": {"t": self.t}}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_infos_at_the_end_of_an_episode_are_passed_on(mode):
    env = GymnasiumVecEnv(gym.vector.SyncVectorEnv([Judged] * 2, autoreset_mode=mode))
    env.reset()
    for _ in range(10):
        *_, infos = env.step(np.zeros((2, 1), np.float32))
    assert [(info["is_success"], info["of"]) for info in infos] == [(True, {"t": 10})] * 2
    assert all(info["TimeLimit.truncated"] for info in infos)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_statistics_that_gymnasium_records_are_passed_on(mode):
    env = gym.vector.SyncVectorEnv([Clock] * 2, autoreset_mode=mode)
    env = GymnasiumVecEnv(gym.wrappers.vector.RecordEpisodeStatistics(env))
    env.reset()
    for _ in range(10):
        *_, infos = env.step(np.zeros((2, 1), np.float32))
    assert [info["episode"]["l"] for info in infos] == [10, 10]
    assert [info["episode"]["r"] for info in infos] == pytest.approx([-7, -7])


class Named(Clock):
    """Observes the time in a dictionary."""

    observation_space = spaces.Dict(seen=Clock.observation_space)

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return {"seen": observation}, info

    def step(self, action):
        observation, *rest = super().step(action)
        return {"seen": observation}, *rest


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", [Clock, Named])
def test_later_steps_do_not_change_what_was_returned(kind, mode):
    def seen(observation):
        return observation["seen"] if kind is Named else observation

    env = GymnasiumVecEnv(gym.vector.SyncVectorEnv([kind] * 2, copy=False, autoreset_mode=mode))
    kept = [env.reset()]
    for _ in range(10):
        observations, _, _, infos = env.step(np.zeros((2, 1), np.float32))
        kept.append(observations)
    assert [seen(one)[0, 1] for one in kept] == pytest.approx([*np.arange(10) / 10, 0])
    assert seen(infos[0]["terminal_observation"])[1] == 1
    infos[0]["noted"] = True
    assert all("noted" not in info for info in env.step(np.zeros((2, 1), np.float32))[3])


class Optional(Clock):
    """Puts into the info of a reset the option that it was given."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"asked": (options or {}).get("for", 0)}


def test_options_are_passed_on_once():
    env = GymnasiumVecEnv(gym.vector.SyncVectorEnv([Optional] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    env.set_options({"for": 3})
    env.reset()
    assert [info["asked"] for info in env.reset_infos] == [3, 3]
    env.reset()
    assert [info["asked"] for info in env.reset_infos] == [0, 0]
    env.set_options([{"for": 3}, {"for": 4}])
    with pytest.raises(ValueError, match="expected the same for all environments"):
        env.reset()


def test_the_infos_of_mazes_are_passed_on():
    env = GymnasiumVecEnv(maze(2, 3))
    env.reset()
    for _ in range(3):
        *_, infos = env.step(np.zeros(2, int))
    assert [set(info) for info in infos] == [
        {"goal", "position", "hits", "terminal_observation", "TimeLimit.truncated"}
    ] * 2

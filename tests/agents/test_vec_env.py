import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import GymnasiumVecEnv


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


def maze(count, lifetime):
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=count, lifetime=lifetime, size=5)


def test_an_environment_that_restarts_a_step_later_is_refused():
    with pytest.raises(ValueError, match="AutoresetMode"):
        GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point"))


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
    assert env.step(np.zeros((2, 1), np.float32))[3] == [{}, {}]


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

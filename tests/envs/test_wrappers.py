"""The wrappers by hand-worked examples, and single against vector in every autoreset mode."""

import functools
import itertools
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from plastic_rl.envs import GridMaze, GridMazeVector, PreviousActionReward, PreviousActionRewardVector


class Echo(gym.Env):
    """Gives scripted rewards and observations, and ends after four steps."""

    def __init__(self, observation_space, action_space):
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        ended = self.steps == 4
        # Terminations and truncations in turn.
        terminated = ended and bool(self.np_random.integers(2))
        return self.observation_space.sample(), self.steps / 2, terminated, ended and not terminated, {}


SPACES = {
    "box and discrete": (spaces.Box(-1.0, 2.0, (2, 3), np.float64), spaces.Discrete(3)),
    "shifted discrete, both": (spaces.Discrete(4, start=-1), spaces.Discrete(3, start=5)),
    "image and box": (spaces.Box(0, 255, (2, 2, 1), np.uint8), spaces.Box(-2.0, 0.5, (2,), np.float32)),
    "scalar box and unbounded box": (
        spaces.Box(-np.inf, np.inf, (), np.float32),
        spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    ),
    "several numbers, both": (
        spaces.MultiDiscrete([[3, 2], [2, 4]], start=[[0, 1], [-1, 5]]),
        spaces.MultiDiscrete([2, 3], start=[1, -1]),
    ),
    "switches, both": (spaces.MultiBinary((2, 2)), spaces.MultiBinary(3)),
    "discrete and positive box": (spaces.Discrete(2), spaces.Box(1.0, 3.0, (1,), np.float32)),
}


def make_echo(name):
    return Echo(*(pickle.loads(pickle.dumps(space)) for space in SPACES[name]))


def make_wrapped_echo(name):
    return PreviousActionReward(make_echo(name))


def wrapped_task(name, **kwargs):
    return PreviousActionReward(gym.make(name, **kwargs))


def test_box_and_discrete_by_hand():
    env = make_wrapped_echo("box and discrete")
    assert env.observation_space.shape == (6 + 3 + 1 + 1,)
    np.testing.assert_array_equal(env.observation_space.low, [-1] * 6 + [0] * 3 + [-np.inf, 0])
    np.testing.assert_array_equal(env.observation_space.high, [2] * 6 + [1] * 3 + [np.inf, 1])
    inner = make_echo("box and discrete")
    first, _ = env.reset(seed=1)
    expected, _ = inner.reset(seed=1)
    np.testing.assert_array_equal(first[:6], expected.astype(np.float32).ravel())
    assert first[6:].tolist() == [0, 0, 0, 0, 1]
    for action, tail in [(2, [0, 0, 1, 0.5, 0]), (0, [1, 0, 0, 1.0, 0])]:
        observation, reward, *_ = env.step(action)
        expected, inner_reward, *_ = inner.step(action)
        np.testing.assert_array_equal(observation[:6], expected.astype(np.float32).ravel())
        assert observation[6:].tolist() == tail
        assert reward == inner_reward
    assert env.reset()[0][6:].tolist() == [0, 0, 0, 0, 1]


def test_discrete_spaces_that_start_elsewhere_by_hand():
    env = make_wrapped_echo("shifted discrete, both")
    env.reset(seed=0)
    observation, *_ = env.step(7)
    inner = make_echo("shifted discrete, both")
    inner.reset(seed=0)
    expected = inner.step(7)[0]
    assert observation[:4].tolist() == [float(k == expected) for k in (-1, 0, 1, 2)]
    assert observation[4:].tolist() == [0, 0, 1, 0.5, 0]


def test_several_numbers_by_hand():
    env = make_wrapped_echo("several numbers, both")
    assert env.observation_space.shape == (11 + 5 + 2,)
    env.reset(seed=0)
    observation, *_ = env.step(np.array([2, -1]))
    inner = make_echo("several numbers, both")
    inner.reset(seed=0)
    numbers = inner.step(np.array([2, -1]))[0].ravel() - [0, 1, -1, 5]
    expected = [np.eye(count)[number] for count, number in zip((3, 2, 2, 4), numbers, strict=True)]
    assert observation[:11].tolist() == np.concatenate(expected).tolist()
    assert observation[11:].tolist() == [0, 1, 1, 0, 0, 0.5, 0]


def test_switches_by_hand():
    env = make_wrapped_echo("switches, both")
    env.reset(seed=0)
    observation, *_ = env.step(np.array([1, 0, 1], np.int8))
    assert set(observation[:4]) <= {0, 1}
    assert observation[4:].tolist() == [1, 0, 1, 0.5, 0]


def test_raw_box_actions_by_hand():
    env = make_wrapped_echo("image and box")
    np.testing.assert_array_equal(env.observation_space.high[4:], np.float32([0.5, 0.5, np.inf, 1]))
    env.reset()
    observation, *_ = env.step(np.array([-1.5, 0.25], dtype=np.float32))
    assert observation[4:].tolist() == [-1.5, 0.25, 0.5, 0.0]
    assert 1 < observation[:4].max() <= 255
    # "No action yet" is zero, which these actions' own bounds leave out.
    assert make_wrapped_echo("discrete and positive box").observation_space.low[2] == 0.0


def test_bounds_beyond_float32_are_infinite():
    space = spaces.Box(-1e300, 1e300, (1,), np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = PreviousActionReward(Echo(space, spaces.Discrete(2)))
    assert env.observation_space.high[0] == np.inf


@pytest.mark.parametrize("name", SPACES)
def test_observations_lie_in_the_space_and_are_fresh(name):
    env = make_wrapped_echo(name)
    env.action_space.seed(0)
    seen = [env.reset(seed=3)[0]]
    for _ in range(4):
        seen.append(env.step(env.action_space.sample())[0])
    kept = [observation.copy() for observation in seen]
    for observation in seen:
        assert observation.dtype == np.float32
        assert observation in env.observation_space
        observation[:] = 9.0
    env.reset(seed=3)
    assert not any(np.shares_memory(a, b) for a, b in itertools.pairwise(seen))
    assert env.reset(seed=3)[0].tolist() == kept[0].tolist()


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(wrapped_task, "CartPole-v1"),
        functools.partial(wrapped_task, "Pendulum-v1"),
        functools.partial(wrapped_task, "FrozenLake-v1"),
        functools.partial(wrapped_task, "plastic_rl:PlasticRL/GridMaze-v0"),
    ],
    ids=["CartPole", "Pendulum", "FrozenLake", "GridMaze"],
)
def test_wrapped_tasks_pass_the_checkers(make):
    stable = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Not met here: bare environments, bounded rewards, and (Pendulum) actions in [-1, 1].
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        warnings.filterwarnings("ignore", message=".*observation space m.*imum value is -?infinity")
        warnings.filterwarnings("ignore", message=".*symmetric and normalized")
        check_env(make(), skip_render_check=True)
        stable.check_env(make())


def test_a_wrapped_spec_makes_the_env_again():
    env = wrapped_task("CartPole-v1")
    again = gym.make(env.spec)
    assert again.observation_space == env.observation_space
    pickle.loads(pickle.dumps(env)).reset()


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("name", SPACES)
def test_vector_is_single(name, mode):
    """Wrapping the batch gives what batching the wrapped gives, infos with final observations included."""
    seeds = [5, 6, 7]
    outside = PreviousActionRewardVector(SyncVectorEnv([functools.partial(make_echo, name)] * 3, autoreset_mode=mode))
    inside = SyncVectorEnv([functools.partial(make_wrapped_echo, name)] * 3, autoreset_mode=mode)
    assert outside.single_observation_space == inside.single_observation_space
    assert outside.observation_space == inside.observation_space
    outside.action_space.seed(1)
    assert data_equivalence(outside.reset(seed=seeds), inside.reset(seed=seeds), exact=True)
    actions = outside.action_space.sample()
    assert data_equivalence(outside.step(actions), inside.step(actions), exact=True)
    # One begins anew out of turn, so that episodes end at different steps.
    mask = np.array([False, True, False])
    ours = outside.reset(options={"reset_mask": mask})
    assert data_equivalence(ours, inside.reset(options={"reset_mask": mask}), exact=True)
    ends = 0
    for _ in range(22):
        actions = outside.action_space.sample()
        ours, theirs = outside.step(actions), inside.step(actions)
        assert data_equivalence(ours, theirs, exact=True)
        assert ours[0] in outside.observation_space
        ended = ours[2] | ours[3]
        ends += int(ended.sum())
        if mode is AutoresetMode.SAME_STEP and ended.any():
            last = ours[4]["final_obs"][ended.nonzero()[0][0]]
            assert last[-1] == 0.0
            assert last[-2] == 2.0
            assert (ours[0][ended, -1] == 1.0).all()
        if mode is AutoresetMode.DISABLED and ended.any():
            ours = outside.reset(options={"reset_mask": ended.copy()})
            assert data_equivalence(ours, inside.reset(options={"reset_mask": ended.copy()}), exact=True)
    assert ends >= 12


def test_a_reset_in_place_of_the_autoreset():
    """Reset by hand between an episode's end and the step that would reset it."""
    envs = PreviousActionRewardVector(GridMazeVector(2, lifetime=2, autoreset_mode="NextStep"))
    envs.reset(seed=0)
    envs.step([0, 0])
    envs.step([0, 0])
    envs.reset(options={"reset_mask": np.array([True, False])})
    observations, *_ = envs.step([1, 1])
    assert observations[:, -6:].tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_native_mazes_are_wrapped_as_single_ones(mode):
    kwargs = {"size": 5, "lifetime": 3}
    outside = PreviousActionRewardVector(GridMazeVector(3, autoreset_mode=mode, **kwargs))
    inside = SyncVectorEnv(
        [functools.partial(wrapped_task, "plastic_rl:PlasticRL/GridMaze-v0", **kwargs)] * 3,
        autoreset_mode=mode,
    )
    np.testing.assert_array_equal(outside.reset(seed=0)[0], inside.reset(seed=0)[0])
    rng = np.random.default_rng(0)
    for _ in range(15):
        actions = rng.integers(4, size=3)
        ours, theirs = outside.step(actions), inside.step(actions)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ("final_obs" in ours[4]) == ("final_obs" in theirs[4])
        if "final_obs" in ours[4]:
            assert data_equivalence(ours[4]["final_obs"], theirs[4]["final_obs"], exact=True)
        if mode is AutoresetMode.DISABLED and ours[2].all():
            outside.reset()
            inside.reset()


def test_other_processes_can_be_wrapped():
    envs = PreviousActionRewardVector(AsyncVectorEnv([functools.partial(GridMaze, size=5)] * 2))
    try:
        observations, _ = envs.reset(seed=0)
        assert observations[:, -1].tolist() == [1.0, 1.0]
        observations, rewards, *_ = envs.step(np.array([0, 3]))
        assert observations[:, -6:-2].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
        np.testing.assert_array_equal(observations[:, -2], rewards)
    finally:
        envs.close()


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (spaces.Text(3), spaces.Discrete(2), r"observation space is Text.*FlattenObservation"),
        (spaces.Dict(a=spaces.Discrete(2)), spaces.Discrete(2), r"observation space is Dict.*Box, Discrete, MultiDis"),
        (spaces.Discrete(2), spaces.Tuple([spaces.Discrete(2)]), r"action space is Tuple.*TransformAction"),
    ],
)
def test_unsupported_spaces_are_named(observation_space, action_space, message):
    with pytest.raises(TypeError, match=message):
        PreviousActionReward(Echo(observation_space, action_space))
    envs = SyncVectorEnv([functools.partial(Echo, observation_space, action_space)])
    with pytest.raises(TypeError, match=message.split(".*")[0] + r".*gymnasium\.wrappers\.vector\."):
        PreviousActionRewardVector(envs)


def test_a_vector_env_must_say_how_it_autoresets():
    envs = GridMazeVector(2)
    envs.metadata = {}
    with pytest.raises(ValueError, match=r"metadata\['autoreset_mode'\].*is None: expected"):
        PreviousActionRewardVector(envs)

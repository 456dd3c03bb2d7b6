"""What every environment that this package registers must do."""

import copy
import dataclasses
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

import plastic_rl  # noqa: F401 - registers the environments
from plastic_rl.envs.protocols import Measured, Pictured, Playable, Resumable
from plastic_rl.envs.registration import ENVIRONMENTS, settings_of

IDS = sorted(ENVIRONMENTS)
SHORT = {  # settings of a lifetime of a few steps
    "PlasticRL/GridMaze-v0": {"size": 7, "lifetime": 6},
    "PlasticRL/RandomMaze-v0": {"size": 7, "lifetime": 6},
    "PlasticRL/CueReward-v0": {"blanks": 1, "lifetime": 6},
    "PlasticRL/CueAction-v0": {"cues": 3, "meetings": 1},
}
every_env = pytest.mark.parametrize("env_id", IDS)


def rollout(env, steps, seed=None, actions_seed=0):
    """Return all that the env gives over some lifetimes; the first seeded, the later ones not."""
    rng = np.random.default_rng(actions_seed)
    record = [env.reset(seed=seed)]
    for _ in range(steps):
        record.append(env.step(int(rng.integers(env.action_space.n))))
        if record[-1][2]:
            record.append(env.reset())
    return record


def test_all_are_registered():
    assert set(SHORT) == set(IDS)
    assert set(IDS) == {name for name in gym.registry if name.startswith("PlasticRL/")}


@every_env
def test_settings_are_those_that_the_env_takes(env_id):
    settings = settings_of(f"plastic_rl:{env_id}")
    assert settings is settings_of(env_id)
    defaults = dataclasses.asdict(settings())
    for env in (gym.make(env_id, **defaults), gym.make_vec(env_id, num_envs=2, **defaults)):
        assert env.unwrapped.config == settings() == type(env.unwrapped)().config
    name = dataclasses.fields(settings)[0].name
    with pytest.raises(TypeError, match=f"has no setting '{name}x': did you mean {name}"):
        gym.make(env_id, **{f"{name}x": 7})


@every_env
def test_what_an_env_offers(env_id):
    single, batch = gym.make(env_id).unwrapped, gym.make_vec(env_id, num_envs=2).unwrapped
    for env in (single, batch):
        assert isinstance(env, Measured)
        assert {*env.digest(np.zeros((2, env.lifetime)))} == {*env.words().measures}
        assert isinstance(env, Playable)
        assert isinstance(env, Pictured)
    assert isinstance(batch, Resumable)
    assert not isinstance(single, Resumable)


@every_env
def test_what_a_moment_tells_to_the_viewer(env_id):
    env = gym.make(env_id, render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    now = env.snapshot()
    assert len(now.actions) == env.action_space.n
    assert (now.hits, now.misses) == (0, 0)
    assert now.outcomes[0]
    for shown in ("observed", "scene", "everything"):
        assert now.picture(shown).shape == env.render().shape
        for width in (200, 352, 900):
            assert 0.9 * width < now.picture(shown, width).shape[1] < 1.2 * width + 2


def test_other_envs_offer_nothing():
    assert settings_of("CartPole-v1") is None
    for env in (gym.make("CartPole-v1").unwrapped, gym.make_vec("CartPole-v1", num_envs=2)):
        assert not any(isinstance(env, protocol) for protocol in (Measured, Pictured, Playable, Resumable))


@every_env
def test_gymnasium_checker_finds_nothing(env_id, no_display):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(f"plastic_rl:{env_id}")
        check_env(env.unwrapped)
        env.close()


@every_env
@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_stable_baselines_checker_finds_nothing(env_id, mode):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(env_id, render_mode=mode)
        checker.check_env(env, skip_render_check=False)


@every_env
def test_twins_with_one_seed_live_the_same_lifetimes(env_id):
    one, other, stranger = (rollout(gym.make(env_id, **SHORT[env_id]), 90, seed) for seed in (4, 4, 5))
    assert data_equivalence(one, other, exact=True)
    assert not data_equivalence(one, stranger, exact=True)


@every_env
def test_unseeded_envs_differ_and_follow_np_random(env_id):
    def lifetimes(generator_seed):
        env = gym.make(env_id, **SHORT[env_id]).unwrapped
        if generator_seed is not None:
            env.np_random = np.random.default_rng(generator_seed)
        return rollout(env, 60)

    assert not data_equivalence(lifetimes(None), lifetimes(None))
    assert data_equivalence(lifetimes(3), lifetimes(3), exact=True)
    assert not data_equivalence(lifetimes(3), lifetimes(4))


@every_env
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_as_the_original(env_id, copier, no_display):
    env = gym.make(env_id, render_mode="human", **SHORT[env_id])
    env.unwrapped.metadata = {**env.unwrapped.metadata, "render_fps": 1000}
    rollout(env, 20, seed=1)
    twin = copier(env)
    for action in [0, 1, 1]:
        assert data_equivalence(env.step(action), twin.step(action), exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)
    assert env.unwrapped._window is not twin.unwrapped._window
    env.close()
    twin.close()


@every_env
def test_a_spec_makes_the_env_again(env_id):
    env = gym.make(env_id, **SHORT[env_id])
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.config == env.unwrapped.config


@every_env
@pytest.mark.parametrize("mode", [None, "vector_entry_point", "sync"])
def test_make_vec(env_id, mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec(f"plastic_rl:{env_id}", num_envs=3, vectorization_mode=mode, **SHORT[env_id])
        observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    assert envs.num_envs == 3
    native = mode != "sync"
    assert (type(envs).__name__ == env_id.removeprefix("PlasticRL/").removesuffix("-v0") + "Vector") == native
    if native:
        assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert envs.single_observation_space == gym.make(env_id, **SHORT[env_id]).observation_space


@every_env
def test_vector_copies_go_on_as_the_original(env_id):
    envs = gym.make_vec(env_id, num_envs=4, **SHORT[env_id])
    envs.reset(seed=0)
    envs.step(np.array([0, 1, 1, 0]))
    for twin in (copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))):
        original = copy.deepcopy(envs)
        for _ in range(10):
            actions = np.array([1, 0, 1, 0])
            assert data_equivalence(original.step(actions), twin.step(actions), exact=True)


@every_env
def test_docstring_has_the_usual_headings(env_id):
    doc = gym.make(env_id).unwrapped.__doc__
    headings = (
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "Info",
        "Source",
    )
    places = [doc.index(f"## {heading}\n") for heading in headings]
    assert places == sorted(places)

"""The vector environments against the single ones and Gymnasium's own; and states to continue from."""

import functools
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from plastic_rl.envs import CueAction, CueActionVector, CueReward, CueRewardVector

CASES = [
    (CueReward, CueRewardVector, {"lifetime": 17}),
    (CueReward, CueRewardVector, {"cues": 3, "bits": 2, "blanks": 0, "shown": 1, "lifetime": 9}),
    (CueReward, CueRewardVector, {"code": "one-hot", "bits": 4, "lifetime": 11}),
    (CueAction, CueActionVector, {"cues": 3, "meetings": 2}),
    (CueAction, CueActionVector, {"cues": 2, "bits": 1, "actions": 2, "meetings": 2, "delay": 2}),
]
cases = pytest.mark.parametrize(("single", "vector", "kwargs"), CASES)


def actions_for(envs, steps, seed=0):
    return np.random.default_rng(seed).integers(envs.single_action_space.n, size=(steps, envs.num_envs))


@cases
@pytest.mark.parametrize("seed", [0, 123, 2**64 - 2])
def test_each_is_the_single_env_of_its_seed(single, vector, kwargs, seed):
    """Over several lifetimes, one single environment at a time."""
    count, steps = 5, 40
    envs = vector(count, **kwargs)
    actions = actions_for(envs, steps)
    batch = [envs.reset(seed=seed), *(envs.step(row) for row in actions)]
    for k in range(count):
        env = single(**kwargs)
        observation, info = env.reset(seed=seed + k)
        for step, (observations, *outcome, infos) in enumerate(batch):
            if step:
                observation, reward, terminated, truncated, info = env.step(actions[step - 1, k])
                assert [values[k] for values in outcome] == [reward, terminated, truncated]
                if terminated:
                    np.testing.assert_array_equal(infos["final_obs"][k], observation)
                    for key, value in info.items():
                        assert infos["final_info"][key][k] == value
                    observation, info = env.reset()
            np.testing.assert_array_equal(observations[k], observation)
            for key, value in info.items():
                assert infos[key][k] == value
                assert infos[f"_{key}"].all()


@cases
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_infos_and_autoreset_are_those_of_gymnasium(single, vector, kwargs, mode):
    """Everything returned equals, dtypes and info masks included, what SyncVectorEnv returns."""
    native = vector(3, autoreset_mode=mode, **kwargs)
    sync = SyncVectorEnv([functools.partial(single, **kwargs)] * 3, autoreset_mode=mode)
    assert native.metadata["autoreset_mode"] is sync.metadata["autoreset_mode"] is mode
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert data_equivalence(native.reset(seed=6), sync.reset(seed=6), exact=True)
    for actions in actions_for(native, 40):
        ours, theirs = native.step(actions), sync.step(actions)
        for outcome in (ours, theirs):
            if outcome[4].get("final_info") is not None:
                final = outcome[4]["final_info"]
                outcome[4]["final_info"] = {key: value[outcome[2]] for key, value in final.items()}
        assert data_equivalence(ours, theirs, exact=True)
        if mode is AutoresetMode.DISABLED and ours[2].any():
            for envs in (native, sync):
                envs.reset(options={"reset_mask": ours[2].copy()})


@cases
def test_a_state_continues_in_the_middle_of_lifetimes(single, vector, kwargs):
    envs, other = vector(4, **kwargs), vector(4, **kwargs)
    envs.reset(seed=3)
    other.reset(seed=99)
    actions = actions_for(envs, 60)
    for row in actions[:23]:
        envs.step(row)
    state = pickle.loads(pickle.dumps(envs.get_state()))
    kept = {name: array.copy() for name, array in state.items()}
    other.set_state(state)
    for row in actions[23:]:
        assert data_equivalence(envs.step(row), other.step(row), exact=True)
    assert all((state[name] == array).all() for name, array in kept.items())  # a copy, not a view
    assert (envs.snapshot(2).text()) == other.snapshot(2).text()


def test_a_state_of_others_is_refused():
    envs = CueRewardVector(3)
    envs.reset(seed=0)
    state = envs.get_state()
    for other in (CueRewardVector(3, cues=5), CueRewardVector(3, lifetime=121), CueActionVector(3)):
        with pytest.raises(ValueError, match=r"state is of CueRewardConfig\(cues=4.*: expected Cue"):
            other.set_state(state)
    with pytest.raises(ValueError, match=r"expected .*, of 2 environments"):
        CueRewardVector(2).set_state(state)
    with pytest.raises(ValueError, match="state is of something else: expected CueRewardConfig"):
        envs.set_state({name: array for name, array in state.items() if name != "kind"})


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_what_the_vector_env_returns_is_the_caller_s_to_keep(mode):
    """Overwriting everything returned, and the actions given, changes nothing later."""
    clean, dirty = (CueRewardVector(3, lifetime=9, autoreset_mode=mode) for _ in range(2))
    clean.reset(seed=0)
    spoil(dirty.reset(seed=0))
    for actions in actions_for(clean, 25):
        given = actions.copy()
        ours, theirs = clean.step(actions), dirty.step(given)
        assert data_equivalence(ours, theirs, exact=True)
        given[:] = 0
        spoil(theirs)


def spoil(returned):
    for value in returned:
        if isinstance(value, dict):
            spoil(value.values())
        elif value.dtype != object:
            value[...] = ~value if value.dtype == bool else value + 1


def test_bad_actions_are_clear_errors():
    envs = CueActionVector(2)
    envs.reset(seed=0)
    for actions, message in [
        ([0, 4], "an action is 4: expected a whole number from 0 to 3"),
        ([-1, 0], "an action is -1"),
        ([0.0, 1.0], "float64"),
        ([0], r"of shape \(1,\): expected whole numbers of shape \(2,\)"),
    ]:
        with pytest.raises(InvalidAction, match=message):
            envs.step(actions)


def test_gymnasium_s_statistics():
    envs = RecordEpisodeStatistics(gym.make_vec("PlasticRL/CueAction-v0", num_envs=4, cues=2, meetings=1, delay=0))
    envs.reset(seed=0)
    for _ in range(4):
        *_, infos = envs.step(np.zeros(4, dtype=int))
    assert infos["episode"]["l"].tolist() == [4] * 4
    assert (infos["episode"]["r"] == 2 * infos["final_info"]["hits"] - 2).all()

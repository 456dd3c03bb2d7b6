"""The ceilings: against exhaustive search, against the ideal observer's own play, and against random play."""

import functools
import itertools
from dataclasses import asdict
from math import comb

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from plastic_rl.envs import (
    CueAction,
    CueActionConfig,
    CueActionVector,
    CueReward,
    CueRewardConfig,
    CueRewardVector,
    GridMaze,
    IdealObserver,
    PreviousActionRewardVector,
)
from plastic_rl.envs.cues.oracle import chances


def best_chances(cues, shown, trials):
    """Return the best probabilities of a right answer, by Bayes' rule over targets and over every set of cues."""
    sets = [frozenset(chosen) for chosen in itertools.combinations(range(cues), shown)]

    def probability(target, chosen):
        """Return how likely a set is shown, given the target."""
        others = shown - 1 if target in chosen else shown
        return 0.5 / comb(cues - 1, others)

    right = np.zeros(trials)

    def search(trial, weights):
        if trial == trials:
            return
        for chosen in sets:
            joint = [weight * probability(target, chosen) for target, weight in enumerate(weights)]
            yes = sum(weight for target, weight in enumerate(joint) if target in chosen)
            right[trial] += max(yes, sum(joint) - yes)
            for present in (True, False):
                left = [weight * ((target in chosen) == present) for target, weight in enumerate(joint)]
                if sum(left):
                    search(trial + 1, left)

    search(0, [1 / cues] * cues)
    return right


@pytest.mark.parametrize(("cues", "shown"), [(4, 2), (2, 1), (3, 1), (3, 2), (5, 2), (5, 3)])
def test_chances_are_those_of_exhaustive_search(cues, shown):
    found = chances(CueRewardConfig(cues=cues, shown=shown))[:3]
    np.testing.assert_allclose(found, best_chances(cues, shown, 3), rtol=0, atol=1e-12)


def best_value_of_a_cue(possible, meetings):
    """Return the best expected sum of rewards for one cue, whose action is one of ``possible``, over all policies."""
    if not meetings:
        return 0.0
    after_error = best_value_of_a_cue(possible - 1, meetings - 1) if possible > 1 else 0.0
    guess = 1 / possible * meetings + (1 - 1 / possible) * (after_error - 1)
    repeat_an_error = best_value_of_a_cue(possible, meetings - 1) - 1
    return max(guess, repeat_an_error)


@pytest.mark.parametrize(("actions", "meetings"), [(2, 1), (2, 6), (4, 6), (4, 2), (7, 9)])
def test_the_ceiling_of_cue_action_is_the_best_play(actions, meetings):
    env = CueAction(cues=5, actions=actions, meetings=meetings)
    assert env.oracle_return() == pytest.approx(5 * best_value_of_a_cue(actions, meetings))


@pytest.mark.parametrize(
    ("vector", "kwargs"),
    [
        (CueRewardVector, {}),
        (CueRewardVector, asdict(CueRewardConfig.easy())),
        (CueRewardVector, {"cues": 7, "shown": 3, "blanks": 1, "lifetime": 50}),
        (CueRewardVector, {"cues": 3, "shown": 2, "blanks": 0, "code": "one-hot"}),
        (CueRewardVector, {"lifetime": 5}),
        (CueActionVector, {}),
        (CueActionVector, asdict(CueActionConfig.easy())),
        (CueActionVector, {"cues": 16, "delay": 2}),
        (CueActionVector, {"actions": 9, "meetings": 4, "code": "one-hot"}),
    ],
)
def test_the_ideal_observer_plays_to_the_ceiling(vector, kwargs):
    lifetimes = 2000
    envs = vector(lifetimes, **kwargs)
    observations, _ = envs.reset(seed=77)
    observer, returns = IdealObserver(envs), np.zeros(lifetimes)
    for _ in range(2 * envs.lifetime):  # two lifetimes: it must notice that a new one begins
        observations, rewards, _, _, _ = envs.step(observer.act(observations))
        returns += rewards / 2
    error = returns.std() / np.sqrt(lifetimes)
    assert abs(returns.mean() - envs.oracle_return()) < 3.5 * error


def test_figures():
    """16.2 of 18.2 answers in the paper's task: all is known after two errors, on average counted as one each."""
    assert CueReward().oracle_return() == pytest.approx(16.207, abs=0.001)
    assert chances(CueReward().config)[:4] == pytest.approx([1 / 2, 2 / 3, 8 / 9, 26 / 27])
    assert CueReward(**asdict(CueRewardConfig.easy())).oracle_return() == pytest.approx(12.430, abs=0.001)
    assert CueAction().oracle_return() == 24.0
    assert CueAction(**asdict(CueActionConfig.easy())).oracle_return() == 10.0
    assert CueReward().oracle_return() == CueRewardVector(3).oracle_return(lifetimes=1, seed=5)
    # The load on memory does not change the return per answer.
    assert CueAction(cues=32).oracle_return() / 32 == CueAction(cues=2).oracle_return() / 2
    for lifetime in (1, 3):  # too short for an answer
        assert CueReward(lifetime=lifetime).oracle_return() == 0.0


@pytest.mark.parametrize("vector", [CueRewardVector, CueActionVector])
def test_random_play_is_as_it_is_played(vector):
    envs = vector(1500)
    envs.reset(seed=5)
    rng = np.random.default_rng(8)
    actions = envs.single_action_space.n
    returns = sum(envs.step(rng.integers(actions, size=1500))[1] for _ in range(envs.lifetime))
    assert abs(returns.mean() - envs.random_return()) < 4 * returns.std() / np.sqrt(1500)
    assert CueAction().random_return() == -24.0
    for method in (envs.random_return, envs.oracle_return):
        with pytest.raises(ValueError, match="lifetimes is 0: expected a whole number of at least 1"):
            method(lifetimes=0)


@pytest.mark.parametrize("task", [CueReward, CueAction])
def test_the_ideal_observer_plays_a_single_env(task):
    env = gym.make(f"plastic_rl:PlasticRL/{task.__name__}-v0")
    twin = gym.make_vec(f"PlasticRL/{task.__name__}-v0", num_envs=1)
    alone, beside = IdealObserver(env), IdealObserver(twin)
    seen, row = env.reset(seed=4)[0], twin.reset(seed=4)[0]
    over = False
    while not over:
        action = alone.act(seen)
        assert action == beside.act(row)
        seen, _, over, _, _ = env.step(action.item())
        row, *_ = twin.step(action)


def test_it_looks_through_wrappers_and_refuses_other_tasks():
    wrapped = PreviousActionRewardVector(CueRewardVector(3))
    observations, _ = wrapped.reset(seed=0)
    assert IdealObserver(wrapped).act(observations[:, :26]).shape == (3,)
    for env in (GridMaze(), gym.make("CartPole-v1"), SyncVectorEnv([functools.partial(CueReward)])):
        with pytest.raises(TypeError, match="CueReward and CueAction environments only"):
            IdealObserver(env)

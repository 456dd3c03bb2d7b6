"""The rules of the cue tasks, checked against a plain re-telling of them, from the observations alone."""

from dataclasses import asdict

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from plastic_rl.envs import (
    CueAction,
    CueActionConfig,
    CueActionVector,
    CueReward,
    CueRewardConfig,
    CueRewardVector,
)

BOTH = [CueReward, CueAction]

settings_of_cue_reward = st.fixed_dictionaries(
    {
        "cues": st.integers(3, 8),
        "bits": st.integers(3, 32),
        "lifetime": st.integers(1, 60),
        "shown": st.integers(1, 2),
        "blanks": st.integers(0, 4),
    }
)
settings_of_cue_action = st.fixed_dictionaries(
    {
        "cues": st.integers(2, 6),
        "bits": st.integers(3, 32),
        "actions": st.integers(2, 5),
        "meetings": st.integers(1, 4),
        "delay": st.integers(0, 3),
    }
)


class Seen:
    """An observation, part by part."""

    def __init__(self, observation, bits):
        self.cue = tuple(observation[:bits].tolist())
        self.blank = not any(self.cue)
        self.go, self.bias, self.elapsed, self.reward = observation[bits : bits + 4].tolist()
        self.action = observation[bits + 4 :].tolist()


def live(env, seed, actions):
    """Live one lifetime; return what was seen, the actions, the rewards and the infos."""
    observation, info = env.reset(seed=seed)
    seen, chosen, rewards, infos = [Seen(observation, env.config.bits)], [], [], [info]
    over = False
    while not over:
        assert observation in env.observation_space
        chosen.append(actions.randrange(env.config.actions))
        observation, reward, over, truncated, info = env.step(chosen[-1])
        assert not truncated
        seen.append(Seen(observation, env.config.bits))
        rewards.append(reward)
        infos.append(info)
    with pytest.raises(ResetNeeded):
        env.step(0)
    return seen, chosen, rewards, infos


def check_common(env, seen, chosen, rewards, infos):
    """Check all that does not depend on the kind of trial."""
    steps = env.config.lifetime
    assert env.lifetime == steps == len(chosen) == len(rewards)
    assert [now.elapsed for now in seen] == [np.float32(t / steps) for t in range(steps + 1)]
    assert all(now.bias == 1.0 for now in seen)
    assert seen[0].reward == 0.0
    assert not any(seen[0].action)
    for t, (action, reward) in enumerate(zip(chosen, rewards, strict=True)):
        assert seen[t + 1].reward == reward
        assert seen[t + 1].action == [float(a == action) for a in range(env.config.actions)]
        right = action == infos[t]["right_action"]
        assert reward == ((1.0 if right else -1.0) if seen[t].go else 0.0)
        assert infos[t + 1]["answers"] == infos[t]["answers"] + seen[t].go
        assert infos[t + 1]["hits"] == infos[t]["hits"] + (reward > 0)
        assert (infos[t]["cue"] == -1) == seen[t].blank
    assert infos[0]["answers"] == infos[0]["hits"] == 0
    numbers = {now.cue: info["cue"] for now, info in zip(seen, infos, strict=True)}
    assert len(set(numbers.values())) == len(numbers)
    assert all(set(cue) <= {-1.0, 1.0} for cue, number in numbers.items() if number >= 0)
    assert seen[-1].blank
    assert not seen[-1].go


def trials_of(infos):
    """Return the steps of each trial, in order; the observation after the last step left out."""
    trials = {}
    for t, info in enumerate(infos[:-1]):
        trials.setdefault(info["trial"], []).append(t)
    assert list(trials) == list(range(1, len(trials) + 1))
    return list(trials.values())


@settings(max_examples=60, deadline=None)
@given(kwargs=settings_of_cue_reward, seed=st.integers(0, 2**70), actions=st.randoms(use_true_random=False))
def test_every_step_of_cue_reward_follows_the_rules(kwargs, seed, actions):
    env = CueReward(**kwargs)
    seen, chosen, rewards, infos = live(env, seed, actions)
    check_common(env, seen, chosen, rewards, infos)
    target, shown = infos[0]["target"], kwargs["shown"]
    assert all(info["target"] == target for info in infos)
    trials = trials_of(infos)
    for number, steps in enumerate(trials):
        cues = [infos[t]["cue"] for t in steps if not seen[t].blank]
        assert len(set(cues)) == len(cues) <= shown
        if number == len(trials) - 1 and len(steps) < shown + 3 + kwargs["blanks"]:
            continue  # may be cut off by the end of the lifetime
        assert shown + 3 <= len(steps) <= shown + 3 + kwargs["blanks"]
        assert len(cues) == shown
        assert seen[steps[0]].blank
        assert seen[steps[-1]].blank
        assert [t for t in steps if seen[t].go] == [steps[-2]]
        assert seen[steps[-2]].blank
        assert {infos[t]["right_action"] for t in steps} == {int(target in cues)}


@settings(max_examples=60, deadline=None)
@given(kwargs=settings_of_cue_action, seed=st.integers(0, 2**70), actions=st.randoms(use_true_random=False))
def test_every_step_of_cue_action_follows_the_rules(kwargs, seed, actions):
    env = CueAction(**kwargs)
    assert env.lifetime == kwargs["cues"] * kwargs["meetings"] * (kwargs["delay"] + 2)
    seen, chosen, rewards, infos = live(env, seed, actions)
    check_common(env, seen, chosen, rewards, infos)
    action_of, met = {}, []
    for steps in trials_of(infos):
        assert len(steps) == kwargs["delay"] + 2
        assert [t - steps[0] for t in steps if not seen[t].blank] == list(range(kwargs["delay"] + 1))
        assert len({infos[t]["cue"] for t in steps[:-1]}) == 1
        assert [t - steps[0] for t in steps if seen[t].go] == [kwargs["delay"]]
        met.append(infos[steps[0]]["cue"])
        right = {infos[t]["right_action"] for t in steps}
        assert right == {action_of.setdefault(met[-1], *right)}
    rounds = np.array(met).reshape(kwargs["meetings"], kwargs["cues"])
    assert (np.sort(rounds, axis=1) == np.arange(kwargs["cues"])).all()


def test_a_trial_by_hand():
    """One whole trial of CueReward, as the docstring tells it."""
    env = CueReward(cues=2, bits=4, shown=1, blanks=0, lifetime=8)
    seen, _ = env.reset(seed=0)
    assert seen.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]  # blank
    seen, reward, _, _, info = env.step(1)
    cue = seen[:4].tolist()
    assert sorted(map(abs, cue)) == [1, 1, 1, 1]
    assert seen[4:].tolist() == [0, 1, 0.125, 0, 0, 1]
    seen, reward, _, _, info = env.step(0)
    assert seen.tolist() == [0, 0, 0, 0, 1, 1, 0.25, 0, 1, 0]  # go
    assert reward == 0.0
    answer = info["right_action"]
    seen, reward, _, _, info = env.step(answer)
    assert seen.tolist() == [0, 0, 0, 0, 0, 1, 0.375, 1, 1 - answer, answer]  # the reward is seen
    assert reward == 1.0
    assert info["trial"] == 1
    assert (info["answers"], info["hits"]) == (1, 1)
    seen, reward, _, _, info = env.step(0)
    assert seen.tolist() == [0, 0, 0, 0, 0, 1, 0.5, 0, 1, 0]  # blank: the next trial
    assert reward == 0.0
    assert info["trial"] == 2


def test_the_paper_s_trials():
    """Statistics of many trials: 5 to 8 steps, 6.5 on average; all pairs, orders and places equally likely."""
    envs = CueRewardVector(4000)
    envs.reset(seed=1)
    lives = envs.dynamics.lives
    assert envs.single_observation_space.shape == (26,)
    trial = lives.trial[:, :-1]
    first_ten = [(trial == number).sum(axis=1) for number in range(10)]
    lengths, counts = np.unique(first_ten, return_counts=True)
    assert lengths.tolist() == [5, 6, 7, 8]
    assert np.abs(counts / 40_000 - 0.25).max() < 0.01
    assert abs(np.mean(first_ten) - 6.5) < 0.03
    assert abs(lives.go.sum(axis=1).mean() - 18.2) < 0.2
    # The first trial of each lifetime.
    cues = np.where(trial == 0, lives.cue[:, :-1], -1)
    pairs = np.array([row[row >= 0] for row in cues])
    assert pairs.shape == (4000, 2)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 12
    assert ((counts - 4000 / 12) ** 2 / (4000 / 12)).sum() < 40  # mean 11, standard deviation 5
    present = (pairs == lives.hidden).any(axis=1)
    assert (present == lives.right[:, 0]).all()
    assert abs(present.mean() - 0.5) < 0.04
    # Where the two cues of trials with three blanks are.
    long = first_ten[0] == 8
    places = np.array([np.flatnonzero(row >= 0) for row in cues[long]])
    _, counts = np.unique(places, axis=0, return_counts=True)
    assert len(counts) == 10
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 36  # mean 9, standard deviation 4.2


def test_the_target_is_shown_in_half_of_the_trials_however_many_cues_there_are():
    for kwargs in ({"cues": 10}, {"cues": 3}, {"cues": 5, "shown": 4}, asdict(CueRewardConfig.easy())):
        lives = CueRewardVector(500, **kwargs).dynamics
        lives.seed(np.arange(500, dtype=np.uint64), np.ones(500, bool))
        lives.begin(np.arange(500))
        asked = lives.lives.right[lives.lives.go]
        assert abs(asked.mean() - 0.5) < 4 * 0.5 / len(asked) ** 0.5
        target = lives.lives.hidden[:, 0]
        counts = np.bincount(target, minlength=lives.config.cues)
        assert np.abs(counts / 500 - 1 / lives.config.cues).max() < 0.1


@pytest.mark.parametrize(("cues", "bits"), [(4, 2), (8, 3), (3, 2), (32, 5), (2, 1)])
def test_cues_differ_even_where_there_is_hardly_room(cues, bits):
    envs = CueActionVector(3000, cues=cues, bits=bits, meetings=1)
    envs.reset(seed=3)
    codes = envs.dynamics.lives.codes
    numbers = (codes[:, :-1] > 0) @ (1 << np.arange(bits))
    assert all(len(set(row)) == cues for row in numbers.tolist())
    assert not codes[:, -1].any()
    # The first, and the last, are uniform.
    for number in (0, -1):
        counts = np.bincount(numbers[:, number], minlength=2**bits)
        expected = 3000 / 2**bits
        assert ((counts - expected) ** 2 / expected).sum() < 2**bits + 5 * np.sqrt(2 * 2**bits)


def test_cues_of_twenty_bits_are_fair_coins():
    envs = CueRewardVector(2000)
    envs.reset(seed=0)
    ones = (envs.dynamics.lives.codes[:, :-1] > 0).mean(axis=(0, 1))
    assert np.abs(ones - 0.5).max() < 4 * 0.5 / np.sqrt(8000)


@pytest.mark.parametrize("task", BOTH)
def test_one_hot_cues_are_the_same_in_every_lifetime(task):
    env = task(code="one-hot", bits=10)
    hidden = set()
    for seed in range(10):
        env.reset(seed=seed)
        lives = env.dynamics.lives
        assert (lives.codes[0, :-1] == np.eye(env.config.cues, 10)).all()
        hidden.add(tuple(lives.hidden[0].tolist()))
    assert len(hidden) > 2


def test_actions_of_cues_are_uniform_and_independent():
    envs = CueActionVector(4000, cues=2, actions=3, meetings=1)
    envs.reset(seed=5)
    _, counts = np.unique(envs.dynamics.lives.hidden, axis=0, return_counts=True)
    assert len(counts) == 9
    assert ((counts - 4000 / 9) ** 2 / (4000 / 9)).sum() < 28  # mean 8, standard deviation 4


@pytest.mark.parametrize("task", BOTH)
def test_what_is_done_does_not_change_what_comes(task):
    def lifetimes(action):
        env = task()
        for lifetime in range(3):
            seen, info = env.reset(seed=9 if lifetime == 0 else None)
            over = False
            while not over:
                yield seen[: env.config.bits + 3].tolist(), info["right_action"]
                seen, _, over, _, info = env.step(action)

    assert list(lifetimes(0)) == list(lifetimes(1))


@pytest.mark.parametrize("task", BOTH)
def test_observations_and_infos_are_fresh(task):
    env, twin = task(), task()
    for each in (env, twin):
        each.reset(seed=0)
    for _ in range(12):
        seen, *_, info = env.step(1)
        expected, *_, facts = twin.step(1)
        assert (seen == expected).all()
        assert info == facts
        assert all(type(value) is int for value in info.values())
        seen[:] = 7.0


def test_stepping_without_reset_is_a_clear_error():
    env = CueReward()
    with pytest.raises(ResetNeeded, match=r"Call reset\(\) before step"):
        env.step(0)
    env.reset()
    for action in (2, -1, 0.5, None):
        with pytest.raises(InvalidAction, match="expected a whole number from 0 to 1"):
            env.step(action)


@pytest.mark.parametrize(
    ("task", "kwargs", "message"),
    [
        (CueReward, {"cues": 1}, "cues is 1: expected a whole number of at least 2"),
        (CueReward, {"cues": 33}, "cues is 33: expected 2 to 32"),
        (CueAction, {"cues": 4.5}, "cues is 4.5: expected a whole number"),
        (CueReward, {"bits": 0}, "bits is 0: expected a whole number of at least 1"),
        (CueReward, {"bits": 33}, "bits is 33: expected 1 to 32"),
        (CueReward, {"cues": 5, "bits": 2}, "cues is 5: expected at most 4, since bits is 2"),
        (CueAction, {"cues": 8, "bits": 7, "code": "one-hot"}, "cues is 8: expected at most 7, since bits is 7"),
        (CueAction, {"code": "words"}, "unknown code 'words': expected one of random, one-hot"),
        (CueReward, {"lifetime": 0}, "lifetime is 0: expected a whole number of at least 1"),
        (CueReward, {"lifetime": 1e6}, "lifetime is 1000000: expected 1 to 100000"),
        (CueReward, {"shown": 4}, "shown is 4: expected 1 to 3"),
        (CueReward, {"shown": 0}, "shown is 0: expected a whole number of at least 1"),
        (CueReward, {"blanks": -1}, "blanks is -1: expected a whole number of at least 0"),
        (CueReward, {"blanks": 101}, "blanks is 101: expected 0 to 100"),
        (CueAction, {"actions": 1}, "actions is 1: expected a whole number of at least 2"),
        (CueAction, {"meetings": 0}, "meetings is 0: expected a whole number of at least 1"),
        (CueAction, {"delay": True}, "delay is True: expected a whole number"),
        (CueAction, {"delay": 9999}, r"lifetime, cues x meetings x \(delay \+ 2\), is 480048: expected 1 to 100000"),
        (CueAction, {"render_mode": "humans"}, "unknown render_mode 'humans': expected one of human, rgb_array, ansi"),
    ],
)
def test_bad_parameters_name_themselves(task, kwargs, message):
    with pytest.raises(ValueError, match=message):
        task(**kwargs)


def test_unknown_settings_name_the_known_ones():
    with pytest.raises(TypeError, match=r"^CueAction has no setting 'lifetime': .*It has cues, bits, code, actions"):
        CueAction(lifetime=40)
    with pytest.raises(TypeError, match=r"^CueRewardVector has no setting 'blank': did you mean blanks"):
        CueRewardVector(blank=2)


def test_small_versions():
    env = gym.make("plastic_rl:PlasticRL/CueReward-v0", **asdict(CueRewardConfig.easy()))
    assert env.observation_space.shape == (8,)
    assert env.unwrapped.lifetime == 75
    assert CueActionConfig.easy(meetings=3).lifetime == 18
    assert CueRewardConfig.easy(bits=4) == CueRewardConfig(cues=2, bits=4, shown=1, lifetime=75)


def test_the_longest_lifetime_can_be_lived():
    env = CueReward(lifetime=100_000, bits=4)
    env.reset(seed=0)
    trial = env.dynamics.lives.trial[0]
    assert abs(trial[-1] - 100_000 / 6.5) < 200
    env.step(0)


@pytest.mark.parametrize("task", [CueReward, CueAction])
def test_a_digest_of_a_few_answers_counted_by_hand(task):
    rewards = np.array([[0, -1, 1, 0, -1, 0, 1, 1], [1, -1, 1, 0, 0, 0, 0, 1]])
    found = task().digest(rewards)
    assert found["right_answers"] == pytest.approx(6 / 9)
    assert found["right_answers_first_quarter"] == pytest.approx(1 / 3)
    assert found["right_answers_last_quarter"] == 1.0
    assert set(task().digest(rewards[:, 3:4]).values()) == {None}

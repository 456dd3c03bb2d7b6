"""The return of an ideal observer, which starts without knowledge and forgets nothing, and an agent that plays like it.

The task hides which cue is the target, or which action each cue asks for. An ideal observer cannot know this before
it has seen results, so its return, not that of an agent that knows all, is the ceiling of what can be learned.
"""

from math import comb
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv

from plastic_rl.envs.base import Floats, Ints
from plastic_rl.envs.cues.config import AnyCueConfig, CueActionConfig, CueRewardConfig
from plastic_rl.envs.cues.dynamics import CueDynamics

__all__ = ["IdealObserver", "chances", "ideal_return", "random_return"]


def ideal_return(config: AnyCueConfig) -> float:
    """Return the expected return of an ideal observer, exactly."""
    rewards = 2 * chances(config) - 1
    if isinstance(config, CueActionConfig):
        return float(config.cues * rewards.sum())
    return float(_answered(config) @ rewards)


def random_return(config: AnyCueConfig) -> float:
    """Return the expected return of uniformly random actions, exactly."""
    if isinstance(config, CueActionConfig):
        return config.most_trials * (2 / config.actions - 1)
    return 0.0


def chances(config: AnyCueConfig) -> Floats:
    """Return the probability that an ideal observer answers right: in each trial, or at each meeting of a cue.

    CueAction: the observer tries an action that it has not tried yet until one is right, and then keeps to it. At
    meeting i, it is right if the right action is among the first i of the A that it tries: with min(i, A) / A.

    CueReward: the result tells which answer was right, whatever the answer was. So no answer teaches more than another,
    and the likelier answer is the best one in each trial. With n cues, s of them shown, and m that may still be the
    target, j of these are among those shown if the target is (with probability 1/2), j - 1 having been drawn with it
    from the other m - 1, or if it is not, j having been drawn from these. Then j or m - j are left. What is left is
    equally likely, so m is all that the future depends on.
    """
    if isinstance(config, CueActionConfig):
        return np.minimum(np.arange(1, config.meetings + 1), config.actions) / config.actions
    cues, shown = config.cues, config.shown
    right = np.zeros(config.most_trials)
    left = np.zeros(cues + 1)  # probability of each m
    left[cues] = 1.0
    for trial in range(config.most_trials):
        after = np.zeros(cues + 1)
        for m in range(1, cues + 1):
            for j in range(min(m, shown) + 1):
                present = left[m] / 2 * _drawn(cues - 1, m - 1, shown - 1, j - 1)
                absent = left[m] / 2 * _drawn(cues - 1, m - 1, shown, j)
                right[trial] += max(present, absent)
                after[j] += present
                after[m - j] += absent
        left = after
    return right


def _drawn(total: int, marked: int, draws: int, count: int) -> float:
    """Return the probability of ``count`` marked ones in ``draws`` draws without replacement from ``total``."""
    if not 0 <= count <= draws or draws > total:
        return 0.0
    return comb(marked, count) * comb(total - marked, draws - count) / comb(total, draws)


def _answered(config: CueRewardConfig) -> Floats:
    """Return for each trial the probability that its go step lies within the lifetime."""
    answered = np.zeros(config.most_trials)
    blanks = np.full(config.blanks + 1, 1 / (config.blanks + 1))
    start = np.zeros(config.lifetime)  # probability that the trial begins at each step
    start[0] = 1.0
    for trial in range(config.most_trials):
        go = np.convolve(start, blanks)[: max(0, config.lifetime - config.shown - 1)]
        answered[trial] = go.sum()
        start = np.zeros(config.lifetime)
        start[config.shortest_trial :] = go[: max(0, config.lifetime - config.shortest_trial)]
    return answered


class IdealObserver:
    """Plays the cue tasks as well as can be, from the observations alone.

    Args:
        env: a cue task of this package, single or vector, wrapped or not; only its settings are read.

    Raises:
        TypeError: ``env`` is not a cue task of this package.

    Example:
        >>> env = gym.make("PlasticRL/CueReward-v0")
        >>> observer = IdealObserver(env)
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, over, _, info = env.step(observer.act(observation).item())
    """

    def __init__(self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> None:
        dynamics = getattr(env.unwrapped, "dynamics", None)
        if not isinstance(dynamics, CueDynamics):
            raise TypeError(f"env is {env}: IdealObserver plays CueReward and CueAction environments only")
        self.config = config = dynamics.config
        self._rows = np.arange(dynamics.num_envs)
        # The cues by their numbers in the order of their first appearance, each as one whole number; -1 before it.
        self._met = np.full((dynamics.num_envs, config.cues), -1, dtype=np.int64)
        self._now = np.full(dynamics.num_envs, -1)  # the cue that was shown last
        self._in_trial = np.zeros((dynamics.num_envs, config.cues), dtype=np.bool_)
        # What is possible: CueReward: that each cue is the target; CueAction: that each action is right for each cue.
        shape = (config.cues, config.actions) if isinstance(config, CueActionConfig) else (config.cues,)
        self._possible = np.ones((dynamics.num_envs, *shape), dtype=np.bool_)

    def act(self, observations: npt.NDArray[Any]) -> Ints:
        """Return the best actions.

        Args:
            observations: every observation of a lifetime in turn, shape (num_envs, length), or (length,) of a single
                environment. A lifetime begins where no time has passed.

        Returns:
            Actions, shape (num_envs,); (1,) for a single environment.
        """
        bits = self.config.bits
        seen = np.atleast_2d(observations)
        elapsed, reward, before = seen[:, bits + 2], seen[:, bits + 3], seen[:, bits + 4 :].argmax(axis=1)
        begun = elapsed == 0
        self._met[begun] = -1
        self._in_trial[begun] = False
        self._possible[begun] = True
        told = (reward != 0).nonzero()[0]
        if told.size:
            self._learn(told, before[told], reward[told] > 0)
        shown = (seen[:, :bits] != 0).any(axis=1).nonzero()[0]
        if shown.size:
            self._meet(shown, (seen[shown, :bits] > 0) @ (1 << np.arange(bits)))
        if isinstance(self.config, CueActionConfig):
            return self._possible[self._rows, self._now].argmax(axis=1)
        return self._likelier(self.config)

    def _meet(self, rows: Ints, codes: Ints) -> None:
        """Find out which of the known cues is shown, or take it as a new one."""
        known = self._met[rows] == codes[:, None]
        # A new one takes the first free place.
        place = np.where(known.any(axis=1), known.argmax(axis=1), (self._met[rows] >= 0).sum(axis=1))
        self._met[rows, place] = codes
        self._in_trial[rows, place] = True
        self._now[rows] = place

    def _learn(self, rows: Ints, actions: Ints, won: npt.NDArray[np.bool_]) -> None:
        """Draw conclusions from a result, and end the trial."""
        if isinstance(self.config, CueActionConfig):
            this = np.arange(self.config.actions) == actions[:, None]
            self._possible[rows, self._now[rows]] &= this == won[:, None]
        else:
            present = (actions == 1) == won
            self._possible[rows] &= self._in_trial[rows] == present[:, None]
        self._in_trial[rows] = False

    def _likelier(self, config: CueRewardConfig) -> Ints:
        """Return whether the target is more likely among the cues shown than not.

        A cue has been shown with probability 1 / comb(cues - 1, shown - 1) per set if it is the target, and has not
        been with 1 / comb(cues - 1, shown); the quotient is (cues - shown) / shown.
        """
        among = (self._possible & self._in_trial).sum(axis=1)
        others = self._possible.sum(axis=1) - among
        return (among * (config.cues - config.shown) > others * config.shown).astype(np.int64)

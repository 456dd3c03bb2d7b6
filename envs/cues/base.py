"""What the cue tasks share: dynamics, what play is measured against, pictures, and keys for a person."""

from typing import Any

import gymnasium as gym
import numpy as np

from plastic_rl.checks import whole_number
from plastic_rl.envs.base import Family, Floats
from plastic_rl.envs.cues import oracle
from plastic_rl.envs.cues.config import AnyCueConfig, CueRewardConfig
from plastic_rl.envs.cues.dynamics import CueDynamics
from plastic_rl.envs.cues.pictures import CueState
from plastic_rl.envs.protocols import Measure, Words
from plastic_rl.envs.single import SingleEnv
from plastic_rl.envs.vector import BatchEnv

__all__ = ["CueEnv", "CueVectorEnv"]


_WORDS = Words(
    oracle="ideal observer",
    oracle_in_full="ideal observer",
    hit="right answer",
    measures={
        "right_answers": Measure("right answers", "{:.1%}"),
        "right_answers_first_quarter": Measure("first quarter", "{:.1%}"),
        "right_answers_last_quarter": Measure("last quarter", "{:.1%}"),
    },
)


class Cues(Family):
    """A batch of cue tasks with the same settings; the base of the single and the vector environments."""

    config: AnyCueConfig
    dynamics: CueDynamics

    def _make_dynamics(self, num_envs: int) -> CueDynamics:
        return CueDynamics(self.config, num_envs)

    def _spaces(self) -> tuple[gym.Space[Any], gym.spaces.Discrete]:
        bits = self.config.bits
        low = np.zeros(self.config.observation_size, dtype=np.float32)
        high = np.ones(self.config.observation_size, dtype=np.float32)
        low[:bits] = low[bits + 3] = -1.0
        return gym.spaces.Box(low, high, dtype=np.float32), gym.spaces.Discrete(self.config.actions)

    def oracle_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of an ideal observer, exactly; the arguments do not matter.

        It starts each lifetime without knowledge, forgets nothing that it observes, and draws the best conclusions:
        no agent can collect more on average. :func:`~plastic_rl.envs.cues.oracle.chances` has its derivation, and
        :class:`~plastic_rl.envs.IdealObserver` plays like it.
        """
        whole_number("lifetimes", lifetimes, 1)
        return oracle.ideal_return(self.config)

    def random_return(self, lifetimes: int = 1000, seed: int = 0) -> float:
        """Return the mean return of uniformly random actions, exactly; the arguments do not matter."""
        whole_number("lifetimes", lifetimes, 1)
        return oracle.random_return(self.config)

    def digest(self, rewards: Floats) -> dict[str, float | None]:
        """Return which share of the answers was right: in whole lifetimes, and in their first and last quarters.

        An agent that answers better in the last quarter than in the first has learned within its lifetime.

        Args:
            rewards: of E whole lifetimes of T steps, ``(E, T)``; only answers are rewarded, with 1 or -1.
        """
        steps = rewards.shape[1]
        quarter = steps // 4
        return {
            "right_answers": _share_right(rewards),
            "right_answers_first_quarter": _share_right(rewards[:, :quarter]),
            "right_answers_last_quarter": _share_right(rewards[:, steps - quarter :]),
        }

    def words(self) -> Words:
        """Return what the results are called."""
        return _WORDS

    def keys(self) -> dict[str, int]:
        """Return the actions by the names of their keys."""
        if isinstance(self.config, CueRewardConfig):
            return {"n": 0, "y": 1, "0": 0, "1": 1}
        return {str(action): action for action in range(min(10, self.config.actions))}

    def keys_help(self) -> str:
        """Return in words what the keys do."""
        if isinstance(self.config, CueRewardConfig):
            return "Y: the target was shown, N: it was not"
        return f"0 to {min(10, self.config.actions) - 1} answer"

    def _snapshot(self, index: int) -> CueState:
        dynamics, lives = self.dynamics, self.dynamics.lives
        step, answers = int(dynamics.steps[index]), int(dynamics.answers[index])
        go, given = lives.go[index], dynamics.given[index, :answers]
        right = given == lives.right[index][go][:answers]
        question, actions = self._words()
        hidden, cue = lives.hidden[index].tolist(), lives.cue[index]
        if isinstance(self.config, CueRewardConfig):
            labels = tuple("target" if [number] == hidden else "" for number in range(self.config.cues))
        else:
            labels = tuple(f"action {action}" for action in hidden)
        return CueState(
            question=question,
            actions=actions,
            codes=lives.codes[index, :-1].copy(),
            labels=labels,
            cue=int(cue[step]),
            go=bool(go[step]),
            met=frozenset(cue[: step + 1].tolist()) - {-1},
            trial=int(lives.trial[index, step]) + 1,
            right=tuple(right.tolist()),
            answer=actions[given[-1]] if answers else "",
            told=step > 0 and bool(go[step - 1]),
            step=step,
            lifetime=self.config.lifetime,
            total_reward=float(dynamics.returns[index]),
        )

    def _words(self) -> tuple[str, tuple[str, ...]]:
        """Return the question, and what each action answers."""
        if isinstance(self.config, CueRewardConfig):
            return "Was the target shown?", ("no", "yes")
        return "Which action?", tuple(map(str, range(self.config.actions)))


def _share_right(rewards: Floats) -> float | None:
    answers = np.count_nonzero(rewards)
    return np.count_nonzero(rewards > 0) / answers if answers else None


class CueEnv(Cues, SingleEnv):
    """What the single cue tasks share."""

    metadata: dict[str, Any] = {**SingleEnv.metadata, "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it


class CueVectorEnv(Cues, BatchEnv):
    """What the vector cue tasks share."""

    metadata: dict[str, Any] = {**BatchEnv.metadata, "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it

"""The settings of the cue tasks: each with its default, its meaning and its check, here and nowhere else.

This module loads neither numpy nor Gymnasium, so that a command line can read it at once.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from plastic_rl.checks import check_choice, check_within, whole_number

Code = Literal["random", "one-hot"]

MOST_CUES = 32
MOST_BITS = 32  # a cue is drawn as one whole number
LONGEST = 100_000  # steps in a lifetime, which is drawn as a whole when it begins
MOST_BLANKS = 100


@dataclass(frozen=True)
class CueConfig:
    """Settings that all cue tasks have.

    Raises:
        ValueError: a setting is out of its range.
    """

    cues: int = 4
    """Different cues in a lifetime."""
    bits: int = 20
    """Length of a cue, 1 to 32."""
    code: Code = "random"
    """What cues are made of: random bits of +-1, drawn in each lifetime, or fixed one-hot codes."""

    def __post_init__(self) -> None:
        """Check every setting and turn whole floats and NumPy's numbers into Python's."""
        self._check_whole("cues", 2, MOST_CUES)
        self._check_whole("bits", 1, MOST_BITS)
        check_choice("code", self.code, get_args(Code))
        room = self.bits if self.code == "one-hot" else 2**self.bits
        if room < self.cues:
            raise ValueError(f"cues is {self.cues}: expected at most {room}, since bits is {self.bits}")

    def _check_whole(self, name: str, least: int, most: int) -> None:
        number = whole_number(name, getattr(self, name), least)
        check_within(name, number, least, most)
        object.__setattr__(self, name, number)


@dataclass(frozen=True)
class CueRewardConfig(CueConfig):
    """Settings of :class:`~plastic_rl.envs.CueReward`.

    Raises:
        ValueError: a setting is out of its range.
    """

    lifetime: int = 120
    """Steps in a lifetime, from 1 to 100,000."""
    shown: int = 2
    """Cues that are shown in a trial; fewer than there are."""
    blanks: int = 3
    """Most blank steps among the cues of a trial, 0 to 100; their number is drawn in each trial."""

    def __post_init__(self) -> None:
        """Check every setting."""
        super().__post_init__()
        self._check_whole("lifetime", 1, LONGEST)
        self._check_whole("shown", 1, self.cues - 1)
        self._check_whole("blanks", 0, MOST_BLANKS)

    @classmethod
    def easy(cls, **settings: Any) -> "CueRewardConfig":
        """Return a small version for tests: two cues of two bits, one of them shown in a trial, 75 steps."""
        return cls(**{"cues": 2, "bits": 2, "shown": 1, "lifetime": 75, **settings})

    @property
    def actions(self) -> int:
        """Number of actions."""
        return 2

    @property
    def observation_size(self) -> int:
        """Length of an observation."""
        return self.bits + 4 + self.actions

    @property
    def shortest_trial(self) -> int:
        """Steps in a trial without blanks among its cues: a blank step, the cues, the go step, and a blank step."""
        return self.shown + 3

    @property
    def most_trials(self) -> int:
        """Trials that begin in a lifetime, at most."""
        return -(-self.lifetime // self.shortest_trial)


@dataclass(frozen=True)
class CueActionConfig(CueConfig):
    """Settings of :class:`~plastic_rl.envs.CueAction`.

    Raises:
        ValueError: a setting is out of its range.
    """

    cues: int = 8
    """Different cues in a lifetime, each with an action to find and to remember: the load on memory, 2 to 32."""
    actions: int = 4
    """Possible actions, from 2 to 1,000."""
    meetings: int = 6
    """How often each cue is met in a lifetime, from 1 to 1,000."""
    delay: int = 1
    """Steps for which a cue is seen before the go signal. With 0, a cue is answered at the first sight, before its
    activity has passed through recurrent connections: too early for a network that remembers in them."""

    def __post_init__(self) -> None:
        """Check every setting."""
        super().__post_init__()
        self._check_whole("actions", 2, 1000)
        self._check_whole("meetings", 1, 1000)
        self._check_whole("delay", 0, LONGEST)
        check_within("lifetime, cues x meetings x (delay + 2),", self.lifetime, 1, LONGEST)

    @classmethod
    def easy(cls, **settings: Any) -> "CueActionConfig":
        """Return a small version for tests: two cues of two bits, two actions, 36 steps."""
        return cls(**{"cues": 2, "bits": 2, "actions": 2, **settings})

    @property
    def trial_length(self) -> int:
        """Steps in a trial: the cue up to the go signal, and the step in which the reward is seen."""
        return self.delay + 2

    @property
    def lifetime(self) -> int:
        """Steps in a lifetime."""
        return self.most_trials * self.trial_length

    @property
    def observation_size(self) -> int:
        """Length of an observation."""
        return self.bits + 4 + self.actions

    @property
    def most_trials(self) -> int:
        """Trials in a lifetime."""
        return self.cues * self.meetings


AnyCueConfig = CueRewardConfig | CueActionConfig

"""Pictures of a cue task: pure functions from a state to an array or to text."""

from dataclasses import dataclass

import numpy as np

from plastic_rl.envs.base import Observations
from plastic_rl.envs.drawing import INK, PAPER, TARGET_WIDTH, Frame, as_frame, draw_text, load_pygame
from plastic_rl.envs.protocols import Shown
from plastic_rl.text import tenths

__all__ = ["CueState", "cue_text", "draw_cues"]


@dataclass(frozen=True, eq=False)
class CueState:
    """Everything that a picture of a cue task shows.

    Attributes:
        codes: the cues of this lifetime, ``(cues, bits)``.
        labels: what is hidden about each cue: "target", the name of its action, or nothing.
        cue: number of the cue that is shown now, -1 for none.
        go: whether the next action counts.
        met: the cues that were shown so far.
        right: for each trial with an answer, whether it was right.
        trial: number of the present trial, from 1.
        trials: the most trials in a lifetime.
        last_answer: the action that was answered last, or None.
        fresh: whether its result is seen now.
        step: steps taken in this lifetime.
        lifetime: steps in a lifetime.
        total_reward: sum of this lifetime's rewards.
        actions: what each action means.
    """

    codes: Observations
    labels: tuple[str, ...]
    cue: int
    go: bool
    met: tuple[int, ...]
    right: tuple[bool, ...]
    trial: int
    trials: int
    last_answer: int | None
    fresh: bool
    step: int
    lifetime: int
    total_reward: float
    actions: tuple[str, ...]

    @property
    def hits(self) -> int:
        """Right answers."""
        return sum(self.right)

    @property
    def awaits_action(self) -> bool:
        """Whether the next action counts."""
        return self.go

    @property
    def prompt(self) -> str:
        """What to tell a person who plays."""
        if self.go:
            return "go: answer now"
        return f"{'right' if self.right[-1] else 'wrong'}" if self.fresh else "watch"

    def picture(self, shown: Shown = "everything") -> Frame:
        """Draw what is observed alone, also the cues that were shown so far, or everything."""
        return draw_cues(self, shown)

    def text(self) -> str:
        """Return the state as text."""
        return cue_text(self)


def cue_text(state: CueState) -> str:
    """Return the state as text: a line for each cue, what is shown now, and the results so far."""
    lines = [
        f"{'>' if number == state.cue else ' '} {_bits(code)}  {label}".rstrip()
        for number, (code, label) in enumerate(zip(state.codes, state.labels, strict=True))
    ]
    lines.append("now: " + ("blank" if state.cue < 0 else _bits(state.codes[state.cue])) + (" GO" if state.go else ""))
    if state.fresh and state.last_answer is not None:
        lines[-1] += f"  answered {state.actions[state.last_answer]}: {'right' if state.right[-1] else 'wrong'}"
    lines.append("trials: " + "".join("+" if right else "-" for right in state.right))
    lines.append(f"step {state.step}/{state.lifetime}   return {tenths(state.total_reward)}   right {state.hits}")
    return "\n".join(lines) + "\n"


def _bits(code: Observations) -> str:
    return "".join("#" if bit > 0 else "." for bit in code)


def draw_cues(state: CueState, shown: Shown = "everything") -> Frame:
    """Draw the state."""
    pygame = load_pygame()
    canvas = pygame.Surface((528, 636))
    canvas.fill(PAPER)
    for row, line in enumerate(cue_text(state).splitlines()):
        canvas.blit(draw_text(pygame, line, 16 * TARGET_WIDTH / 484, INK), (20, 20 + 24 * row))
    return np.asarray(as_frame(canvas))

"""Pictures of a cue task: pure functions from a state to an array or to text."""

from dataclasses import dataclass
from math import isqrt
from typing import Any

from plastic_rl.envs.base import Observations
from plastic_rl.envs.drawing import (
    AMBER,
    FAINT,
    FLOOR,
    GREEN,
    GRID,
    INK,
    OVERSAMPLING,
    PALE_AMBER,
    PALE_GREEN,
    PALE_RED,
    PAPER,
    RED,
    TARGET_WIDTH,
    Color,
    Frame,
    as_frame,
    draw_figures,
    draw_text,
    load_pygame,
    margins,
)
from plastic_rl.envs.protocols import Shown
from plastic_rl.text import tenths

__all__ = ["CueState", "cue_text", "draw_cues"]

_DARK, _LIGHT = INK, (219, 225, 234)  # bits that are 1, and all others
_LINE = (203, 211, 222)

# Places and sizes in a picture of the usual width.
_CARD = 222  # side of what is shown now
_CUES_TOP, _CUES_HEIGHT = 260, 156
_ANSWERS_TOP, _ANSWERS_HEIGHT = 426, 58


@dataclass(frozen=True, eq=False)
class CueState:
    """Everything that a picture of a cue task shows.

    Attributes:
        question: what the agent has to answer.
        actions: what each action means.
        codes: the cues of this lifetime, ``(cues, bits)``.
        labels: what is hidden about each cue: "target", its action, or nothing.
        cue: number of the cue that is shown now, -1 for none.
        go: whether the next action counts.
        met: the cues that were shown so far.
        trial: number of the present trial, from 1.
        right: for each answer of this lifetime, whether it was right.
        answer: the last answer in words; "" if there is none yet.
        told: whether the result of that answer is seen now.
        step: steps taken in this lifetime.
        lifetime: steps in a lifetime.
        total_reward: sum of this lifetime's rewards.
    """

    question: str
    actions: tuple[str, ...]
    codes: Observations
    labels: tuple[str, ...]
    cue: int
    go: bool
    met: frozenset[int]
    trial: int
    right: tuple[bool, ...]
    answer: str
    told: bool
    step: int
    lifetime: int
    total_reward: float

    @property
    def hits(self) -> int:
        """Right answers."""
        return sum(self.right)

    @property
    def score(self) -> str:
        """How many answers were right, in words."""
        return f"right answers {self.hits} of {len(self.right)}"

    @property
    def misses(self) -> int:
        """Wrong answers."""
        return len(self.right) - sum(self.right)

    @property
    def outcomes(self) -> tuple[str, str]:
        """What hits and misses are called."""
        return "right answer", "wrong answer"

    @property
    def awaits_action(self) -> bool:
        """Whether the next action counts."""
        return self.go

    @property
    def prompt(self) -> str:
        """What to tell a person who plays."""
        if self.go:
            return f"GO: {self.question[0].lower()}{self.question[1:]}"
        return self.result if self.told else "remember what you see"

    @property
    def result(self) -> str:
        """The result of the last answer; "" if there is none yet."""
        return ("right" if self.right[-1] else "wrong") if self.right else ""

    def picture(self, shown: Shown = "everything", width: int = TARGET_WIDTH) -> Frame:
        """Draw what is observed now, also the cues that were shown so far, or everything."""
        return draw_cues(self, shown, width)

    def text(self) -> str:
        """Return the state as text."""
        return cue_text(self)


def cue_text(state: CueState) -> str:
    """Return the state as text: the cues and what is hidden about them, what is shown now, and the results so far."""
    lines = [
        f"{'>' if number == state.cue else ' '} {_characters(code)}  {label}".rstrip()
        for number, (code, label) in enumerate(zip(state.codes, state.labels, strict=True))
    ]
    now = "blank" if state.cue < 0 else _characters(state.codes[state.cue])
    if state.go:
        now = "GO" if state.cue < 0 else f"{now} GO"
    if state.told:
        now += f"   answered {state.answer}: {state.result}"
    marks = "".join("+" if right else "-" for right in state.right)
    lines.append(f"now: {now}")
    lines.append(f"trial {state.trial}   answers {marks or 'none yet'}")
    lines.append(
        f"step {state.step}/{state.lifetime}   return {tenths(state.total_reward)}   {state.score}"
        "   (the agent sees only the line that begins with now)"
    )
    return "\n".join(lines) + "\n"


def _characters(code: Observations) -> str:
    return "".join("█" if bit > 0 else "·" for bit in code)


def draw_cues(state: CueState, shown: Shown = "everything", width: int = TARGET_WIDTH) -> Frame:
    """Draw what is shown now, the cues of the lifetime, and the results so far.

    Args:
        state: what to show.
        shown: "observed" leaves out the cues of the lifetime, "scene" shows those that have been met.
        width: of the picture, without margins, in pixels.

    Returns:
        RGB picture, uint8 of shape (height, width, 3).

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is missing.
    """
    margin, strip = margins(width)
    page = _Page(width, margin, strip)
    _draw_now(page, state)
    _draw_trial(page, state)
    _draw_lifetime(page, state, shown)
    _draw_results(page, state)
    canvas = page.finish()
    share = state.step / state.lifetime
    figures = (
        (0.0, "STEP", f"{state.step} / {state.lifetime}"),
        (0.35, "RETURN", tenths(state.total_reward)),
        (0.65, "RIGHT ANSWERS", f"{state.hits} of {len(state.right)}"),
    )
    area = page.pygame.Rect(margin, width + 2 * margin, width, strip)
    draw_figures(page.pygame, canvas, area, share, figures)
    return as_frame(canvas)


class _Page:
    """A picture in the making: shapes, drawn too large and then scaled down, and words on top of them.

    All lengths are those of a picture of the usual width.
    """

    def __init__(self, width: int, margin: int, strip: int) -> None:
        self.pygame = load_pygame()
        self._unit, self._margin = width / TARGET_WIDTH, margin
        extent = (width + 2 * margin, width + 3 * margin + strip)
        # Video encoders want even sizes.
        self._extent = tuple(length + length % 2 for length in extent)
        self._shapes = self.pygame.Surface([OVERSAMPLING * length for length in self._extent])
        self._shapes.fill(PAPER)
        self._words: list[tuple[Any, Any]] = []

    def box(
        self, x: float, y: float, width: float, height: float, fill: Color, line: Color | None = None, thick: float = 2
    ) -> None:
        """Draw a rectangle with round corners, and a line around it if it has a colour."""
        corner = round(min(6, width / 6, height / 6) * self._unit * OVERSAMPLING)
        rect = self.pygame.Rect(self._big(x), self._big(y), self._length(width), self._length(height))
        self.pygame.draw.rect(self._shapes, fill, rect, border_radius=corner)
        if line is not None:
            self.pygame.draw.rect(self._shapes, line, rect, max(1, self._length(thick)), border_radius=corner)

    def stroke(self, points: list[tuple[float, float]], color: Color, thick: float) -> None:
        """Draw a line through points, with round ends."""
        places = [(self._big(x), self._big(y)) for x, y in points]
        self.pygame.draw.lines(self._shapes, color, False, places, max(1, self._length(thick)))
        for place in places:
            self.pygame.draw.circle(self._shapes, color, place, self._length(thick) / 2)

    def say(
        self, words: str, x: float, y: float, size: float, color: Color, ground: Color = PAPER, where: str = "topleft"
    ) -> None:
        """Write words, so that their point ``where`` is at a place."""
        text = draw_text(self.pygame, words, size * self._unit, color, ground)
        place = tuple(round(self._margin + length * self._unit) for length in (x, y))
        self._words.append((text, text.get_rect(**{where: place})))

    def finish(self) -> Any:
        """Return the surface."""
        canvas = self.pygame.Surface(self._extent)
        canvas.fill(PAPER)
        shapes = self.pygame.transform.smoothscale(self._shapes, self._extent)
        shapes.set_colorkey(shapes.get_at((0, 0)))  # scaling makes paper a shade darker
        canvas.blit(shapes, (0, 0))
        for text, place in self._words:
            canvas.blit(text, place)
        return canvas

    def _length(self, length: float) -> int:
        return round(length * self._unit * OVERSAMPLING)

    def _big(self, length: float) -> int:
        return round((self._margin + length * self._unit) * OVERSAMPLING)


def _draw_now(page: _Page, state: CueState) -> None:
    """Draw what the agent sees now."""
    page.say("SHOWN NOW", 0, 0, 17, FAINT)
    fill, line = FLOOR, _LINE
    if state.go:
        fill, line = PALE_AMBER, AMBER
    elif state.told:
        fill, line = (PALE_GREEN, GREEN) if state.right[-1] else (PALE_RED, RED)
    page.box(0, 18, _CARD, _CARD, fill, line, 3)
    middle = _CARD / 2
    if state.cue >= 0:
        _draw_code(page, state.codes[state.cue], 18, 36 + 10 * state.go, _CARD - 36, _CARD - 36 - 10 * state.go)
        if state.go:
            page.say("GO", middle, 34, 26, INK, fill, "center")
    elif state.go:
        page.say("GO", middle, 18 + middle, 100, INK, fill, "center")
    elif state.told:
        page.say("reward", middle, middle - 38, 22, line, fill, "center")
        page.say("+1" if state.right[-1] else "-1", middle, 22 + middle, 100, line, fill, "center")
    else:
        page.say("blank", middle, 18 + middle, 26, FAINT, fill, "center")


def _draw_trial(page: _Page, state: CueState) -> None:
    """Write which trial it is, and what was answered last."""
    left = _CARD + 24
    page.say(f"TRIAL {state.trial}", left, 0, 17, FAINT)
    page.say(state.question, left, 26, 24, INK)
    if not state.right:
        return
    page.say("LAST ANSWER", left, 84, 17, FAINT)
    page.say("RESULT", left, 160, 17, FAINT)
    color = GREEN if state.right[-1] else RED
    page.say(state.answer, left, 104, 38, INK if state.told else FAINT)
    page.say(state.result, left, 180, 38, color if state.told else FAINT)


def _draw_lifetime(page: _Page, state: CueState, shown: Shown) -> None:
    """Draw the cues of the lifetime, as many of them as may be seen."""
    everything = shown == "everything"
    title = "CUES OF THIS LIFETIME"
    if everything:
        title += ", AND WHAT IS HIDDEN FROM THE AGENT"
    elif shown == "scene":
        title += ", AS FAR AS THEY WERE SHOWN"
    else:
        title += " (REMEMBER THEM)"
    page.say(title, 0, _CUES_TOP, 17, FAINT)
    count, top, height = len(state.codes), _CUES_TOP + 20, _CUES_HEIGHT - 20
    labelled = any(state.labels)
    # As many rows as make the cues largest.
    columns = max(range(1, count + 1), key=lambda columns: _tile(count, columns, height, labelled))
    tile = _tile(count, columns, height, labelled)
    tall = height / -(-count // columns)
    for number, (code, label) in enumerate(zip(state.codes, state.labels, strict=True)):
        row, column = divmod(number, columns)
        x, y = column * (tile + 8), top + row * tall
        now = number == state.cue and shown != "observed"
        target = everything and label == "target"
        line = RED if target else AMBER if now else _LINE
        page.box(x, y, tile, tile, PALE_AMBER if now else FLOOR, line, 3 if target or now else 1.5)
        if everything or (shown == "scene" and number in state.met):
            pad = max(3, 0.1 * tile)
            _draw_code(page, code, x + pad, y + pad, tile - 2 * pad, tile - 2 * pad)
        else:
            page.say("?", x + tile / 2, y + tile / 2, 0.5 * tile, _LINE, FLOOR, "center")
        if everything and label:
            words = label if tile > 50 else label.split()[-1]
            page.say(words, x + tile / 2, y + tile + 3, 18 if tile > 60 else 16, RED if target else INK, where="midtop")


def _tile(count: int, columns: int, height: float, labelled: bool) -> float:
    """Return the side of each cue if that many stand beside each other."""
    return min((TARGET_WIDTH + 8) / columns - 8, height / -(-count // columns) - (20 if labelled else 6))


def _draw_code(page: _Page, code: Observations, x: float, y: float, width: float, height: float) -> None:
    """Draw the bits of a cue as dark and light squares, in the middle of a rectangle."""
    rows = isqrt(len(code))
    if len(code) % rows and rows > 2 and len(code) % (rows - 1) == 0:
        rows -= 1  # without a rest
    columns = -(-len(code) // rows)
    cell = min(width / columns, height / rows)
    left, top, gap = x + (width - columns * cell) / 2, y + (height - rows * cell) / 2, 0.06 * cell
    for number, bit in enumerate(code):
        row, column = divmod(number, columns)
        place = (left + column * cell + gap, top + row * cell + gap)
        page.box(*place, cell - 2 * gap, cell - 2 * gap, _DARK if bit > 0 else _LIGHT)


def _draw_results(page: _Page, state: CueState) -> None:
    """Draw a mark for each answer: a tick on green or a cross on red; and a frame for the present trial."""
    page.say("ANSWERS SO FAR", 0, _ANSWERS_TOP, 17, FAINT)
    pending = len(state.right) < state.trial
    count, height = max(1, len(state.right) + pending), _ANSWERS_HEIGHT - 18
    side = 24.0
    while -(-count // int(TARGET_WIDTH / side)) * side > height:
        side -= 0.5
    columns = int(TARGET_WIDTH / side)
    for number in range(len(state.right) + pending):
        row, column = divmod(number, columns)
        x, y, size = column * side, _ANSWERS_TOP + 18 + row * side, 0.86 * side
        if number == len(state.right):
            page.box(x, y, size, size, GRID, _LINE, 1.5)
            continue
        right = state.right[number]
        page.box(x, y, size, size, GREEN if right else RED)
        crossed = [[(0.28, 0.28), (0.72, 0.72)], [(0.28, 0.72), (0.72, 0.28)]]
        for line in [[(0.24, 0.52), (0.43, 0.72), (0.76, 0.3)]] if right else crossed:
            page.stroke([(x + a * size, y + b * size) for a, b in line], FLOOR, 0.12 * size)

"""A picture of an agent's network at work, which stands beside a picture of the environment.

It shows the plastic part of every connection as a heat map, the activity of the neurons, the probabilities of the next
action, and how the value estimate and the plasticity have changed over the lifetime.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from plastic_rl.envs.drawing import (
    AMBER,
    BLUE,
    FAINT,
    FLOOR,
    GRID,
    INK,
    PAPER,
    RED,
    TARGET_WIDTH,
    Color,
    Frame,
    as_frame,
    draw_text,
    load_pygame,
    margins,
)
from plastic_rl.text import tenths

Kind = Literal["moves", "choices", "continuous"]
Floats = npt.NDArray[np.floating[Any]]

# Shades on either side of zero. More could not be told apart and would make a GIF larger.
SHADES = 5
LEAST, MOST = BLUE, RED
# A connection keeps its shade until its value is this many shades away. With 0.5 it would flicker.
_STAY = 0.8
_LIGHT_BLUE: Color = (168, 193, 247)
_HIT: Color = (241, 180, 165)
# Directions of the maze's actions (up, right, down, left) on the screen: x and y.
_ARROWS = ((0, -1), (1, 0), (0, 1), (-1, 0))
# Lines are drawn this many times too large. It is a power of two: then scaling down keeps the background colour.
_FINER = 4
MOST_ACTIONS = 8  # with more actions, none is shown


@dataclass(frozen=True, eq=False)
class Mind:
    """Everything that a picture of a network shows. T actions have been chosen; the last one has not been taken yet.

    Attributes:
        activity: activity of the neurons at each step, shape (T, N).
        plastic: the present alpha * trace, (N, N) by [from, to], or None for a network without plasticity.
        strengths: mean of abs(alpha * trace) at each step, (T,); empty without plasticity.
        values: value estimate at each step, (T,).
        actions: probability of each action, from 0 to 1, or means of continuous actions, from -1 to 1; shape (A,). The
            picture leaves them out if there are none or too many.
        chosen: the next action, or None if the lifetime is over or actions are continuous.
        kind: kind of the actions: the four moves of a maze, other choices, or continuous numbers.
        hits: steps at which the goal of a maze was reached.
        frozen: whether the trace is frozen.
    """

    activity: Floats
    plastic: Floats | None
    strengths: Sequence[float]
    values: Sequence[float]
    actions: Floats
    chosen: int | None
    kind: Kind
    hits: Sequence[int]
    frozen: bool = False


@dataclass(frozen=True, eq=False)
class Scales:
    """What all pictures of a lifetime have in common, found in a lifetime that is not shown.

    Attributes:
        order: order of the neurons, (N,); neurons that are active together stand together.
        plastic: absolute value of the plastic part that has the full colour.
        values: lowest and highest value estimate; the range includes zero.
        strength: highest strength.
        steps: number of the last step of a lifetime, counted from 0.
    """

    order: npt.NDArray[np.int64]
    plastic: float
    values: tuple[float, float]
    strength: float
    steps: int

    @classmethod
    def of(cls, mind: Mind) -> "Scales":
        """Return the scales that suit a whole lifetime."""
        activity = mind.activity.astype(np.float64)
        # First principal direction of the activity: the trace, a running mean of its products, grows along it.
        _, directions = np.linalg.eigh(activity.T @ activity)
        return cls(
            order=np.argsort(directions[:, -1], kind="stable"),
            plastic=1.0 if mind.plastic is None else _round(float(np.percentile(np.abs(mind.plastic), 98))),
            values=(min(0.0, *mind.values), max(0.0, *mind.values)),
            strength=max(mind.strengths, default=0.0),
            steps=max(1, len(mind.values) - 1),
        )


def _round(number: float) -> float:
    """Round up to a number with a single digit: 0.1, 0.2, ..., 1, 2, ..."""
    if not 1e-30 < number < 1e30:
        return 1.0
    power = 10.0 ** np.floor(np.log10(number))
    return float(f"{np.ceil(number / power - 1e-9) * power:.1g}")


def colored(shades: npt.NDArray[np.integer[Any]]) -> Frame:
    """Return the colours of shades from -SHADES to SHADES; zero is white.

    Returns:
        uint8 of shape ``(*shades.shape, 3)``.
    """
    share = np.arange(-SHADES, SHADES + 1)[:, None] / SHADES
    tint = np.where(share > 0, MOST, LEAST) - np.array(255)
    return np.round(255 + np.abs(share) * tint).astype(np.uint8)[shades + SHADES]


SCALE = colored(np.arange(-SHADES, SHADES + 1))


def shrunk(numbers: Floats, height: int, width: int) -> Floats:
    """Scale a matrix down to at most this size; each new cell is the mean of the area that it covers."""
    rows, columns = numbers.shape
    if rows > height:
        numbers = _areas(rows, height) @ numbers
    if columns > width:
        numbers = numbers @ _areas(columns, width).T
    return numbers


def enlarged(picture: Frame, height: int, width: int) -> Frame:
    """Scale a picture up to this size with sharp edges."""
    down, across = (np.arange(new) * old // new for old, new in zip(picture.shape, (height, width), strict=False))
    return picture[down][:, across]


def _areas(old: int, new: int) -> Floats:
    """Return the share of each of ``old`` cells in each of ``new`` cells of the same total length, (new, old)."""
    edges = np.arange(new + 1, dtype=np.float32) * (old / new)
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(old)
    overlap = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


def fitted(picture: Frame, height: int, most: int) -> Frame:
    """Scale a picture of any environment so that it fits beside a panel.

    Returns:
        RGB picture, uint8 of shape (height, width, 3), with a width of at most ``most``.
    """
    pygame = load_pygame()
    margin = round(0.035 * height)
    tall, wide, _ = picture.shape
    scale = min((height - 2 * margin) / tall, (most - 2 * margin) / wide)
    size = max(1, round(wide * scale)), max(1, round(tall * scale))
    canvas = pygame.Surface((size[0] + 2 * margin, height))
    canvas.fill(PAPER)
    shown = pygame.image.frombuffer(picture.tobytes(), (wide, tall), "RGB")
    canvas.blit(pygame.transform.smoothscale(shown, size), (margin, (height - size[1]) // 2))
    return as_frame(canvas)


class Panel:
    """Draws the pictures of a network, one after the other.

    Args:
        scales: what the pictures have in common.
        side: side in pixels of the maze that they stand beside.
    """

    def __init__(self, scales: Scales, side: int = TARGET_WIDTH) -> None:
        self.scales, self.side = scales, side
        self.unit = side / TARGET_WIDTH
        self.margin, strip = margins(side)
        room, count = round(0.86 * side), len(scales.order)
        # Whole pixels per neuron, unless that would waste much of the room.
        self.map = room - room % count if room % count < 0.15 * room else room
        self.column = round(0.43 * side)
        self.left = self.margin // 2
        self.right = self.left + self.map + round(1.6 * self.margin)
        width, height = self.right + self.column + self.margin, side + 3 * self.margin + strip
        self.size = (width + width % 2, height + height % 2)
        self._shades: npt.NDArray[np.int64] | None = None

    def draw(self, mind: Mind) -> Frame:
        """Draw a picture.

        Returns:
            RGB picture, uint8 of shape (height, width, 3), as high as the picture of that maze.

        Raises:
            gymnasium.error.DependencyNotInstalled: pygame is missing.
        """
        self.pygame: ModuleType = load_pygame()
        self.mind = mind
        self.canvas = self.pygame.Surface(self.size)
        self.canvas.fill(PAPER)
        bottom = self.margin + self.side
        top = bottom - self.map
        self._activity(top - self._u(28))
        if self.mind.plastic is None:
            self._history(top)
        else:
            self._plastic(top)
        y = self.margin
        if 0 < len(self.mind.actions) <= MOST_ACTIONS:
            y = self._actions(y) + self._u(22)
        charts = [self._values, *([self._strengths] if self.mind.strengths else [])]
        end = self.canvas.get_height() - self.margin
        height = (end - y - self._u(18) * (len(charts) - 1)) // len(charts)
        for chart in charts:
            chart(self.pygame.Rect(self.right, y, self.column, height))
            y += height + self._u(18)
        return as_frame(self.canvas)

    def _u(self, length: float) -> int:
        """Return the pixels of a length that is given for a maze of the usual size."""
        return round(length * self.unit)

    def _say(self, words: str, x: int, y: int, size: float = 13, color: Color = FAINT) -> None:
        self.canvas.blit(draw_text(self.pygame, words, size * self.unit, color), (x, y))

    def _show(self, picture: Frame, x: int, y: int) -> None:
        """Put a picture in its place, with a thin line around it."""
        height, width, _ = picture.shape
        line = self.pygame.Rect(x - 1, y - 1, width + 2, height + 2)
        self.pygame.draw.rect(self.canvas, GRID, line, 1)
        self.canvas.blit(self.pygame.image.frombuffer(picture.tobytes(), (width, height), "RGB"), (x, y))

    def _activity(self, y: int) -> None:
        """Draw the present activity of the neurons above the columns of the heat map."""
        now = self.mind.activity[-1:, self.scales.order]
        self._say(f"ACTIVITY OF {now.shape[1]} NEURONS", self.left, self.margin)
        top = self.margin + self._u(16)
        shades = np.rint(SHADES * np.clip(shrunk(now, 1, self.map), -1, 1)).astype(int)
        self._show(enlarged(colored(shades), y - top, self.map), self.left, top)

    def _plastic(self, y: int) -> None:
        assert self.mind.plastic is not None
        order, full = self.scales.order, self.scales.plastic
        self._say("PLASTIC PART OF THE CONNECTIONS", self.left, y - self._u(16))
        exact = SHADES * np.clip(shrunk(self.mind.plastic[np.ix_(order, order)], self.map, self.map) / full, -1, 1)
        if self._shades is None:
            self._shades = np.zeros(exact.shape, int)
        self._shades = np.where(np.abs(exact - self._shades) > _STAY, np.rint(exact), self._shades).astype(int)
        self._show(enlarged(colored(self._shades), self.map, self.map), self.left, y)
        if self.mind.frozen:
            self._frozen(y)
        self._legend(y + self.map + self.margin, f"{full:g}", "alpha x trace, from each neuron (row) to each (column)")

    def _history(self, y: int) -> None:
        """Draw the activity over the last steps in place of the heat map, for a network without plasticity."""
        shown = min(self.scales.steps + 1, self.map)
        self._say("ACTIVITY OVER THE LIFETIME", self.left, y - self._u(16))
        recent = self.mind.activity[-shown:, self.scales.order]
        numbers = np.zeros((shown, recent.shape[1]))
        numbers[: len(recent)] = recent
        shades = np.rint(SHADES * np.clip(shrunk(numbers.T, self.map, self.map), -1, 1)).astype(int)
        self._show(enlarged(colored(shades), self.map, self.map), self.left, y)
        self._legend(y + self.map + self.margin, "1", "activity of each neuron (row) at each step")

    def _legend(self, y: int, full: str, words: str) -> None:
        """Draw the scale of colours, and what they mean."""
        height, width = self._u(8), self._u(120)
        bar = np.repeat(SCALE[None], -(-width // len(SCALE)), axis=1).repeat(height, axis=0)
        low = draw_text(self.pygame, f"-{full}", 15 * self.unit, INK)
        x = self.left + low.get_width() + self._u(7)
        self.canvas.blit(low, (self.left, y - self._u(1)))
        self._show(bar, x, y)
        self._say(f"+{full}", x + bar.shape[1] + self._u(7), y - self._u(1), 15, INK)
        self._say(words, self.left, y + self._u(20), 13)

    def _frozen(self, y: int) -> None:
        """Draw a frame around the heat map, and the word FROZEN."""
        line = max(2, self._u(3))
        frame = self.pygame.Rect(self.left, y, self.map, self.map).inflate(2 * line, 2 * line)
        self.pygame.draw.rect(self.canvas, AMBER, frame, line, border_radius=line)
        word = draw_text(self.pygame, "FROZEN", 15 * self.unit, INK, AMBER)
        tag = word.get_rect().inflate(self._u(14), self._u(8))
        tag.bottomright = (frame.right, frame.top + line)
        self.pygame.draw.rect(self.canvas, AMBER, tag, border_radius=line)
        self.canvas.blit(word, word.get_rect(center=tag.center))

    def _actions(self, y: int) -> int:
        """Draw a bar for each action; return the y at which they end."""
        mind, height, step = self.mind, self._u(9), self._u(21)
        names = {"moves": "NEXT MOVE", "choices": "NEXT ACTION", "continuous": "MEAN OF THE NEXT ACTION"}
        signed = mind.kind == "continuous"
        self._say(names[mind.kind], self.right, y)
        y += self._u(20)
        for index, action in enumerate(mind.actions):
            if mind.kind == "moves":
                self._arrow(index, self.right + self._u(8), y + height // 2)
            else:
                self._say(str(index), self.right, y - self._u(1), 15, INK)
            track = self.pygame.Rect(self.right + self._u(26), y, self.column - self._u(26), height)
            self.pygame.draw.rect(self.canvas, GRID, track, border_radius=height)
            bar = track.copy()
            if signed:
                bar.width = round(track.width / 2 * min(1.0, abs(float(action))))
                bar.left = track.centerx - (bar.width if action < 0 else 0)
                self.pygame.draw.rect(self.canvas, FAINT, (track.centerx - 1, y - 2, 2, height + 4))
            else:
                bar.width = round(track.width * float(action))
            chosen = signed or index == mind.chosen
            if bar.width:
                self.pygame.draw.rect(self.canvas, BLUE if chosen else _LIGHT_BLUE, bar, border_radius=height)
            y += step
        return y - step + height

    def _arrow(self, index: int, x: int, y: int) -> None:
        """Draw the arrow of a move around a point."""
        size = self._u(16)
        big = size * _FINER
        tile = self.pygame.Surface((big, big))
        tile.fill(PAPER)
        along = np.array(_ARROWS[index])
        across = along[::-1]
        chosen = index == self.mind.chosen
        points = [(0.42, 0), (-0.02, 0.34), (-0.02, 0.11), (-0.4, 0.11), (-0.4, -0.11), (-0.02, -0.11), (-0.02, -0.34)]
        outline = [tuple(big / 2 + big * (a * along + b * across)) for a, b in points]
        self.pygame.draw.polygon(tile, BLUE if chosen else FAINT, outline)
        self.canvas.blit(self.pygame.transform.smoothscale(tile, (size, size)), (x - size // 2, y - size // 2))

    def _values(self, area: Any) -> None:
        low, high = self.scales.values
        values = self.mind.values
        self._chart(area, "VALUE ESTIMATE", tenths(values[-1]), values, min(low, *values), max(high, *values))
        if self.mind.kind == "moves":
            words = draw_text(self.pygame, "goal reached", 13 * self.unit, FAINT)
            place = words.get_rect(bottomright=(area.right, area.top + self._u(31)))
            self.canvas.blit(words, place)
            line = self.pygame.Rect(place.left - self._u(8), place.top, max(1, self._u(2)), place.height)
            self.pygame.draw.rect(self.canvas, _HIT, line)

    def _strengths(self, area: Any) -> None:
        strengths = self.mind.strengths
        most = max(self.scales.strength, *strengths)
        self._chart(area, "MEAN SIZE OF THE PLASTIC PART", f"{strengths[-1]:.2g}", strengths, 0.0, most)

    def _chart(self, area: Any, name: str, now: str, numbers: Sequence[float], low: float, high: float) -> None:
        """Draw a number over the lifetime, its present value, and the hits."""
        self._say(name, area.left, area.top)
        self._say(now, area.left, area.top + self._u(16), 23, INK)
        plot = self.pygame.Rect(area.left, area.top + self._u(40), area.width, area.height - self._u(40))
        tile = self.pygame.Surface((plot.width * _FINER, plot.height * _FINER))
        tile.fill(PAPER)
        line = max(2, round(2 * self.unit * _FINER))
        dot = 2 * line
        width, height = tile.get_width() - 2 * dot, tile.get_height() - 2 * dot
        steps, span = max(self.scales.steps, len(numbers) - 1), (high - low) or 1.0

        def place(step: float, number: float) -> tuple[float, float]:
            return dot + width * step / steps, dot + height * (1 - (number - low) / span)

        for hit in self.mind.hits:
            x, _ = place(hit, low)
            self.pygame.draw.line(tile, _HIT, (x, 0), (x, tile.get_height()), max(1, line // 2))
        self.pygame.draw.line(tile, GRID, place(0, 0.0), place(steps, 0.0), max(1, line // 2))
        curve = [place(step, number) for step, number in enumerate(numbers)]
        if len(curve) > 1:
            self.pygame.draw.lines(tile, BLUE, False, curve, line)
        self.pygame.draw.circle(tile, FLOOR, curve[-1], dot)
        self.pygame.draw.circle(tile, BLUE, curve[-1], dot - line / 2)
        self.canvas.blit(self.pygame.transform.smoothscale(tile, plot.size), plot)

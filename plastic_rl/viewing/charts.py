"""Numbers over a lifetime as curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plastic_rl.envs.drawing import BLUE, FAINT, FLOOR, GREEN, INK, RED, Color
from plastic_rl.viewing.canvas import FIGURE, FINER, TITLE, WORDS, Canvas
from plastic_rl.viewing.mind import rounded_up

Marks = Sequence[tuple[Sequence[int], Color]]
HIT, MISS = GREEN, RED
_AXIS: Color = (203, 211, 222)
_TINT: Color = (200, 216, 250)
HEADER, LABELS, FOOTER = 26, 44, 18  # height of the title, width of the numbers, height of the steps, in units
_LINE, _DOT, _MARK = 2, 4, 3.2  # width of the curve, radius of its end, and of a mark, in units


@dataclass(frozen=True)
class Curve:
    """A number at each step of a lifetime so far.

    Attributes:
        title: what it is.
        now: its present value in words.
        numbers: its values; at least one.
        low: lower end of the axis, at most 0.
        high: upper end of the axis, at least 0.
        marks: steps to mark on the curve, and the colour of their marks.
        filled: whether the area between the curve and zero has a colour.
    """

    title: str
    now: str
    numbers: Sequence[float]
    low: float
    high: float
    marks: Marks = ()
    filled: bool = False

    @classmethod
    def within(
        cls, title: str, now: str, numbers: Sequence[float], low: float, high: float, marks: Marks = ()
    ) -> "Curve":
        """Return a curve whose axis ends at round numbers, beyond these two and all of its values."""
        least, most = min(low, *numbers), max(high, *numbers)
        return cls(title, now, numbers, -rounded_up(-least) if least < 0 else 0.0, rounded_up(most), marks)


def draw_curve(canvas: Canvas, area: Any, curve: Curve, steps: int) -> None:
    """Draw a curve with its title, its present value, and the numbers of its axis.

    Args:
        canvas: what to draw on.
        area: the rectangle that it fills.
        curve: what to draw.
        steps: number of the last step of a lifetime.
    """
    canvas.say(curve.title, area.topleft, TITLE)
    canvas.say(curve.now, (area.right, area.top - canvas.u(4)), FIGURE, INK, "topright")
    left, top = area.left + canvas.u(LABELS), area.top + canvas.u(HEADER)
    plot = canvas.rect(left, top, area.right - left, area.bottom - top)
    canvas.surface.blit(_plotted(canvas, plot.size, curve, max(steps, len(curve.numbers) - 1)), plot)
    _label(canvas, plot, curve)


def write_steps(canvas: Canvas, area: Any, steps: int) -> None:
    """Write the steps below the area of a curve."""
    left, top = area.left + canvas.u(LABELS), area.bottom + canvas.u(FOOTER - WORDS)
    canvas.say("0", (left, top))
    canvas.say("step", ((left + area.right) // 2, top), where="midtop")
    canvas.say(f"{steps + 1}", (area.right, top), where="topright")


def _label(canvas: Canvas, plot: Any, curve: Curve) -> None:
    """Write the ends of the axis and zero, as far as there is room."""
    written: list[Any] = []
    half, inside = canvas.u(WORDS / 2) - 1, plot.inflate(0, -2 * canvas.u(_DOT))
    for number in (0.0, curve.high, curve.low):
        y = inside.bottom - (number - curve.low) / (curve.high - curve.low) * inside.height
        place = (plot.left - canvas.u(6), round(min(max(y, plot.top + half), plot.bottom - half)))
        if all(abs(place[1] - other.centery) > 1.6 * half for other in written):
            written.append(canvas.say(f"{number:g}", place, color=FAINT, where="midright"))


def _plotted(canvas: Canvas, size: tuple[int, int], curve: Curve, steps: int) -> Any:
    """Return a surface with the curve."""
    draw = canvas.pygame.draw
    tile = canvas.pygame.Surface([FINER * length for length in size])
    tile.fill(FLOOR)
    line, dot, mark = (max(2, round(length * canvas.unit * FINER)) for length in (_LINE, _DOT, _MARK))
    width, height = tile.get_width() - 2 * dot, tile.get_height() - 2 * dot

    def place(step: float, number: float) -> tuple[float, float]:
        return dot + width * step / steps, dot + height * (curve.high - number) / (curve.high - curve.low)

    points = [place(step, number) for step, number in enumerate(curve.numbers)]
    zero = place(0, 0.0)[1]
    if curve.filled and len(points) > 1:
        draw.polygon(tile, _TINT, [(points[0][0], zero), *points, (points[-1][0], zero)])
    draw.line(tile, _AXIS, (0, zero), (tile.get_width(), zero), max(1, line // 2))
    if len(points) > 1:
        draw.lines(tile, BLUE, False, points, line)
    seen = [(step, color) for steps_of, color in curve.marks for step in steps_of if step < len(points)]
    for step, color, radius in ((len(points) - 1, BLUE, dot), *((step, color, mark) for step, color in seen)):
        draw.circle(tile, FLOOR, points[step], radius)
        draw.circle(tile, color, points[step], radius - line / 3)
    draw.rect(tile, _AXIS, tile.get_rect(), FINER)
    return canvas.pygame.transform.smoothscale(tile, size)

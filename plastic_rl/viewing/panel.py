"""A picture of an agent's network at work, which stands beside a picture of the environment.

It shows the plastic part of every connection as a heat map, the activity of the neurons, the probabilities of the next
action, and how the value estimate and the plasticity have changed over the lifetime. If the network modulates its own
plasticity it also shows the modulatory signal, and with retroactive modulation the eligibility trace.
"""

from collections.abc import Callable

import numpy as np

from plastic_rl.envs.drawing import AMBER, BLUE, FAINT, GRID, INK, Color, Frame
from plastic_rl.viewing.canvas import TITLE, WORDS, Canvas
from plastic_rl.viewing.charts import FOOTER, HIT, MISS, Curve, draw_curve, write_steps
from plastic_rl.viewing.heat import HeatMap, heat, whole_side
from plastic_rl.viewing.mind import Floats, Mind, Scales

HEIGHT = 630  # of a panel in units: all lengths below are given for that height
MAP, SMALL_MAP = 416, 276  # side of one heat map, and of each of two
MARGIN, _LEFT, _BOTTOM = 22, 11, 506  # the bottom of the heat maps is that of the maze beside them
_BETWEEN_MAPS, _BETWEEN_COLUMNS, _COLUMN = 30, 36, 260
_LIGHT_BLUE: Color = (168, 193, 247)
# Directions on the screen, x and y, of actions with these names.
_ARROWS = {"up": (0, -1), "right": (1, 0), "down": (0, 1), "left": (-1, 0)}
MOST_ACTIONS = 8  # with more actions, none is shown
_LONGEST_NAME = 6  # of an action; longer ones are cut off


class Panel:
    """Draws the pictures of a network, one after the other.

    Args:
        scales: what the pictures have in common.
        height: in pixels.
    """

    def __init__(self, scales: Scales, height: int = HEIGHT) -> None:
        self.scales = scales
        self.unit = height / HEIGHT
        count, u = len(scales.order), self._u
        two = scales.eligibility is not None
        self.map = whole_side(u(SMALL_MAP if two else MAP), count)
        self.left, self.bottom = u(_LEFT), u(_BOTTOM)
        self.second = self.left + self.map + u(_BETWEEN_MAPS)  # left end of the second heat map
        self.end = (self.second if two else self.left) + self.map  # right end of the heat maps
        self.right = self.end + u(_BETWEEN_COLUMNS)
        width = self.right + u(_COLUMN) + u(MARGIN)
        self.size = (width + width % 2, height)
        self._plastic_map, self._eligibility_map = HeatMap(self.map), HeatMap(self.map)

    def draw(self, mind: Mind) -> Frame:
        """Draw a picture.

        Returns:
            RGB picture, uint8 of shape (height, width, 3).

        Raises:
            gymnasium.error.DependencyNotInstalled: pygame is missing.
        """
        self.mind = mind
        self.canvas = Canvas(*self.size, self.unit)
        top, title = self.bottom - self.map, self._u(21)
        activity_end = top - title - self._u(14)
        if mind.eligibility is not None and mind.plastic is not None:
            self._activity(activity_end, self._history)
            self._map(self._plastic_map, mind.plastic, self.scales.plastic, self.left, "PLASTIC PART", mind.frozen)
            self._explain(self.left, "alpha x trace, from each", "neuron (row) to each (column)")
            full = self.scales.eligibility or 1.0
            self._map(self._eligibility_map, mind.eligibility, full, self.second, "ELIGIBILITY")
            self._explain(self.second, "alpha x eligibility: M(t) stores", "it in the plastic part")
        elif mind.plastic is not None:
            self._activity(activity_end, self._now)
            name = "PLASTIC PART OF THE CONNECTIONS"
            self._map(self._plastic_map, mind.plastic, self.scales.plastic, self.left, name, mind.frozen)
            more = ["M(t) sets the rate at which it changes"] if mind.modulation else []
            self._explain(self.left, "alpha x trace, from each neuron (row) to each (column)", *more)
        else:
            self._activity(activity_end, self._now)
            self.canvas.say("ACTIVITY OVER THE LIFETIME", (self.left, top - title), TITLE)
            self.canvas.show(self._history(self.map), self.left, top)
            self._explain(self.left, "activity of each neuron (row) at each step", scale=1.0)
        self._column()
        return self.canvas.frame()

    def _u(self, length: float) -> int:
        """Return the whole pixels of a length in units."""
        return round(length * self.unit)

    def _activity(self, end: int, picture: Callable[[int], Frame]) -> None:
        """Draw the activity of the neurons above the heat maps, by a function that takes the height."""
        top, count = self._u(MARGIN), len(self.scales.order)
        self.canvas.say(f"ACTIVITY OF {count} NEURON{'S' * (count > 1)}", (self.left, top), TITLE)
        self.canvas.scale(1.0, self.end, top, 66, right=True)
        top += self._u(21)
        self.canvas.show(picture(end - top), self.left, top)

    def _now(self, height: int) -> Frame:
        """Return a picture of the present activity, neurons side by side as in the heat map below."""
        return heat(self.mind.activity[-1:, self.scales.order].repeat(height, 0), height, self.end - self.left)

    def _history(self, height: int) -> Frame:
        """Return a picture of the activity over the last steps, a row for each neuron; the future is grey."""
        width = self.end - self.left
        shown = min(self.scales.steps + 1, width)
        recent = self.mind.activity[-shown:, self.scales.order]
        numbers = np.zeros((shown, recent.shape[1]), np.float32)
        numbers[: len(recent)] = recent
        picture = heat(numbers.T, height, width)
        picture[:, -(-width * len(recent) // shown) :] = GRID
        return picture

    def _map(self, drawer: HeatMap, matrix: Floats, full: float, x: int, title: str, frozen: bool = False) -> None:
        """Draw a heat map with its title and its scale."""
        y, order = self.bottom - self.map, self.scales.order
        self.canvas.say(title, (x, y - self._u(21)), TITLE)
        self.canvas.show(drawer.draw(matrix[np.ix_(order, order)] / full), x, y)
        self.canvas.scale(full, x, self.bottom + self._u(16), 120)
        if frozen:
            self._frozen(x, y)

    def _explain(self, x: int, *lines: str, scale: float | None = None) -> None:
        """Write below a heat map what it shows; if that is not drawn yet, draw its scale."""
        y = self.bottom + self._u(16)
        if scale is not None:
            self.canvas.scale(scale, x, y, 120)
        for number, line in enumerate(lines):
            self.canvas.say(line, (x, y + self._u(24 + 19 * number)))

    def _frozen(self, x: int, y: int) -> None:
        """Draw a frame around a heat map, and the word FROZEN."""
        line = max(2, self._u(3))
        frame = self.canvas.rect(x, y, self.map, self.map).inflate(2 * line, 2 * line)
        self.canvas.pygame.draw.rect(self.canvas.surface, AMBER, frame, line, border_radius=line)
        self.canvas.badge("FROZEN", (frame.right, frame.top + line), "bottomright")

    def _column(self) -> None:
        """Draw the next action and the curves."""
        mind, y, gap = self.mind, self._u(MARGIN), self._u(14)
        if 0 < len(mind.actions) <= MOST_ACTIONS:
            y = self._actions(y) + self._u(20)
        if mind.outcomes[0]:
            y = self._legend(y) + gap
        low, high = self.scales.values
        now = f"{mind.values[-1]:.{1 if high - low > 5 else 2}f}"
        marks = ((mind.hits, HIT), (mind.misses, MISS))
        curves = [Curve.within("VALUE ESTIMATE", now, mind.values, low, high, marks=marks)]
        if mind.modulation:
            now = f"{mind.modulation[-1] + 0.0:+.2f}"
            curves.append(Curve("MODULATION M(t)", now, mind.modulation, *mind.modulation_range, marks, filled=True))
        if mind.strengths:
            now = f"{mind.strengths[-1]:.2g}"
            curves.append(Curve.within("MEAN |ALPHA x TRACE|", now, mind.strengths, 0.0, self.scales.strength))
        steps = self._u(FOOTER)  # are written below the last curve
        height = (self.size[1] - self._u(MARGIN) - y - steps - gap * (len(curves) - 1)) // len(curves)
        for curve in curves:
            area = self.canvas.rect(self.right, y, self._u(_COLUMN), height)
            draw_curve(self.canvas, area, curve, self.scales.steps)
            y += height + gap
        write_steps(self.canvas, area, self.scales.steps)

    def _legend(self, y: int) -> int:
        """Draw what the marks on the curves mean; return the y at which that ends."""
        x, radius = self.right, self._u(5)
        for name, color in zip(self.mind.outcomes, (HIT, MISS), strict=True):
            if name:
                words = self.canvas.say(name, (x + self._u(16), y))
                self.canvas.dot(color, (x + radius, words.centery - 1), radius)
                x = words.right + self._u(18)
        return y + self._u(WORDS)

    def _actions(self, y: int) -> int:
        """Draw a bar for each action; return the y at which they end."""
        mind, draw, height, step = self.mind, self.canvas.pygame.draw, self._u(9), self._u(21)
        title = "MEAN OF THE NEXT ACTION" if mind.signed else "NEXT ACTION"
        self.canvas.say(title if mind.counts else f"{title} (no effect now)", (self.right, y), TITLE)
        names = [name[:_LONGEST_NAME] for name in mind.names or map(str, range(len(mind.actions)))]
        arrows = all(name in _ARROWS for name in names)
        room = self._u(26 if arrows else 12 + 9 * max(map(len, names)))
        y += self._u(26)
        for index, (name, action) in enumerate(zip(names, mind.actions, strict=True)):
            middle, chosen = y + height // 2, index == mind.chosen
            if arrows:
                self.canvas.arrow(_ARROWS[name], BLUE if chosen else FAINT, (self.right + self._u(8), middle))
            else:
                self.canvas.say(name, (self.right, middle + 1), WORDS, INK, "midleft")
            track = self.canvas.rect(self.right + room, y, self._u(_COLUMN) - room, height)
            draw.rect(self.canvas.surface, GRID, track, border_radius=height)
            bar = track.copy()
            if mind.signed:
                bar.width = round(track.width / 2 * min(1.0, abs(float(action))))
                bar.left = track.centerx - (bar.width if action < 0 else 0)
                draw.rect(self.canvas.surface, FAINT, (track.centerx - 1, y - 2, 2, height + 4))
            else:
                bar.width = round(track.width * float(action))
            if bar.width:
                color = BLUE if mind.signed or chosen else _LIGHT_BLUE
                draw.rect(self.canvas.surface, color, bar, border_radius=height)
            y += step
        return y - step + height

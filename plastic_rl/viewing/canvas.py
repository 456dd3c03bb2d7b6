"""A surface to draw on, with the text, pictures and signs that all parts of a panel share."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from plastic_rl.envs.drawing import AMBER, FAINT, GRID, INK, PAPER, Color, Frame, as_frame, draw_text, load_pygame
from plastic_rl.viewing.heat import SCALE

# Heights of text, in units.
TITLE, WORDS, FIGURE = 16.5, 15.5, 26.0
# Smooth shapes are drawn this many times too large. It is a power of two: then scaling down keeps the background.
FINER = 4


class Canvas:
    """A surface. Places are in pixels; sizes of text and signs are in units, of which a picture has a fixed number.

    Args:
        width: in pixels.
        height: in pixels.
        unit: pixels in a unit.

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is missing.
    """

    def __init__(self, width: int, height: int, unit: float) -> None:
        self.pygame: ModuleType = load_pygame()
        self.unit = unit
        self.surface = self.pygame.Surface((width, height))
        self.surface.fill(PAPER)

    def u(self, length: float) -> int:
        """Return the whole pixels of a length in units."""
        return round(length * self.unit)

    def rect(self, x: int, y: int, width: int, height: int) -> Any:
        """Return a rectangle."""
        return self.pygame.Rect(x, y, width, height)

    def say(
        self,
        words: str,
        place: tuple[int, int],
        size: float = WORDS,
        color: Color = FAINT,
        where: str = "topleft",
        ground: Color = PAPER,
    ) -> Any:
        """Write words so that their point ``where`` is at a place; return the rectangle that they fill."""
        text = draw_text(self.pygame, words, size * self.unit, color, ground)
        area = text.get_rect(**{where: place})
        self.surface.blit(text, area)
        return area

    def show(self, picture: Frame, x: int, y: int) -> None:
        """Put a picture in its place, with a thin line around it."""
        height, width, _ = picture.shape
        self.pygame.draw.rect(self.surface, GRID, self.rect(x - 1, y - 1, width + 2, height + 2), 1)
        self.surface.blit(self.pygame.image.frombuffer(picture.tobytes(), (width, height), "RGB"), (x, y))

    def scale(self, full: float, x: int, y: int, width: float, right: bool = False) -> None:
        """Draw the scale of colours from ``-full`` to ``full``; x is its left end, or its right end.

        Args:
            full: number that has the full colour.
            x: left or right end in pixels.
            y: top in pixels.
            width: of the colours, in units.
            right: whether x is the right end.
        """
        low, high = (draw_text(self.pygame, f"{number:+g}", WORDS * self.unit, INK) for number in (-full, full))
        gap = self.u(7)
        bar = np.repeat(SCALE[None], -(-self.u(width) // len(SCALE)), axis=1).repeat(self.u(9), axis=0)
        if right:
            x -= low.get_width() + bar.shape[1] + high.get_width() + 2 * gap
        self.surface.blit(low, (x, y))
        x += low.get_width() + gap
        self.show(bar, x, y + (low.get_height() - bar.shape[0]) // 2 - 1)
        self.surface.blit(high, (x + bar.shape[1] + gap, y))

    def badge(self, word: str, place: tuple[int, int], where: str) -> Any:
        """Draw a word on amber, so that its point ``where`` is at a place; return the rectangle that it fills."""
        text = draw_text(self.pygame, word, TITLE * self.unit, INK, AMBER)
        tag = text.get_rect().inflate(self.u(14), self.u(8))
        setattr(tag, where, place)
        self.pygame.draw.rect(self.surface, AMBER, tag, border_radius=max(2, self.u(3)))
        self.surface.blit(text, text.get_rect(center=tag.center))
        return tag

    def dot(self, color: Color, middle: tuple[int, int], radius: int) -> None:
        """Draw a smooth dot around a point."""

        def draw(tile: Any, side: int) -> None:
            self.pygame.draw.circle(tile, color, (side / 2, side / 2), side / 2)

        self._smooth(middle, 2 * radius, draw)

    def arrow(self, direction: tuple[int, int], color: Color, middle: tuple[int, int]) -> None:
        """Draw an arrow around a point; the direction is (x, y)."""
        points = [(0.42, 0), (-0.02, 0.34), (-0.02, 0.11), (-0.4, 0.11), (-0.4, -0.11), (-0.02, -0.11), (-0.02, -0.34)]
        along = np.array(direction)

        def draw(tile: Any, side: int) -> None:
            outline = [side * (0.5 + a * along + b * along[::-1]) for a, b in points]
            self.pygame.draw.polygon(tile, color, [tuple(place) for place in outline])

        self._smooth(middle, self.u(16), draw)

    def _smooth(self, middle: tuple[int, int], size: int, draw: Callable[[Any, int], None]) -> None:
        """Draw a sign on a square that is too large, by a function of it and its side, and scale it down."""
        tile = self.pygame.Surface((FINER * size, FINER * size))
        tile.fill(PAPER)
        draw(tile, FINER * size)
        place = middle[0] - size // 2, middle[1] - size // 2
        self.surface.blit(self.pygame.transform.smoothscale(tile, (size, size)), place)

    def frame(self) -> Frame:
        """Return the picture."""
        return as_frame(self.surface)

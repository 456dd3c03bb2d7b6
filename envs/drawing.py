"""What the pictures of all environments share: colours, text, and arrays made from pygame's surfaces.

pygame is imported on the first picture, never on import.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Color = tuple[int, int, int]
Frame = npt.NDArray[np.uint8]  # RGB, of shape (height, width, 3)

PAPER: Color = (246, 247, 249)
FLOOR: Color = (255, 255, 255)
GRID: Color = (236, 239, 243)
INK: Color = (30, 41, 59)
FAINT: Color = (107, 119, 140)
BLUE: Color = (37, 99, 235)
RED: Color = (217, 72, 43)
GREEN: Color = (22, 148, 84)
AMBER: Color = (245, 180, 40)
PALE_GREEN: Color = (220, 244, 230)
PALE_RED: Color = (252, 228, 221)
PALE_AMBER: Color = (254, 243, 214)
# All of them; files with few colours keep these.
PALETTE = (PAPER, FLOOR, GRID, INK, FAINT, BLUE, GREEN, RED, AMBER, PALE_GREEN, PALE_RED, PALE_AMBER)

# Shapes are drawn this many times too large and scaled down, which smooths their edges.
OVERSAMPLING = 3
# Width of an environment's own part of a picture, in pixels, unless another one is asked for.
TARGET_WIDTH = 484


def load_pygame() -> ModuleType:
    """Import pygame without the greeting that it prints.

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is missing.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise gym.error.DependencyNotInstalled('Pictures need pygame: run `pip install "pygame-ce>=2.5"`.') from error
    pygame.font.init()
    return pygame


def as_frame(surface: Any) -> Frame:
    """Return the pixels of a surface."""
    width, height = surface.get_size()
    pixels = np.frombuffer(load_pygame().image.tobytes(surface, "RGB"), np.uint8)
    return pixels.reshape(height, width, 3).copy()


def margins(side: int) -> tuple[int, int]:
    """Return the margin around a square of ``side`` pixels, and the height of the strip under it."""
    return max(4, round(0.045 * side)), round(0.165 * side)


@lru_cache(512)  # most words of a picture were in the picture before it
def draw_text(pygame: ModuleType, words: str, height: float, color: Color, ground: Color = PAPER) -> Any:
    """Return a surface with a line of text; it is cached, so it must not be changed.

    The text is drawn large and scaled down, so that small letters keep their spacing.
    """
    font = pygame.font.Font(None, max(1, round(height * OVERSAMPLING)))
    large = font.render(words, True, color, ground)
    width, tall = (max(1, round(extent / OVERSAMPLING)) for extent in large.get_size())
    return pygame.transform.smoothscale(large.convert(24), (width, tall))


def draw_figures(
    pygame: ModuleType, canvas: Any, area: Any, share: float, figures: Sequence[tuple[float, str, str]]
) -> None:
    """Draw the elapsed share of the lifetime as a bar, and numbers with their names under it.

    Args:
        pygame: the module.
        canvas: the surface to draw on.
        area: rectangle of the strip under a picture; see :func:`margins`.
        share: from 0 to 1.
        figures: for each number its place, as a share of the width, its name and its value.
    """
    unit = area.width / TARGET_WIDTH
    bar = pygame.Rect(area.left, area.top, area.width, max(2, round(5 * unit)))
    pygame.draw.rect(canvas, GRID, bar, border_radius=bar.height)
    done = bar.copy()
    done.width = round(bar.width * min(1.0, share))
    if done.width:
        pygame.draw.rect(canvas, BLUE, done, border_radius=bar.height)
    for place, name, value in figures:
        left = area.left + round(place * area.width)
        canvas.blit(draw_text(pygame, name, 16 * unit, FAINT), (left, area.top + round(17 * unit)))
        canvas.blit(draw_text(pygame, value, 26 * unit, INK), (left, area.top + round(37 * unit)))


def captioned(frame: Frame, name: str, value: str) -> Frame:
    """Put a name and a number above a picture."""
    pygame = load_pygame()
    height, width, _ = frame.shape
    unit = width / (1.09 * TARGET_WIDTH)
    margin, band = round(0.041 * width), 2 * round(24 * unit)
    canvas = pygame.Surface((width, height + band))
    canvas.fill(PAPER)
    canvas.blit(pygame.image.frombuffer(frame.tobytes(), (width, height), "RGB"), (0, band))
    words = draw_text(pygame, name, 20 * unit, FAINT)
    middle = round(1.1 * band / 2 + 0.25 * margin)
    canvas.blit(words, words.get_rect(midleft=(margin, middle)))
    figure = draw_text(pygame, value, 34 * unit, INK)
    canvas.blit(figure, figure.get_rect(midright=(width - margin, middle)))
    return as_frame(canvas)

"""Pictures of an environment with the agent's network beside it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gymnasium as gym
import numpy as np

from plastic_rl.envs.drawing import PAPER, TARGET_WIDTH, Frame, as_frame, load_pygame
from plastic_rl.envs.protocols import Pictured
from plastic_rl.envs.window import Window, has_display
from plastic_rl.errors import UserError
from plastic_rl.viewing.canvas import WORDS, Canvas
from plastic_rl.viewing.mind import Mind, Scales
from plastic_rl.viewing.panel import HEIGHT, MARGIN, Panel

MakeEnv = Callable[..., gym.Env]  # makes an environment; takes render_mode


class Scene:
    """Draws an environment and, beside it, the agent's network.

    Args:
        env: an environment that draws pictures, in a lifetime.
        scales: scales of the network's part.
        width: approximate width of the environment's part in pixels.
        keys: what keys do, to write below; nothing is written without them.
    """

    def __init__(self, env: gym.Env, scales: Scales, width: int = TARGET_WIDTH, keys: str = "") -> None:
        self.env, self._width, self._keys = env, width, keys
        self._shown = env.unwrapped if isinstance(env.unwrapped, Pictured) else None
        self._panel = Panel(scales, round(HEIGHT * width / TARGET_WIDTH) if self._shown is None else len(self._drawn()))

    def draw(self, mind: Mind, paused: bool = False) -> Frame:
        """Return a picture of the present state.

        Args:
            mind: what the network does now.
            paused: whether to say so, where keys are written.

        Raises:
            UserError: the environment cannot draw on this machine.
        """
        picture = np.hstack([self._drawn(), self._panel.draw(mind)])
        return np.vstack([picture, self._footer(picture.shape[1], paused)]) if self._keys else picture

    def _drawn(self) -> Frame:
        """Return the environment's part."""
        if self._shown is not None:
            return self._shown.snapshot().picture(width=self._width)
        height = self._panel.size[1]
        return fitted(self._rendered(), height, height)

    def _footer(self, width: int, paused: bool) -> Frame:
        """Return a line that says what the keys do."""
        canvas = Canvas(width, round(34 * self._panel.unit) // 2 * 2, self._panel.unit)
        middle = canvas.u(12)
        left = canvas.u(MARGIN)
        if paused:
            left = canvas.badge("PAUSED", (left, middle), "midleft").right + canvas.u(14)
        canvas.say(self._keys, (left, middle), WORDS, where="midleft")
        return canvas.frame()

    def _rendered(self) -> Frame:
        try:
            frame = np.asarray(self.env.render())
        except Exception as error:  # whatever this machine lacks for drawing
            raise UserError(f"no picture can be drawn: {error}") from error
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            given = f"{frame.dtype} {frame.shape}"
            raise UserError(f"{self.env} draws no pictures: render() returned {given}, expected uint8 (h, w, 3)")
        return frame


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


@contextmanager
def pictured(make: MakeEnv) -> Iterator[gym.Env]:
    """Make an environment that draws pictures, and close it in the end.

    Raises:
        UserError: it has no render mode rgb_array.
    """
    with _without_screen():
        plain = make()
        plain.close()
        if "rgb_array" not in plain.metadata.get("render_modes", ()):
            name = plain.spec.id if plain.spec is not None else plain
            raise UserError(f"{name} draws no pictures: it has no render mode rgb_array")
        env = make(render_mode="rgb_array")
        try:
            yield env
        finally:
            env.close()


@contextmanager
def open_window(fps: int, instead: str) -> Iterator[Window]:
    """Open a window, and close it in the end.

    Args:
        fps: frames per second.
        instead: what to do where no window can be opened, for the error.

    Raises:
        UserError: it cannot be opened.
    """
    window = Window("plastic-rl", fps)
    if not has_display():
        raise UserError(f"no window can be opened: there is no display; {instead}")
    try:
        yield window
    except gym.error.DependencyNotInstalled as error:
        raise UserError(str(error)) from error
    except gym.error.Error as error:
        raise UserError(f"no window can be opened: {error.__cause__ or error}; {instead}") from error
    finally:
        window.close()


@contextmanager
def _without_screen() -> Iterator[None]:
    """Keep other environments from looking for a screen where there is none: SDL complains on stderr."""
    if has_display() or "SDL_VIDEODRIVER" in os.environ:
        yield
        return
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        del os.environ["SDL_VIDEODRIVER"]

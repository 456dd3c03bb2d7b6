"""A window that shows the pictures of an environment."""

import os
import sys
from types import ModuleType
from typing import Any

import gymnasium as gym

from plastic_rl.envs.drawing import Frame, load_pygame

__all__ = ["Window", "has_display"]

# SDL writes to stderr when it looks for a display and there is none.
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")


def has_display() -> bool:
    """Return whether a window can be tried: on Linux, X, Wayland or SDL must have been told of a display."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in _DISPLAYS)


class Window:
    """A window that shows frames until it is closed, by :meth:`close` or by the user.

    Attributes:
        title: text in the title bar; it can be changed while the window is open.
        fps: most frames per second; it can be changed too.
        closed_by_user: whether the user has closed the window; it then stays closed.
    """

    def __init__(self, title: str, fps: int) -> None:
        self.title = title
        self.fps = fps
        self.closed_by_user = False
        self._screen: Any = None
        self._clock: Any = None

    def show(self, frame: Frame) -> None:
        """Show a frame and wait as long as the frame rate asks; do nothing after the user has closed the window.

        Only the request to close is taken from pygame's queue of events; keys stay there for :meth:`pressed`.

        Raises:
            gymnasium.error.Error: there is no display.
        """
        if self.closed_by_user:
            return
        pygame = load_pygame()
        height, width, _ = frame.shape
        # Another environment's close() may have shut pygame's one display down meanwhile.
        lost = self._screen is None or not pygame.display.get_init()
        if lost or self._screen.get_size() != (width, height):
            self._open(pygame, width, height)
        if pygame.event.get(pygame.QUIT):
            self.close()
            self.closed_by_user = True
            return
        if pygame.display.get_caption()[0] != self.title:
            pygame.display.set_caption(self.title)
        self._screen.blit(pygame.image.frombuffer(frame.tobytes(), (width, height), "RGB"), (0, 0))
        pygame.display.flip()
        self._clock.tick(self.fps)

    def pressed(self) -> list[str]:
        """Return the names of the keys pressed since the last call, in order."""
        pygame = load_pygame()
        if not pygame.display.get_init():
            return []
        return [pygame.key.name(event.key) for event in pygame.event.get(pygame.KEYDOWN)]

    def close(self) -> None:
        """Close the window, if it is open."""
        if self._screen is not None:
            load_pygame().display.quit()
            self._screen = None

    def _open(self, pygame: ModuleType, width: int, height: int) -> None:
        advice = (
            'On a machine without a display use render_mode="rgb_array" or "ansi", or set the environment variable '
            "SDL_VIDEODRIVER=dummy to draw without a screen."
        )
        if not has_display():
            raise gym.error.Error(f"No window can be opened: there is no display. {advice}")
        try:
            pygame.display.init()
            self._screen = pygame.display.set_mode((width, height))
        except pygame.error as error:
            raise gym.error.Error(f"No window can be opened: {error}. {advice}") from error
        # Without a display SDL falls back to drawing nowhere, which is right only if it was asked for.
        if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
            self.close()
            raise gym.error.Error(f"No window can be opened: there is no display. {advice}")
        pygame.display.set_caption(self.title)
        self._clock = pygame.time.Clock()

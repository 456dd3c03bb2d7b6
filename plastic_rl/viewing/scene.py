"""Pictures of an environment with the agent's network beside it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gymnasium as gym
import numpy as np

from plastic_rl.envs import draw_maze
from plastic_rl.envs.drawing import TARGET_WIDTH, Frame
from plastic_rl.envs.protocols import Pictured
from plastic_rl.envs.window import Window, has_display
from plastic_rl.errors import UserError
from plastic_rl.viewing.panel import Mind, Panel, Scales, fitted

MakeEnv = Callable[..., gym.Env]  # makes an environment; takes render_mode


class Scene:
    """Draws an environment and, beside it, the agent's network.

    Args:
        env: an environment that draws pictures.
        scales: scales of the network's part.
        width: approximate width of the environment's part in pixels.
    """

    def __init__(self, env: gym.Env, scales: Scales, width: int = TARGET_WIDTH) -> None:
        self.env = env
        maze = env.unwrapped
        self._maze = maze if isinstance(maze, Pictured) else None
        if self._maze is not None:
            size = len(self._maze.maze_state().walls)
            self._cell = max(8, round(width / size))
            width = size * self._cell
        self._panel = Panel(scales, width)

    def draw(self, mind: Mind) -> Frame:
        """Return a picture of the present state.

        Raises:
            UserError: the environment cannot draw on this machine.
        """
        panel = self._panel.draw(mind)
        if self._maze is None:
            return np.hstack([fitted(self._rendered(), len(panel), len(panel)), panel])
        return np.hstack([draw_maze(self._maze.maze_state(), self._cell), panel])

    def _rendered(self) -> Frame:
        try:
            frame = np.asarray(self.env.render())
        except Exception as error:  # whatever this machine lacks for drawing
            raise UserError(f"no picture can be drawn: {error}") from error
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            given = f"{frame.dtype} {frame.shape}"
            raise UserError(f"{self.env} draws no pictures: render() returned {given}, expected uint8 (h, w, 3)")
        return frame


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

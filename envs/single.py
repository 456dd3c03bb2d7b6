"""One environment, as a Gymnasium ``Env``."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded

from plastic_rl.envs.base import Family, Observations
from plastic_rl.envs.drawing import Frame
from plastic_rl.envs.protocols import Snapshot
from plastic_rl.envs.streams import keys_from_range
from plastic_rl.envs.window import Window

__all__ = ["SingleEnv"]

_FIRST = np.zeros(1, dtype=np.int64)


class SingleEnv(Family, gym.Env[Observations, Any]):
    """What the single environments share.

    Args:
        render_mode: "human", "rgb_array", "ansi" or None.
        settings: fields of ``settings_type``.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it as an instance attribute
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": 12,
    }

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self._set_up(settings, 1, render_mode)
        self.observation_space, self.action_space = self._spaces()
        self._last = int(self.action_space.n) - 1
        self._seeded = False
        self._running = False
        self._window: Window | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin a lifetime: the first one of the stream of ``seed``, or the next one if there is no seed.

        Args:
            seed: names the stream of lifetimes. An environment that was never seeded takes its stream from
                ``np_random``.
            options: not used.

        Returns:
            The observation and the info.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.dynamics.seed(keys_from_range(seed, 1), np.ones(1, dtype=np.bool_))
        elif not self._seeded:
            keys = self.np_random.integers(2**64, size=1, dtype=np.uint64)
            self.dynamics.seed(keys, np.ones(1, dtype=np.bool_))
        self._seeded = True
        self.dynamics.begin(_FIRST)
        self._running = True
        if self.render_mode == "human":
            self.render()
        return self.dynamics.observe()[0], self._info()

    def step(self, action: int) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Act once.

        Args:
            action: one of the action space.

        Returns:
            Observation, reward, terminated, truncated (always False) and info.

        Raises:
            gymnasium.error.InvalidAction: there is no such action.
            gymnasium.error.ResetNeeded: the lifetime has ended, or none has begun.
        """
        if not self.action_space.contains(action):
            raise InvalidAction(f"action is {action!r}: expected a whole number from 0 to {self._last}")
        if not self._running:
            raise ResetNeeded("No lifetime is running: it has ended or was never begun. Call reset() before step().")
        rewards, ended = self.dynamics.step(np.array([action], dtype=np.int64))
        terminated = bool(ended[0])
        self._running = not terminated
        if self.render_mode == "human":
            self.render()
        return self.dynamics.observe()[0], float(rewards[0]), terminated, False, self._info()

    def render(self) -> Frame | str | None:
        """Show the environment as ``render_mode`` says.

        Returns:
            "rgb_array": uint8 of shape (height, width, 3); "ansi": text; "human": None, and the picture is
            shown in a window (reset() and step() do so by themselves). Once the user has closed the window,
            it stays closed and the lifetime continues.
        """
        if self.render_mode is None:
            self._warn_no_render_mode()
            return None
        now = self.snapshot()
        if self.render_mode == "ansi":
            return now.text()
        if self.render_mode == "rgb_array":
            return now.picture()
        if self._window is None:
            self._window = Window(type(self).__name__, self.metadata["render_fps"])
        if not self._window.closed_by_user:
            self._window.show(now.picture())
        return None

    def snapshot(self) -> Snapshot:
        """Return what a picture shows now; what it remembers of the past may depend on the render mode.

        Raises:
            gymnasium.error.ResetNeeded: no lifetime has begun.
        """
        if not self._seeded:
            raise ResetNeeded("There is nothing to show before the first reset().")
        return self._snapshot(0)

    @property
    def window_closed(self) -> bool:
        """Whether the user has closed the window of render mode "human"."""
        return self._window is not None and self._window.closed_by_user

    def close(self) -> None:
        """Close the window, if there is one. The environment can still be used; it then opens a new window."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        # A window belongs to its process; a copy opens its own when it renders.
        return {**self.__dict__, "_window": None}

    def _info(self) -> dict[str, Any]:
        info = self.dynamics.info()
        return {name: rows[0] if rows.ndim > 1 else rows[0].item() for name, rows in info.items()}

"""What all environments of this package share, single and batched: checked settings, and lifetimes stepped in a batch.

An environment is Gymnasium's interface around its *dynamics*, a batch of lifetimes that numpy steps together.
``single.py`` has the ``Env``, a batch of 1, and ``vector.py`` the ``VectorEnv``. A family adds its settings, its
dynamics, its spaces and its pictures in a subclass of :class:`Family`.
"""

from dataclasses import fields
from typing import Any, ClassVar, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from plastic_rl.checks import check_choice, check_names
from plastic_rl.envs.protocols import Snapshot
from plastic_rl.envs.streams import Keys

__all__ = ["Bools", "Dynamics", "Family", "Floats", "Ints", "Observations"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Observations = npt.NDArray[np.float32]


class Dynamics(Protocol):
    """A batch of lifetimes, each at any of its steps. All that it returns is fresh and belongs to the caller."""

    def seed(self, keys: Keys, where: Bools) -> None:
        """Give the environments ``where`` new random streams; both arguments have shape (num_envs,)."""
        ...

    def begin(self, which: Ints) -> None:
        """Begin the next lifetime of the environments with the indices ``which``, shape (k,)."""
        ...

    def step(self, actions: Ints) -> tuple[Floats, Bools]:
        """Act once everywhere; return the rewards, and whether each lifetime has now ended."""
        ...

    def observe(self) -> Observations:
        """Return the observations, shape (num_envs, length)."""
        ...

    def info(self) -> dict[str, Any]:
        """Return arrays by name, of num_envs rows each."""
        ...

    def get_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of everything that changes, as arrays by name."""
        ...

    def set_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``get_state`` returned; raise ValueError if it does not fit."""
        ...


class Family:
    """Environments of one kind, with their settings checked; the base of the single and the vector environments.

    Attributes:
        settings_type: dataclass of the settings, which are the keyword arguments of the environment.
        config: the settings.
        dynamics: the lifetimes themselves.
    """

    settings_type: ClassVar[type[Any]]
    metadata: dict[str, Any]
    config: Any
    dynamics: Dynamics

    def _set_up(self, settings: dict[str, Any], num_envs: int, render_mode: str | None) -> None:
        """Check the arguments and make the dynamics.

        Raises:
            TypeError: there is no such setting.
            ValueError: a setting or the render mode is out of its range.
        """
        own = [field.name for field in fields(self.settings_type)]
        check_names(type(self).__name__, settings, [*own, "render_mode"])
        if render_mode is not None:
            check_choice("render_mode", render_mode, self.metadata["render_modes"])
        self.config = self.settings_type(**settings)
        self.render_mode = render_mode
        self.dynamics = self._make_dynamics(num_envs)

    @property
    def lifetime(self) -> int:
        """Steps in a lifetime."""
        return self.config.lifetime

    def _make_dynamics(self, num_envs: int) -> Dynamics:
        raise NotImplementedError

    def _spaces(self) -> tuple[gym.Space[Any], gym.spaces.Discrete]:
        """Return the observations and the actions of one environment."""
        raise NotImplementedError

    def _snapshot(self, index: int) -> Snapshot:
        """Return what a picture of environment ``index`` shows."""
        raise NotImplementedError

    def _warn_no_render_mode(self) -> None:
        modes = self.metadata["render_modes"]
        gym.logger.warn(
            f"render() of {type(self).__name__} shows nothing, since no render_mode was chosen: "
            f"pass one of {modes} when making it."
        )

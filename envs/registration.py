"""Registers the environments with Gymnasium, by strings: none is loaded until one is made.

To add a family of environments, add its rows to ``ENVIRONMENTS`` and its names to ``envs/__init__.py``.
"""

from typing import NamedTuple

from gymnasium.envs.registration import register, registry

from plastic_rl.envs.cues.config import CueActionConfig, CueRewardConfig
from plastic_rl.envs.maze.config import MazeConfig, RandomMazeConfig


class Registered(NamedTuple):
    """An environment of this package.

    Attributes:
        entry_point: "module:class" of the single environment.
        vector_entry_point: "module:class" of the batched one.
        settings: dataclass of the settings that both take.
    """

    entry_point: str
    vector_entry_point: str
    settings: type


_MAZES, _CUES = "plastic_rl.envs.maze.mazes", "plastic_rl.envs.cues.tasks"

ENVIRONMENTS = {
    "PlasticRL/GridMaze-v0": Registered(f"{_MAZES}:GridMaze", f"{_MAZES}:GridMazeVector", MazeConfig),
    "PlasticRL/RandomMaze-v0": Registered(f"{_MAZES}:RandomMaze", f"{_MAZES}:RandomMazeVector", RandomMazeConfig),
    "PlasticRL/CueReward-v0": Registered(f"{_CUES}:CueReward", f"{_CUES}:CueRewardVector", CueRewardConfig),
    "PlasticRL/CueAction-v0": Registered(f"{_CUES}:CueAction", f"{_CUES}:CueActionVector", CueActionConfig),
}


def register_envs() -> None:
    """Register every environment of this package, once."""
    for env_id, env in ENVIRONMENTS.items():
        if env_id not in registry:
            register(id=env_id, entry_point=env.entry_point, vector_entry_point=env.vector_entry_point)


def settings_of(env_id: str) -> type | None:
    """Return the dataclass of an environment's settings, or None if it is not one of this package.

    Args:
        env_id: id, or "module:id" as ``gym.make`` takes it.
    """
    env = ENVIRONMENTS.get(env_id.rpartition(":")[2])
    return None if env is None else env.settings

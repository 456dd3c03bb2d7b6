"""Registers the environments with Gymnasium, by strings: nothing is loaded until one is made."""

from gymnasium.envs.registration import register, registry


def register_envs() -> None:
    """Register every environment of this package, once."""
    for name in ("GridMaze", "RandomMaze"):
        env_id = f"PlasticRL/{name}-v0"
        if env_id not in registry:
            register(
                id=env_id,
                entry_point=f"plastic_rl.envs.maze.mazes:{name}",
                vector_entry_point=f"plastic_rl.envs.maze.mazes:{name}Vector",
            )

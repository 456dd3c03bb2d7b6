"""Settings of ``maze``."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plastic_rl.envs.maze.config import RandomMazeConfig
from plastic_rl.settings.agents import AgentRun
from plastic_rl.settings.base import Count, CountOrNone


@dataclass(frozen=True, kw_only=True)
class MazeRun(RandomMazeConfig, AgentRun):
    """Train a plastic agent with A2C to find the hidden goal of a maze, anew in each lifetime."""

    command: ClassVar[str] = "maze"
    env_settings: ClassVar[type[Any]] = RandomMazeConfig
    leading: ClassVar[tuple[str, ...]] = (*AgentRun.leading, "lifetime")
    sizes: ClassVar[tuple[str, ...]] = (*AgentRun.sizes, "size")

    preset: Literal["tuned", "paper"] = "tuned"
    """Where the defaults come from: settings found by tuning, or those of the paper (section 4.5).
    Add --help to --preset paper to see its defaults."""
    env: str = "PlasticRL/GridMaze-v0"
    steps: Count = 7_500_000
    decay_steps: CountOrNone = 7_500_000

    def __post_init__(self) -> None:
        """Check the settings, except those of the environment: it checks them itself, and may be of another kind."""
        AgentRun.__post_init__(self)

    @classmethod
    def presets(cls) -> dict[str, "MazeRun"]:
        """Return the presets by name, the default first."""
        return PRESETS


PRESETS = {
    "tuned": MazeRun(),
    "paper": MazeRun(
        preset="paper", steps=250_000_000, envs=16, n_steps=250, learning_rate=1e-4, decay_steps=0, gamma=0.9,
        gae_lambda=1.0, squared_prob_coef=0.03, vf_coef=0.1, max_grad_norm=4.0,
    ),
}  # fmt: skip

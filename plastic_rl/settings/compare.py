"""Settings of ``compare``: which agents, and what their runs have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from plastic_rl.errors import UsageError
from plastic_rl.settings.base import POSITIVE, Count, Settings, at_least, names_of, unset
from plastic_rl.settings.maze import EnvironmentSettings, MazeRun

# The agents that can be compared, and their settings that differ from those of the plastic agent.
Agent = Literal["plastic", "oja", "clip", "shared", "rnn", "rnn-wide", "lstm", "memoryless"]
AGENTS: dict[str, dict[str, Any]] = {
    "plastic": {},
    "oja": {"rule": "oja"},
    "clip": {"rule": "clip"},
    "shared": {"alpha": "shared"},
    "rnn": {"core": "rnn"},
    "rnn-wide": {"core": "rnn"},
    "lstm": {"core": "lstm"},
    "memoryless": {"core": "memoryless"},
}


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Settings):
    """What a comparison sets apart from the maze."""

    out: Path = Path("runs/comparison")
    """Folder of the comparison, with a run folder for each agent and seed."""
    agents: tuple[Agent, ...] = get_args(Agent)
    """Agents to compare.
    Plastic ones: plastic (rule hebb), oja and clip (other rules), shared (one plasticity coefficient for all).
    Controls: rnn (as many neurons), rnn-wide and lstm (as many parameters), memoryless (no memory)."""
    seeds: Count = 3
    """Runs of each agent, with the seeds 0, 1, 2, ..."""
    jobs: Annotated[int | None, at_least(1), unset("one per core")] = None
    """Runs at a time, each with one thread."""
    preset: Literal["tuned", "paper"] = "tuned"
    """Where the settings of learning come from, for all agents: see maze --help.
    The tuned learning rate falls over the whole run."""
    steps: Count = 30_000_000
    """Environment steps of each run."""
    learning_rate: Annotated[float | None, POSITIVE, unset("0.001, or 0.0001 with --preset paper")] = None
    """Initial learning rate of Adam."""
    hidden_size: Count = 100
    """Neurons of the plastic agent."""
    log_every: Count = 200_000
    """Environment steps between points of the curves."""
    eval_episodes: Count = 300
    """Fresh lifetimes that each trained agent is tested on."""


@dataclass(frozen=True, kw_only=True)
class Compare(EnvironmentSettings, CompareSettings):
    """Train several kinds of agents with several seeds each, and draw their learning curves in one figure.

    Call the same command again to continue a comparison that was stopped, or to add agents and seeds to it.
    """

    env: str = "PlasticRL/GridMaze-v0"
    """Environment id of a maze of this package."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        if not self.agents:
            raise UsageError("--agents is empty: name at least one")
        run = self.run_settings("plastic", 0)
        if self.steps < run.envs * run.lifetime:
            least = f"{run.envs * run.lifetime}, one lifetime in each of {run.envs} mazes"
            raise UsageError(f"--steps is {self.steps}: expected at least {least}, for a curve")

    def run_settings(self, agent: str, seed: int) -> MazeRun:
        """Return the settings of one run; ``hidden_size`` is still that of the plastic agent.

        Raises:
            UsageError: a setting is out of bounds.
        """
        given = self.pick("preset", "steps", "hidden_size", "log_every", "eval_episodes")
        given |= self.pick(*names_of(EnvironmentSettings))
        if self.learning_rate is not None:
            given["learning_rate"] = self.learning_rate
        return MazeRun.from_preset(**given, **AGENTS[agent], seed=seed, threads=1)

"""Settings of ``compare``: which agents, in which task, and what their runs have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from plastic_rl.checks import check_choice
from plastic_rl.errors import UsageError
from plastic_rl.settings.agents import AgentRun
from plastic_rl.settings.base import POSITIVE, Count, Settings, at_least, unset
from plastic_rl.settings.cues import CueActionRun, CueRewardRun
from plastic_rl.settings.maze import MazeRun

Task = Literal["maze", "cue-reward", "cue-action"]
# The agents that can be compared, and what their settings are besides the preset's.
AGENTS: dict[str, dict[str, Any]] = {
    "plastic": {"modulation": None, "rule": "hebb"},
    "oja": {"modulation": None, "rule": "oja"},
    "clip": {"modulation": None, "rule": "clip"},
    "shared": {"modulation": None, "rule": "hebb", "alpha": "shared"},
    "simple": {"modulation": "simple", "rule": "clip"},
    "retroactive": {"modulation": "retroactive", "rule": "clip"},
    "plastic-lstm": {"core": "plastic_lstm", "modulation": None, "rule": "clip"},
    "retroactive-lstm": {"core": "plastic_lstm", "modulation": "retroactive", "rule": "clip"},
    "rnn": {"core": "rnn"},
    "rnn-wide": {"core": "rnn"},
    "lstm": {"core": "lstm"},
    "gru": {"core": "gru"},
    "memoryless": {"core": "memoryless"},
}
MATCHED = ("rnn-wide", "lstm", "gru")  # have as many parameters as the plastic agent; the others, as many neurons


@dataclass(frozen=True, kw_only=True)
class Compare(Settings):
    """Train several kinds of agents with several seeds each, and draw their learning curves in one figure.

    Call the same command again to continue a comparison that was stopped, or to add agents and seeds to it.
    """

    leading: ClassVar[tuple[str, ...]] = ("task",)
    run: ClassVar[type[AgentRun]]  # the kind of each agent's run

    task: Task = "maze"
    """What the agents learn, as named by the command that trains one.
    Add --help to --task cue-reward to see its settings."""
    out: Path = Path("runs/comparison")
    """Folder of the comparison, with a run folder for each agent and seed."""
    agents: Annotated[tuple[str, ...], tyro.conf.arg(metavar=f"{{{','.join(AGENTS)}}}")] = tuple(AGENTS)
    """Agents to compare.
    Plastic ones: plastic (rule hebb), oja and clip (other rules), shared (one plasticity coefficient for all).
    With modulation: simple and retroactive. LSTMs with plastic connections: plastic-lstm and retroactive-lstm.
    Controls: rnn (as many neurons), rnn-wide, lstm and gru (as many parameters), memoryless (no memory)."""
    match_parameters: bool = False
    """Give every agent as many neurons as make its core's parameters as many as those of the plastic agent."""
    seeds: Count = 3
    """Runs of each agent, with the seeds 0, 1, 2, ..."""
    jobs: Annotated[int | None, at_least(1), unset("one per core")] = None
    """Runs at a time, each with one thread."""
    preset: Literal["tuned", "paper"] = "tuned"
    """Where the settings of learning come from, for all agents: see the help of the command that trains one.
    The tuned learning rate falls over the whole run."""
    steps: Count = 30_000_000
    """Environment steps of each run."""
    learning_rate: Annotated[float | None, POSITIVE, unset("that of the preset")] = None
    """Initial learning rate of Adam."""
    hidden_size: Count = 100
    """Neurons of the plastic agent."""
    log_every: Count = 200_000
    """Environment steps between points of the curves."""
    eval_episodes: Count = 300
    """Fresh lifetimes that each trained agent is tested on."""
    env: str = MazeRun.env
    """Environment id: one of this package, any other id of Gymnasium, or "module:id"."""

    @classmethod
    def variant(cls, leading: Mapping[str, Any]) -> "type[Compare]":
        """Return the comparisons in a task, which have its settings too."""
        return COMPARISONS[leading.get("task", Compare.task)]

    def __post_init__(self) -> None:
        """Check the settings, except those of the environment, which checks them itself."""
        super().__post_init__()
        if not self.agents:
            raise UsageError("--agents is empty: name at least one")
        try:
            check_choice("preset", self.preset, self.run.presets())
            for agent in self.agents:
                check_choice("agent", agent, AGENTS)
        except ValueError as error:
            raise UsageError(str(error)) from error
        run: Any = self.run_settings("plastic", 0)
        if self.steps < run.envs * run.lifetime:
            least = f"{run.envs * run.lifetime}, one lifetime in each of {run.envs} environments"
            raise UsageError(f"--steps is {self.steps}: expected at least {least}, for a curve")

    def run_settings(self, agent: str, seed: int) -> AgentRun:
        """Return the settings of one run; ``hidden_size`` is still that of the plastic agent.

        Raises:
            UsageError: a setting is out of bounds.
        """
        given = self.pick("preset", "env", "steps", "hidden_size", "log_every", "eval_episodes")
        for field in fields(self.run.env_settings):
            if (value := getattr(self, field.name)) != field.default:
                given[field.name] = value
        if self.learning_rate is not None:
            given["learning_rate"] = self.learning_rate
        return self.run.from_preset(**given, **AGENTS[agent], seed=seed, threads=1)


def _in_task(run: type[AgentRun]) -> type[Compare]:
    """Return the settings of comparisons in one task, among them those of its environment."""
    return make_dataclass(
        "Compare",
        [("task", Task, run.command), ("env", str, run.from_preset().env)],
        bases=(run.env_settings, Compare),
        namespace={"__doc__": Compare.__doc__, "__post_init__": Compare.__post_init__, "run": run},
        frozen=True,
        kw_only=True,
    )


COMPARISONS: dict[str, type[Compare]] = {run.command: _in_task(run) for run in (MazeRun, CueRewardRun, CueActionRun)}

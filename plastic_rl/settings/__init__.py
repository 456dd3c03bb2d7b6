"""The commands' settings: dataclasses, one file for each command, that become options, help texts and config.json.

``base`` holds what all share, ``agents`` what the trainings of agents share, and ``tasks`` what the supervised tasks
share. Nothing here loads torch, so that ``--help`` answers at once.
"""

from plastic_rl.settings.agents import AgentRun
from plastic_rl.settings.base import Run, RunT, Settings, changed, check_core, check_resumed
from plastic_rl.settings.compare import AGENTS, COMPARISONS, Compare
from plastic_rl.settings.cues import CueActionRun, CueRewardRun
from plastic_rl.settings.curves import Curves
from plastic_rl.settings.evaluate import Evaluate
from plastic_rl.settings.images import Images
from plastic_rl.settings.maze import MazeRun
from plastic_rl.settings.memorize import Memorize
from plastic_rl.settings.omniglot import Omniglot
from plastic_rl.settings.play import Play
from plastic_rl.settings.tasks import CompletionRun, TaskRun
from plastic_rl.settings.watch import Watch

# The commands that train, by name: agents in environments, and networks on supervised tasks.
AGENT_RUNS: dict[str, type[AgentRun]] = {run.command: run for run in (MazeRun, CueRewardRun, CueActionRun)}
TASKS: dict[str, type[TaskRun]] = {run.command: run for run in (Memorize, Images, Omniglot)}
RUNS: dict[str, type[AgentRun] | type[TaskRun]] = {**AGENT_RUNS, **TASKS}

__all__ = [
    "AGENTS",
    "AGENT_RUNS",
    "COMPARISONS",
    "RUNS",
    "TASKS",
    "AgentRun",
    "Compare",
    "CompletionRun",
    "CueActionRun",
    "CueRewardRun",
    "Curves",
    "Evaluate",
    "Images",
    "MazeRun",
    "Memorize",
    "Omniglot",
    "Play",
    "Run",
    "RunT",
    "Settings",
    "TaskRun",
    "Watch",
    "changed",
    "check_core",
    "check_resumed",
]

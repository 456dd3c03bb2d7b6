"""The commands' settings: dataclasses, one file for each command, that become options, help texts and config.json.

``base`` holds what all share, and ``tasks`` what the supervised tasks share. Nothing here loads torch, so that
``--help`` answers at once.
"""

from plastic_rl.settings.base import Run, RunT, Settings, changed, check_core, check_resumed
from plastic_rl.settings.compare import AGENTS, Agent, Compare
from plastic_rl.settings.curves import Curves
from plastic_rl.settings.evaluate import Evaluate
from plastic_rl.settings.images import Images
from plastic_rl.settings.maze import MazeRun
from plastic_rl.settings.memorize import Memorize
from plastic_rl.settings.omniglot import Omniglot
from plastic_rl.settings.play import Play
from plastic_rl.settings.tasks import CompletionRun, TaskRun
from plastic_rl.settings.watch import Watch

# The commands that train, by name.
TASKS: dict[str, type[TaskRun]] = {run.command: run for run in (Memorize, Images, Omniglot)}
RUNS: dict[str, type[MazeRun] | type[TaskRun]] = {MazeRun.command: MazeRun, **TASKS}

__all__ = [
    "AGENTS",
    "RUNS",
    "TASKS",
    "Agent",
    "Compare",
    "CompletionRun",
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

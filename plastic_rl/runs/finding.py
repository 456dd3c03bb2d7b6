"""Which run folder is meant, and where results of testing it go."""

from pathlib import Path

from plastic_rl.errors import UsageError
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import AGENT_RUNS

TRAINED = Path(__file__).parents[1] / "trained"  # the run folders that come with the package, by command


def packaged(command: str) -> Path:
    """Return the folder of the run of a command that comes with the package."""
    return TRAINED / command


def find_run(name: Path | None) -> RunFolder:
    """Return the run that a user means: a folder, or else a run of that name in the package; None: the trained agent.

    Raises:
        UsageError: no run is named, and there is no trained agent in the package.
    """
    if name is None:
        agent = packaged("maze")
        if not agent.is_dir():
            raise UsageError(f"no run folder is named, and there is no trained agent in {agent}: name a run folder")
        return RunFolder(agent)
    inside = TRAINED / name
    return RunFolder(inside if len(name.parts) == 1 and inside.is_dir() and not name.exists() else name)


def opponent_in(env: str | None) -> RunFolder | None:
    """Return the trained agent of the package that a person in an environment can be compared with, if there is one.

    Args:
        env: id of the environment; None, or one in which no agent of the package was trained: that of the maze.
    """
    trained = [RunFolder(packaged(command)) for command in AGENT_RUNS if packaged(command).is_dir()]
    there = [run for run in trained if run.config["run"]["env"] == env]
    return next(iter(there or trained), None)


def evaluation_folder(run: RunFolder) -> Path:
    """Return where results of testing a run go: into its folder, but never into the package."""
    return Path("evaluation") if run.path.parent == TRAINED else run.path / "evaluation"

"""Settings of ``evaluate``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from plastic_rl.settings.base import Seed, Settings, at_least, unset


@dataclass(frozen=True, kw_only=True)
class Evaluate(Settings):
    """Test a trained run on fresh episodes, with and without its plasticity; an agent also against random play."""

    run: Annotated[Path | None, Positional, unset("maze, the trained agent that comes with the package")] = None
    """Run folder, or maze, cue-reward or omniglot for the trained runs that come with the package."""
    episodes: Annotated[int | None, at_least(1), unset("as many as at the end of the run")] = None
    """Lifetimes or episodes to test on."""
    data_dir: Annotated[Path | None, unset("as in the run's training")] = None
    """Folder of the dataset."""
    out: Annotated[Path | None, unset("evaluation/, in the run folder if one is named")] = None
    """Folder for summary.json."""
    course: Annotated[Path | None, unset("none")] = None
    """For agents: record one fresh lifetime step by step in this NumPy file, such as course.npz.
    It holds observations, actions, rewards, values, the neurons' activity, the modulation and the size of the trace."""
    seed: Seed = 0
    """Chooses the fresh episodes, which are never those of training."""
    deterministic: bool = False
    """For agents: take the most likely action instead of sampling one."""

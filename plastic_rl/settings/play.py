"""Settings of ``play``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from plastic_rl.envs.protocols import Shown
from plastic_rl.settings.base import Seed, Settings, unset


@dataclass(frozen=True, kw_only=True)
class Play(Settings):
    """Play an environment yourself, with what an agent observes; then watch the agent in the same lifetime.

    Mazes: find the hidden goal, then find it again. Cue tasks: find out what the cues mean.

    Keys: arrows or WASD move in a maze; Y, N or digits answer, and space goes on, in a cue task; R begins a new
    lifetime, Q quits.
    """

    run: Annotated[Path | None, Positional, unset("a trained agent that comes with the package")] = None
    """Run folder of the agent to compare with."""
    env: Annotated[str | None, unset("that of the agent")] = None
    """Environment id, such as PlasticRL/CueReward-v0. An agent of another task is not compared."""
    size: Annotated[int | None, unset("as in the agent's training")] = None
    """Side of the maze in cells, outer wall included: odd, at least 5."""
    lifetime: Annotated[int | None, unset("as in the agent's training")] = None
    """Steps in a lifetime."""
    random_walls: bool = False
    """Play a maze whose walls are drawn anew in every lifetime."""
    full_view: bool = False
    """Show the whole maze and your position in it, or the cues so far, which agents do not see."""
    show_goal: bool = False
    """Show the goal of a maze too, or what each cue means, which agents never see."""
    seed: Seed = 0
    """Chooses the first lifetime."""

    @property
    def shown(self) -> Shown:
        """What the pictures show."""
        return "everything" if self.show_goal else "scene" if self.full_view else "observed"

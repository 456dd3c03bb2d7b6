"""Settings of ``play``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from plastic_rl.settings.base import Seed, Settings, unset


@dataclass(frozen=True, kw_only=True)
class Play(Settings):
    """Walk through the maze yourself with what an agent sees; then watch the agent in the same lifetime.

    Find the hidden goal, then find it again. Keys: arrows or WASD move, R begins a new lifetime, Q quits.
    """

    run: Annotated[Path | None, Positional, unset("the trained agent that comes with the package")] = None
    """Run folder of the agent to compare with."""
    size: Annotated[int | None, unset("as in the agent's training")] = None
    """Side of the maze in cells, outer wall included: odd, at least 5."""
    lifetime: Annotated[int | None, unset("as in the agent's training")] = None
    """Steps in a lifetime."""
    random_walls: bool = False
    """Draw the walls anew in every lifetime."""
    full_view: bool = False
    """Show the whole maze and your position in it, which agents do not see."""
    show_goal: bool = False
    """Show the goal too, which agents never see."""
    seed: Seed = 0
    """Chooses the first lifetime."""

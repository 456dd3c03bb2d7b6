"""Settings of ``curves``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from plastic_rl.errors import UsageError
from plastic_rl.settings.base import Count, Settings, unset

COLUMNS = "return_mean of agents, wrong_bits of memorize, loss of images, validation_accuracy of omniglot"


@dataclass(frozen=True, kw_only=True)
class Curves(Settings):
    """Draw the learning curves of several runs in one figure. Runs that differ only in their seed share a curve."""

    runs: Annotated[tuple[Path, ...], Positional]
    """Run folders, finished or not, all of the same command."""
    out: Path = Path("curves.png")
    """File of the figure; the points are written beside it as CSV."""
    column: Annotated[str | None, unset(COLUMNS)] = None
    """Column of metrics.csv to draw."""
    log: bool = False
    """Draw the axis of steps or episodes logarithmically."""
    points: Count = 100
    """Most points of a curve; each is a mean over a part of the run."""

    def __post_init__(self) -> None:
        """Check what can be checked without the runs."""
        super().__post_init__()
        if not self.runs:
            raise UsageError("no runs: name at least one run folder")
        if self.out.suffix.lower() != ".png":
            raise UsageError(f"--out is {self.out}: expected a name that ends with .png")

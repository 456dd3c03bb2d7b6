"""Settings of ``images``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from plastic_rl.choices import PLASTIC_CORES
from plastic_rl.errors import UsageError
from plastic_rl.settings.base import Count, CountOrNone, Positive, unset
from plastic_rl.settings.tasks import CompletionRun, Mean, found_from_everywhere


@dataclass(frozen=True, kw_only=True)
class Images(CompletionRun):
    """Train a plastic network to memorize natural images shown a few times, and to complete them from a half."""

    command: ClassVar[str] = "images"
    sizes: ClassVar[tuple[str, ...]] = ("hidden_size",)
    leading: ClassVar[tuple[str, ...]] = ("preset", "core", "episodes", "modulation")

    preset: Literal["tuned", "paper"] = "tuned"
    """Where the defaults come from: settings found by tuning, or those of the paper (section 4.3).
    Add --help to --preset paper to see its defaults."""
    data: Literal["cifar10", "synthetic"] = "cifar10"
    """Photographs of 32 x 32 pixels in grey, or noise with the spectrum of photographs, which needs no download."""
    data_dir: Annotated[Path | None, unset("downloaded once, 170 MB, into the user's cache")] = None
    """Folder with cifar-10-binary.tar.gz or its content."""
    episodes: Count = 16_000
    learning_rate: Positive = 2e-4
    """Initial learning rate of Adam. With --preset paper by default 3e-5 for the cores without plasticity."""
    decay_episodes: CountOrNone = 16_000
    """Episodes over which the learning rate falls along a cosine to 0; 0 keeps it constant.
    By default as many as --episodes, or 0 with --preset paper."""
    learn_eta: bool = True
    init_alpha: Mean = 0.01
    presentation_steps: Count = 20
    """Steps for which an image is presented."""
    blank_steps: CountOrNone = 3
    cycles: Count = 3
    """Times that each of the three images is presented."""
    test_steps: Count = 3
    """Steps for which a half image is shown."""
    queries: Count = 6
    """Half images at the end of a training episode, one after another."""

    def __post_init__(self) -> None:
        """Check what can be checked without the images, which may have to be downloaded."""
        super().__post_init__()
        object.__setattr__(self, "data_dir", found_from_everywhere(self.data_dir))
        if self.data != "cifar10" and self.data_dir is not None:
            raise UsageError(f"--data-dir is for photographs, not for --data {self.data}: leave one of them out")

    @classmethod
    def presets(cls) -> dict[str, "Images"]:
        """Return the presets by name, the default first."""
        return PRESETS

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """The tuned learning rate falls over the whole run; the paper's is lower for networks without plasticity."""
        rule = cls.adapted_rule(chosen)
        if chosen.preset == "tuned":
            return {"decay_episodes": chosen.episodes} | rule
        return rule if chosen.core in PLASTIC_CORES else {"learning_rate": 3e-5}

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of the task."""
        return self.pick("presentation_steps", "blank_steps", "cycles", "test_steps", "queries")


PRESETS = {
    "tuned": Images(),
    "paper": Images(
        preset="paper", episodes=40_000, learning_rate=1e-4, decay_episodes=0, init_alpha=0.0, queries=1,
    ),
}  # fmt: skip

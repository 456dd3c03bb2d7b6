"""Settings of ``memorize``."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plastic_rl.choices import PLASTIC_CORES, Drive
from plastic_rl.settings.base import Count, CountOrNone, Fraction, Positive
from plastic_rl.settings.tasks import CompletionRun, Mean


@dataclass(frozen=True, kw_only=True)
class Memorize(CompletionRun):
    """Train a plastic network to memorize patterns of bits shown a few times, and to complete them from a part."""

    command: ClassVar[str] = "memorize"
    sizes: ClassVar[tuple[str, ...]] = ("bits", "hidden_size")
    leading: ClassVar[tuple[str, ...]] = ("preset", "core", "modulation")

    preset: Literal["paper", "comparison"] = "paper"
    """Where the defaults come from: the paper's main experiment (section 4.1), or its comparison with controls (4.2).
    Add --help to --preset comparison to see its defaults."""
    episodes: Count = 200
    learning_rate: Positive = 1e-3
    """Learning rate of Adam. By default 3e-5 for the cores without plasticity."""
    decay_episodes: CountOrNone = 0
    learn_eta: bool = False  # eta stays at its initial value, unlike in the other tasks
    init_alpha: Mean = 0.0
    patterns: Count = 5
    """Patterns in an episode."""
    bits: Count = 1000
    """Bits in a pattern."""
    presentation_steps: Count = 10
    blank_steps: CountOrNone = 3
    cycles: Count = 3
    test_steps: Count = 10
    erased: Fraction = 0.5
    """Fraction of a pattern's bits that are erased in the test."""
    drive: Drive = "clamp"
    """How bits drive the neurons: clamp sets their outputs to the bits, add adds 20 times the bits to their inputs."""

    @classmethod
    def presets(cls) -> dict[str, "Memorize"]:
        """Return the presets by name, the default first."""
        return PRESETS

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """Networks without plasticity learn more slowly; in the comparison they are also larger."""
        if chosen.core in PLASTIC_CORES:
            return cls.adapted_rule(chosen)
        return {"learning_rate": 3e-5} | ({"hidden_size": 2050} if chosen.preset == "comparison" else {})

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of the task."""
        return self.pick(
            "patterns", "bits", "presentation_steps", "blank_steps", "cycles", "test_steps", "erased", "drive"
        )


PRESETS = {
    "paper": Memorize(),
    "comparison": Memorize(
        preset="comparison", episodes=2000, learning_rate=3e-4, patterns=2, bits=50, presentation_steps=3,
        blank_steps=1, cycles=1, test_steps=3,
    ),
}  # fmt: skip

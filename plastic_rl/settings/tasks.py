"""Settings that the supervised tasks share."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from plastic_rl.checks import finite_number
from plastic_rl.choices import Alpha, CompletionCore, RuleName, without_effect
from plastic_rl.settings.base import (
    POSITIVE,
    Bound,
    Count,
    CountOrNone,
    Fraction,
    ModulationSettings,
    Positive,
    Run,
    Weight,
    at_least,
    names_of,
    unset,
    within,
)

Mean = Annotated[float, within(-1e30, 1e30)]


@dataclass(frozen=True, kw_only=True)
class TaskRun(Run):
    """Settings of a training on any supervised task."""

    length: ClassVar[str] = "episodes"
    sizes: ClassVar[tuple[str, ...]]  # the settings that make the network smaller, besides the batch size

    eval_episodes: Count = 50
    """Fresh episodes that the trained network is tested on."""
    rule: RuleName = "hebb"
    """Plasticity rule."""
    alpha: Alpha = "connection"
    """Plasticity coefficients: one per connection, one per neuron, or one shared by all connections."""
    eta: Fraction = 0.01
    """Learning rate of the trace; its initial value if it is trained."""
    bound: Weight = 1.0
    """The rule clip keeps the trace between -bound and bound."""
    learn_eta: bool
    """Train eta too."""

    episodes: Count
    """Training episodes of the whole run, rounded up to whole batches."""
    batch_size: Count = 1
    """Episodes in an update."""
    learning_rate: Positive
    """Initial learning rate of Adam."""
    decay_episodes: CountOrNone
    """Episodes over which the learning rate falls along a cosine to 0; 0 keeps it constant."""
    max_grad_norm: Annotated[float | None, POSITIVE, unset("no limit")] = None
    """Largest norm of the gradient; larger gradients are scaled down to it."""

    def core_settings(self) -> dict[str, Any]:
        """Return the settings of the core that it uses."""
        return self._used("core", "rule", "alpha", "eta", "learn_eta", "bound")

    def _used(self, *names: str, modulation: str | None = None) -> dict[str, Any]:
        unused = without_effect(self.core, modulation)
        return self.pick(*(name for name in names if name not in unused))

    def facts(self) -> dict[str, Any]:
        """Return what summary.json and the table of results say about the settings."""
        return {}

    @property
    def title(self) -> str:
        """Title of the learning curve."""
        return f"{self.command}, {self.core} core, seed {self.seed}"

    def trainer_settings(self) -> dict[str, Any]:
        """Return the settings of the trainer."""
        return self.pick(
            "batch_size", "learning_rate", "decay_episodes", "max_grad_norm", "seed", "checkpoint_every", "tensorboard"
        )

    def task_settings(self) -> dict[str, Any]:
        """Return the settings of the task."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CompletionRun(ModulationSettings, TaskRun):
    """Settings of a training on a completion task."""

    core: CompletionCore = "plastic"
    """Recurrent core of the network; rnn, lstm and gru are the controls without plasticity."""
    hidden_size: Annotated[int | None, at_least(1), unset("one per bit or pixel, and one for the bias")] = None
    """Neurons in the core."""
    init_scale: Annotated[float, Bound(partial(finite_number, low=0.0, high=1e30))] = 0.01
    """Standard deviation of the initial weights and plasticity coefficients; lstm has its own."""
    init_alpha: Mean
    """Mean of the initial plasticity coefficients."""
    presentation_steps: Count
    """Steps for which a pattern is presented."""
    blank_steps: CountOrNone
    """Steps after each presentation in which nothing is shown."""
    cycles: Count
    """Times that every pattern is presented."""
    test_steps: Count
    """Steps for which the incomplete pattern is shown."""

    def core_settings(self) -> dict[str, Any]:
        """Return the settings of the core that it uses."""
        names = ("hidden_size", "init_scale", "init_alpha", *names_of(ModulationSettings))
        return super().core_settings() | self._used(*names, modulation=self.modulation)


def found_from_everywhere(folder: Path | None) -> Path | None:
    """Return a dataset's folder as an absolute path, so that a run finds it from any working directory."""
    return None if folder is None else folder.expanduser().absolute()

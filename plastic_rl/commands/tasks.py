"""The commands ``memorize``, ``images`` and ``omniglot``: train a network on a supervised task."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from plastic_rl.commands import lifecycle
from plastic_rl.errors import UsageError, invocation, option
from plastic_rl.evaluation.networks import as_table, assess_parts, draw_episodes, flat
from plastic_rl.figures.curves import learning_curve
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.runs.folder import CURVE, EPISODES, RunFolder
from plastic_rl.runs.networks import make
from plastic_rl.settings import Omniglot, TaskRun
from plastic_rl.tasks import Task
from plastic_rl.text import number
from plastic_rl.training.machine import cores, keep_freed_memory
from plastic_rl.training.session import Interruption
from plastic_rl.training.trainer import RECENT, Trainer


def train(config: TaskRun, run: RunFolder | None = None) -> None:
    """Train a network: a new one, or that of a run which is resumed."""
    _check_length(config)
    keep_freed_memory()
    threads = config.threads or cores()
    torch.set_num_threads(threads)
    set_num_threads(threads)
    sizes = ", ".join(map(option, config.sizes))
    memory = f"this network and batch: try smaller {sizes} or --batch-size"

    @contextmanager
    def prepare(new: bool) -> Iterator[NetworkTraining]:
        yield NetworkTraining(config, *make(config))

    lifecycle.train(config, run, memory, prepare)


def _check_length(config: TaskRun) -> None:
    """Check that every episode can train something.

    Raises:
        UsageError: the learning rate is 0 before the end.
    """
    if config.decay_episodes and config.episodes > config.decay_episodes:
        advice = "start a new run" if config.resume is not None else f"give --decay-episodes {config.episodes}"
        raise UsageError(
            f"--episodes is {config.episodes}: the learning rate falls to 0 within {config.decay_episodes}, and later "
            f"episodes would change nothing: {advice}"
        )


class NetworkTraining:
    """Training of a network on a task; see ``lifecycle.Training``."""

    def __init__(self, config: TaskRun, task: Task, network: nn.Module) -> None:
        self.config, self.task, self.network = config, task, network
        self.batch, self.limit = config.batch_size, config.decay_episodes

    @property
    def done(self) -> int:
        """Episodes so far."""
        return self.trainer.episodes

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.trainer.seconds

    @property
    def description(self) -> str:
        """What is trained."""
        return f"{count_parameters(self.network):,} parameters"

    def open(self, run: RunFolder, interruption: Interruption) -> None:
        """Get ready to train into a run folder."""
        self.run = run
        settings = self.config.trainer_settings()
        self.trainer = Trainer(self.task, self.network, run.path, interruption=interruption, **settings)

    def restore(self) -> None:
        """Continue from the checkpoint in the folder."""
        self.trainer.restore()

    def write_config(self) -> None:
        """Write the run's config.json."""
        self.run.write_config(self.config)

    def train(self, total: int) -> int:
        """Train until ``total`` episodes are done or a signal comes; return the episodes at the last checkpoint."""
        self.trainer.train(total)
        return self.trainer.episodes

    def finish(self) -> lifecycle.Outcome:
        """Test the best weights, and draw the learning curve and some episodes."""
        config, trainer, network, path = self.config, self.trainer, self.network, self.run.path
        kept = trainer.use_best()
        if kept != trainer.episodes:
            print(f"the weights after {kept} episodes were best in validation, and are kept", flush=True)
        results = assess_parts(self.task, network, config.eval_episodes, config.seed)
        rows = trainer.metrics.rows()
        self._draw_curve(rows)
        draw_episodes(path / EPISODES, self.task, network, config.seed)
        course = self.task.course(rows)
        summary = {
            "episodes": trainer.episodes,
            "train_seconds": trainer.seconds,
            **({"kept_episodes": kept} if trainer.best else {}),
            "episodes_per_second": trainer.episodes / trainer.seconds,
            **flat(results),
            **course,
            "eval_episodes": config.eval_episodes,
            "parameters": count_parameters(network),
            "core": config.core,
            **config.facts(),
            "seed": config.seed,
            "threads": get_num_threads(),
        }
        lines = {name.replace("_", " "): "never" if value is None else number(value) for name, value in course.items()}
        lines["learning curve"] = str(path / CURVE)
        if (path / EPISODES).exists():  # not every task draws its episodes
            lines["episodes"] = str(path / EPISODES)
        lines["test it further"] = invocation("evaluate", self.run)
        tested = f"{config.eval_episodes} fresh episodes{source(config)}"
        return lifecycle.Outcome(summary, tested, as_table(results), lines)

    def _draw_curve(self, rows: list[dict[str, float]]) -> None:
        """Draw the curve of validation, or of training where there is none."""
        trainer, path, title = self.trainer, self.run.path / CURVE, self.config.title
        name = trainer.headline.replace("_", " ")
        column = f"validation_{trainer.headline}"
        found = {row["episodes"]: row[column] for row in rows if column in row}
        if trainer.last_validation is not None:  # metrics.csv may have no row of it
            found[trainer.last_validation["episodes"]] = trainer.last_validation[column]
        if found:
            points = np.array(list(found)), np.array(list(found.values()))
            learning_curve(path, *points, title, ("episodes", f"{name} in validation"), {})
            return
        values = np.array([row[trainer.headline] for row in rows])
        window = max(1, min(RECENT, len(values) // 10))  # a longer one would hide how training begins
        x = np.array([row["episodes"] for row in rows])[window - 1 :]
        y = np.convolve(values, np.full(window, 1 / window), "valid")
        label = f"{name}, mean of {window} updates" if window > 1 else name
        learning_curve(path, x, y, title, ("episodes", label), self.task.levels)


def source(config: TaskRun) -> str:
    """Return the data and the kind of episodes that results are of, where that has to be said."""
    if not isinstance(config, Omniglot):
        return ""
    return f" of {config.facts()['data']}, split {config.split_name}, {config.way}-way {config.shot}-shot"

"""The life of a run, for agents and networks alike: begin or resume it, train, test, and summarize."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from plastic_rl.errors import DivergenceError, FaultyEnvironmentError, UsageError, UserError
from plastic_rl.ops import get_num_threads
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import AgentRun, TaskRun
from plastic_rl.text import duration, number
from plastic_rl.training.machine import check_device, check_tensorboard
from plastic_rl.training.session import Interruption, session


class Outcome(NamedTuple):
    """What a finished run has to show.

    Attributes:
        summary: content of summary.json.
        tested: on what it was tested, for the line above the table.
        table: results of the test.
        lines: what is printed below the table, by label: further results, files, what to do next.
    """

    summary: dict[str, Any]
    tested: str
    table: str
    lines: dict[str, str]


class Training(Protocol):
    """What is trained in a run, and how: an agent in an environment, or a network on a task.

    Attributes:
        batch: units in an update; the length of a training is rounded up to whole updates.
        limit: units after which the learning rate is 0, or 0 if there is no such limit.
    """

    batch: int
    limit: int

    @property
    def done(self) -> int:
        """Units, such as steps, that were trained so far."""

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""

    @property
    def description(self) -> str:
        """What is trained, for the first line of the output."""

    def open(self, run: RunFolder, interruption: Interruption) -> None:
        """Get ready to train into a run folder."""

    def restore(self) -> None:
        """Continue from the checkpoint in the folder.

        Raises:
            UserError: there is no checkpoint, or it is damaged or of another run.
        """

    def write_config(self) -> None:
        """Write the run's config.json."""

    def train(self, total: int) -> int:
        """Train until ``total`` units are done or a signal comes; return the units done at the last checkpoint.

        Raises:
            DivergenceError: training diverged; the last good checkpoint stays.
        """

    def finish(self) -> Outcome:
        """Test what was trained, and draw it."""


def train(
    config: AgentRun | TaskRun,
    kept: RunFolder | None,
    memory: str,
    prepare: Callable[[bool], AbstractContextManager[Training]],
) -> None:
    """Begin a run or resume one, train, test, and summarize.

    Args:
        config: settings of the run.
        kept: the run to resume; None: a new one.
        memory: what needs memory, and what to do if there is not enough.
        prepare: makes what is trained; its argument says whether it is new, or will be restored.

    Raises:
        UserError: the run cannot be begun or resumed, or training diverged.
        SystemExit: a signal came.
    """
    check_device(config.device)
    if config.tensorboard:
        check_tensorboard()
    total: int = getattr(config, config.length)
    with session(config.command, memory) as this:
        if kept is not None:
            this.claim(kept)
        resumed = kept is not None and kept.has_progress  # it may have been stopped before its first checkpoint
        with prepare(not resumed) as training:
            run = kept or RunFolder.create(config.out, config.command)
            if kept is None:
                this.claim(run)
            training.open(run, this.interruption)
            if resumed:
                training.restore()
                _check_total(config, run, training, total)
            training.write_config()
            print(f"{run}: {training.description}, {get_num_threads()} threads", flush=True)
            unit = config.length.removesuffix("s")
            if training.done:
                print(f"resuming at {unit} {training.done}", flush=True)
            if training.done < total:
                this.interruption.patient = True
                try:
                    saved = training.train(total)
                except (DivergenceError, FaultyEnvironmentError) as error:
                    raise UserError(f"{error}. The last good checkpoint is kept in {run}") from error
                this.stop(f"{unit} {saved} of {total}")
            _finish(config, run, training)


def _check_total(config: AgentRun | TaskRun, run: RunFolder, training: Training, total: int) -> None:
    """Check that there is something left to do for a run that is resumed.

    Raises:
        UsageError: it is finished, or is to end before the point it has reached.
    """
    units, done = config.length, training.done
    if done >= total and run.is_finished:
        if training.limit and done >= training.limit:
            advice = "its learning rate has fallen to 0, start a new run"
        else:
            example = min(2 * done, training.limit or 2 * done)
            advice = f"to continue it, give a larger number, --{units} {example} for example"
        raise UsageError(f"{run} has finished its {done} {units}: {advice}")
    if done - total >= training.batch:
        raise UsageError(
            f"--{units} is {total}, but {run} has done {done} already: give the total number, "
            f"--{units} {done + total} for example"
        )


def _finish(config: AgentRun | TaskRun, run: RunFolder, training: Training) -> None:
    done, seconds, units = training.done, training.seconds, config.length
    print(f"\ntrained {done:,} {units} in {duration(seconds)}, {number(done / seconds)} {units}/s", flush=True)
    outcome = training.finish()
    run.write_summary(outcome.summary)
    print(f"tested on {outcome.tested}:\n\n{outcome.table}\n")
    width = max(map(len, outcome.lines)) + 3
    for label, text in outcome.lines.items():
        print(f"{label + ':':<{width}}{text}")

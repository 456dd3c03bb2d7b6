"""A training at work, whatever it trains: signals, progress, the machine, and going on with a run."""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from plastic_rl.errors import UsageError, UserError, invocation
from plastic_rl.runs.folder import CONFIG, claimed
from plastic_rl.text import duration, number

# What PyTorch says in a RuntimeError when there is not enough memory, or could never be.
NO_MEMORY = ("allocate memory", "out of memory", "size calculation overflowed")


class Interruption:
    """Ctrl-C, SIGTERM and a closed terminal.

    While it is patient, the first only leaves its number, for the update in hand to end.
    """

    def __init__(self) -> None:
        self.number = 0
        self.patient = False

    def __enter__(self) -> "Interruption":
        caught = [signal.SIGINT, signal.SIGTERM]
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as nohup leaves it
            caught.append(hangup)
        self._handlers = {which: signal.signal(which, self._receive) for which in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self._handlers.items():
            signal.signal(which, handler)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Obey a first signal that comes meanwhile only afterwards."""
        self.patient = True
        yield
        self.patient = False
        if self.number:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        at_once = self.number or not self.patient
        self.number = number
        if at_once:
            raise KeyboardInterrupt


class Session:
    """A command that trains into a run folder; its last words tell how to go on.

    Attributes:
        command: its name.
        interruption: which signal came.
        folder: the run folder, once it is known; from then on no other process can train into it.
    """

    def __init__(self, command: str, interruption: Interruption, claims: ExitStack) -> None:
        self.command, self.interruption, self._claims = command, interruption, claims
        self._folder: Path | None = None

    @property
    def folder(self) -> Path | None:
        """See the class."""
        return self._folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        if folder is not None:
            self._claims.enter_context(claimed(folder))
        self._folder = folder

    def stop(self, done: str) -> None:
        """End the program if a signal came, having kept what is done."""
        self.interruption.patient = False
        if self.interruption.number:
            print(f"stopped at {done}; go on with: {invocation(self.command, '--resume', self.folder)}")
            raise SystemExit(128 + self.interruption.number)


@contextmanager
def session(command: str, memory: str) -> Iterator[Session]:
    """Catch signals and a lack of memory; ``memory`` says what takes it and what to do.

    Raises:
        SystemExit: a signal was to be obeyed at once.
        UserError: there is not enough memory, or another process trains into the same run folder.
    """
    with Interruption() as interruption, ExitStack() as claims:
        this = Session(command, interruption, claims)
        try:
            yield this
        except KeyboardInterrupt:
            if this.folder is not None and (this.folder / CONFIG).exists():
                print(f"\nstopped; go on from the last checkpoint: {invocation(command, '--resume', this.folder)}")
            raise SystemExit(128 + interruption.number) from None
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
                raise UserError(f"there is not enough memory for {memory}") from error
            raise


def check_machine(config: Any) -> None:
    """Check that ``config.device`` can be used, and that the package for ``config.tensorboard`` is there.

    Raises:
        UsageError: the device cannot be used.
        UserError: the package is missing.
    """
    try:
        torch.ones(1, device=config.device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {config.device} cannot be used on this machine; --device cpu can") from error
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError('--tensorboard needs another package: pip install "plastic-rl[tensorboard]"')


def check_not_shorter(unit: str, asked: int, folder: Path, done: int, update: int) -> None:
    """Check that a run is not to end before where it is; lengths are rounded up to whole updates of so many.

    Raises:
        UsageError: it is.
    """
    if done - asked >= update:
        raise UsageError(
            f"--{unit} is {asked}, but {folder} has done {done} already: give the number in all, "
            f"--{unit} {done + asked} for example"
        )


def thread_count(config: Any) -> int:
    """Return how many threads ``config.threads`` asks for."""
    return config.threads or cores()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Progress:
    """A bar at a terminal; elsewhere, plain lines.

    Args:
        unit: what is counted, such as ``steps``.
        total: at how many of them training ends.
        done: how many are done already.
    """

    def __init__(self, unit: str, total: int, done: int) -> None:
        self.unit, self.total = unit, total
        self.plain = not sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            unit_scale=True,
            disable=self.plain,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt} " + unit
            + ", {rate_fmt}{postfix}, {remaining} left",
        )  # fmt: skip

    def show(self, done: int) -> None:
        """Bring the bar to what is done."""
        self._bar.update(min(done, self.total) - self._bar.n)

    def tell(self, done: int, what: str, value: str, rate: float) -> None:
        """Tell a value and the speed: beside the bar, or on a line."""
        self._bar.set_postfix_str(f"{what} {value}", refresh=False)
        if self.plain:
            left = max(0.0, (self.total - done) / rate)
            print(
                f"{number(done):>6} of {number(self.total)} {self.unit}   {what} {value:>6}   "
                f"{number(rate):>6} {self.unit}/s   {duration(left)} left",
                flush=True,
            )

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

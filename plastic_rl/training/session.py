"""What every training needs, whatever it trains: signals, an answer to a lack of memory, and progress."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from tqdm import tqdm

from plastic_rl.errors import UserError, invocation
from plastic_rl.runs.folder import RunFolder
from plastic_rl.text import duration, number

# In the RuntimeErrors that PyTorch raises when there is not enough memory, or could never be.
NO_MEMORY = ("allocate memory", "out of memory", "size calculation overflowed")


class Interruption:
    """Catches Ctrl-C, SIGTERM and a closed terminal.

    Attributes:
        number: of the signal that came; 0: none.
        patient: whether a first signal only sets ``number``, so that the current update can end. A second signal, and
            a first one while this is False, raises KeyboardInterrupt at once.
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
        """Delay a first signal until the end of the block."""
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
    """A command that trains into a run folder.

    Attributes:
        command: its name.
        interruption: which signal came.
        run: the run folder, once it is claimed.
    """

    def __init__(self, command: str, interruption: Interruption, claims: ExitStack) -> None:
        self.command, self.interruption, self._claims = command, interruption, claims
        self.run: RunFolder | None = None

    def claim(self, run: RunFolder) -> None:
        """Take a run folder, into which no other process can train until the session ends.

        Raises:
            UserError: another process trains into it.
        """
        self._claims.enter_context(run.claim())
        self.run = run

    def stop(self, done: str) -> None:
        """End the program if a signal came; ``done`` says how far the checkpoint is."""
        self.interruption.patient = False
        if self.interruption.number:
            print(f"stopped at {done}; resume with: {invocation(self.command, '--resume', self.run)}")
            raise SystemExit(128 + self.interruption.number)


@contextmanager
def session(command: str, memory: str) -> Iterator[Session]:
    """Catch signals and a lack of memory; ``memory`` says what needs it, and what to do.

    Raises:
        SystemExit: a signal was to be obeyed at once.
        UserError: there is not enough memory, or another process trains into the same run folder.
    """
    with Interruption() as interruption, ExitStack() as claims:
        this = Session(command, interruption, claims)
        try:
            yield this
        except KeyboardInterrupt:
            if this.run is not None and this.run.is_run:
                again = invocation(command, "--resume", this.run)
                print(f"\nstopped; resume from the last checkpoint with: {again}")
            raise SystemExit(128 + interruption.number) from None
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
                raise UserError(f"there is not enough memory for {memory}") from error
            raise


class Progress:
    """Progress of a training: a bar at a terminal, plain lines elsewhere.

    Args:
        unit: what is counted, such as ``steps``.
        total: their number when training ends.
        done: their number so far.
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
        """Move the bar to ``done``."""
        self._bar.update(min(done, self.total) - self._bar.n)

    def report(self, done: int, what: str, value: str, rate: float) -> None:
        """Show a value, and the speed in units per second: beside the bar, or on a line."""
        self._bar.set_postfix_str(f"{what} {value}", refresh=False)
        if self.plain:
            left = max(0.0, (self.total - done) / rate)
            print(
                f"{number(done):>6} of {number(self.total)} {self.unit}   {what} {value:>6}   "
                f"{number(rate):>6} {self.unit}/s   {duration(left)} left",
                flush=True,
            )

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()

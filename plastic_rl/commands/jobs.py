"""Many runs side by side, each in a process of its own with one thread: what ``compare`` and benchmarks are made of."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from plastic_rl.errors import UserError
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import RunT
from plastic_rl.text import duration
from plastic_rl.training.session import Interruption


@dataclass(frozen=True)
class Job(Generic[RunT]):
    """One run of many: the group that it belongs to, its settings, and its folder."""

    group: str
    config: RunT
    run: RunFolder

    def __str__(self) -> str:
        return f"{self.group}, seed {self.config.seed}"

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.run.path.with_suffix(".log")

    def start(self) -> subprocess.Popen[bytes]:
        """Begin or resume the run, in a process of its own."""
        words = ["--resume", str(self.run)]
        if not self.run.is_run:
            words = ["--out", str(self.run), *self.config.to_words()]
        self.run.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "plastic_rl.cli", self.config.command, *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches it through this process only, and not twice
            )

    def last_line(self) -> str:
        """Return the last line of its output."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


def train_all(jobs: Sequence[Job[RunT]], at_a_time: int, result: Callable[[Job[RunT]], str]) -> list[Job[RunT]]:
    """Train those runs that are not finished yet, and say on the way how each ended.

    Args:
        jobs: the runs, in the order in which they are to begin.
        at_a_time: runs side by side.
        result: says in a few words what a finished run reached.

    Returns:
        Those that failed. Their output is in their logs.

    Raises:
        SystemExit: a signal, such as Ctrl-C, stopped them. Each keeps a checkpoint, from which it goes on next time.
    """
    waiting = [job for job in jobs if not job.run.is_finished]
    with Interruption() as interruption:
        try:
            return _train(waiting, at_a_time, result, interruption)
        except KeyboardInterrupt:
            print("stopped; to continue, give the same command again")
            raise SystemExit(128 + interruption.number) from None


def check_finished(failed: Sequence[Job[Any]], count: int) -> None:
    """Check that all of ``count`` runs were finished.

    Raises:
        UserError: some failed.
    """
    if failed:
        logs = ", ".join(str(job.log) for job in failed)
        raise UserError(f"{len(failed)} of {count} runs failed: see {logs}")


def _train(
    waiting: Sequence[Job[RunT]], at_a_time: int, result: Callable[[Job[RunT]], str], interruption: Interruption
) -> list[Job[RunT]]:
    left = list(reversed(waiting))
    running: dict[subprocess.Popen[bytes], Job[RunT]] = {}
    failed = []
    began, done = time.perf_counter(), 0
    try:
        while left or running:
            while left and len(running) < at_a_time:
                job = left.pop()
                with interruption.held_back():  # or a process could be started that nobody ends
                    running[job.start()] = job
                print(f"{job}: begun", flush=True)
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                job = running.pop(process)
                if not job.run.is_finished:
                    failed.append(job)
                    print(f"{job}: failed: {job.last_line()}", flush=True)
                    continue
                done += 1
                remaining = (time.perf_counter() - began) / done * (len(waiting) - done)
                print(f"{job}: {result(job)}; {duration(remaining)} left", flush=True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return failed

"""Run folders: what every training leaves on disk, consistent at any moment.

config.json          the command, every setting, versions of packages
metrics.csv          a row per log point; a resumed run drops the rows after its checkpoint
checkpoint.*         everything that an exact continuation needs
model.safetensors    the weights, and after how many steps or episodes they were kept
summary.json         flat results, once the run is finished
curve.png            the learning curve, once the run is finished
lifetime.gif         of an agent: one lifetime, once the run is finished
episodes.png         of a network: a few episodes, once the run is finished

Every file is replaced as a whole. Only metrics.csv grows line by line; a line that a crash cut short is not read.
"""

import itertools
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from plastic_rl.errors import UsageError, UserError, invocation
from plastic_rl.files import DamagedFileError, read_json, read_weights, weights_to_bytes, write_atomically, write_json
from plastic_rl.runs.metrics import MetricsFile

if TYPE_CHECKING:  # the trainer does without the command line and its settings
    from plastic_rl.settings import Run, RunT

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CONFIG, METRICS, MODEL, SUMMARY = "config.json", "metrics.csv", "model.safetensors", "summary.json"
CURVE, LIFETIME, EPISODES = "curve.png", "lifetime.gif", "episodes.png"
AGENT_CHECKPOINT, NETWORK_CHECKPOINT = "checkpoint.zip", "checkpoint.pt"
RESULTS = (SUMMARY, CURVE, LIFETIME, EPISODES)  # of a finished run
FILES = (CONFIG, METRICS, MODEL, AGENT_CHECKPOINT, NETWORK_CHECKPOINT, *RESULTS)
PACKAGES = ("plastic-rl", "torch", "numpy", "gymnasium", "stable-baselines3", "numba")


class RunFolder:
    """The folder of one run. It need not exist: every method says what it needs.

    config.json is read once, when it is first asked for.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._config: dict[str, Any] | None = None

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def create(cls, path: Path | None, command: str) -> "RunFolder":
        """Make a new run folder at ``path``; None: one under runs/, named after the command and the time.

        Raises:
            UsageError: the folder is not empty.
            UserError: the folder cannot be made or written to.
        """
        path = path or _new_path(command)
        make_folder(path, "--out")
        try:
            # Hidden files do not count: they are leftovers of a killed process, or the system's own.
            if any(not file.name.startswith(".") for file in path.iterdir()):
                if not (path / CONFIG).exists():
                    raise UsageError(f"--out {path} is not empty: name a new folder")
                again = invocation(command, "--resume", path)
                raise UsageError(f"--out {path} holds another run: name a new folder, or resume that run: {again}")
            (path / ".writable").touch()
            (path / ".writable").unlink()
        except OSError as error:
            raise UserError(f"--out {path} cannot be written to: {error.strerror}; name another folder") from error
        return cls(path)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other processes from training into this folder. A claim ends with its process, however that ends.

        It has no effect on systems and network drives that cannot lock a folder.

        Raises:
            UserError: another process has claimed the folder.
        """
        if fcntl is None:
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{self} is in use: another process trains into it; stop it, or wait until it ends"
                ) from error
            except OSError:
                pass
            yield
        finally:
            os.close(handle)

    @property
    def is_run(self) -> bool:
        """Whether a run was begun here: from then on, it can be resumed."""
        return (self.path / CONFIG).exists()

    @property
    def has_progress(self) -> bool:
        """Whether the run has a checkpoint, or must have had one."""
        return any((self.path / name).exists() for name in (AGENT_CHECKPOINT, NETWORK_CHECKPOINT, METRICS))

    @property
    def is_finished(self) -> bool:
        """Whether the run was trained to its end and tested."""
        return (self.path / SUMMARY).exists()

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json.

        Raises:
            UserError: there is no such folder, it is not a run, or the file is damaged.
        """
        if self._config is None:
            self._config = self._read_config()
        return self._config

    @property
    def command(self) -> str:
        """The command that began the run; errors as for ``config``."""
        command: str = self.config["command"]
        return command

    def _read_config(self) -> dict[str, Any]:
        if not self.path.is_dir():
            raise UserError(f"there is no folder {self}: expected the folder of a run")
        path = self.path / CONFIG
        try:
            config = read_json(path.read_bytes(), str(path))
        except FileNotFoundError as error:
            raise UserError(f"{self} is not a run folder: it has no {CONFIG}") from error
        except DamagedFileError as error:
            raise UserError(f"{error}; the file is damaged") from error
        if not isinstance(config.get("run"), dict) or not isinstance(config.get("command"), str):
            raise UserError(f"{path} does not describe a run of this package")
        return config

    def write_config(self, settings: "Run", **more: Any) -> None:
        """Write config.json: the command, its settings, whatever ``more`` is given, and the versions of packages."""
        content = {"command": settings.command, "run": settings.to_json(), **more, "versions": versions()}
        write_json(self.path / CONFIG, content)
        self._config = content

    def settings(self, *kinds: "type[RunT]") -> "RunT":
        """Return the run's settings, of one of these kinds.

        Raises:
            UserError: as for ``config``; or the run is of another command, or a setting is unknown to this version.
        """
        known = {kind.command: kind for kind in kinds}
        self.check_command(*known)
        try:
            return known[self.command].from_json(self.config["run"])
        except (ValueError, UsageError) as error:
            raise UserError(
                f"{self.path / CONFIG} is damaged, or of another version of this package: {error}"
            ) from error

    def check_command(self, *expected: str) -> None:
        """Check that the run is of one of these commands.

        Raises:
            UserError: it is of another command.
        """
        if self.command not in expected:
            example = self.path / "plastic/seed-0"
            hint = f"; its runs lie in it, {example} for example" if self.command == "compare" else ""
            raise UserError(f"{self} is a run of {self.command}: expected a run of {' or '.join(expected)}{hint}")

    def write_model(self, weights: Mapping[str, Any], unit: str, done: int) -> None:
        """Write model.safetensors: the weights, and after how many of a unit, such as steps, they were kept."""
        tensors = {name: t for name, t in weights.items() if isinstance(t, Tensor)}  # checkpoints keep anything else
        write_atomically(self.path / MODEL, weights_to_bytes(tensors, {unit: str(done)}))

    def read_model(self, unit: str) -> tuple[dict[str, Tensor], int]:
        """Return what ``write_model`` wrote: the weights, and after how many of a unit they were kept.

        Raises:
            UserError: there is no model yet.
            DamagedFileError: the file is damaged.
        """
        try:
            content = (self.path / MODEL).read_bytes()
        except FileNotFoundError as error:
            raise UserError(f"{self} has no model yet: {MODEL} is missing") from error
        weights = read_weights(content, str(self.path / MODEL))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # valid, since the weights are
        done = header.get("__metadata__", {}).get(unit, "0")
        return weights, int(done) if done.isdecimal() else 0

    def metrics(self, columns: Sequence[str] = ()) -> MetricsFile:
        """Return metrics.csv; the columns are needed for writing only."""
        return MetricsFile(self.path / METRICS, columns)

    def summary(self) -> dict[str, Any]:
        """Return the results of a finished run.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / SUMMARY
        try:
            return read_json(path.read_bytes(), str(path))
        except DamagedFileError as error:
            raise UserError(f"{error}: remove it, and it will be written again") from error

    def write_summary(self, content: Mapping[str, Any]) -> None:
        """Write summary.json, which makes the run a finished one."""
        write_json(self.path / SUMMARY, content)

    def clear_leftovers(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote."""
        for name in FILES:
            for path in self.path.glob(f".{name}*"):
                path.unlink(missing_ok=True)

    def drop_results(self) -> None:
        """Remove the results of a shorter run, which is now trained further."""
        for name in RESULTS:
            (self.path / name).unlink(missing_ok=True)


def make_folder(path: Path, option: str) -> None:
    """Make a folder and its parents; ``option`` is what the user gave it with.

    Raises:
        UserError: the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_place = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = "a file is in its place" if in_place else error.strerror
        raise UserError(f"{option}: the folder {path} cannot be made: {reason}; name another") from error


def check_no_run(path: Path) -> None:
    """Check that results written to a folder do not replace those of a run.

    Raises:
        UsageError: the folder holds a run.
    """
    if RunFolder(path).is_run:
        raise UsageError(f"--out {path} holds a run, whose files would be lost: name another folder")


def versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _new_path(command: str) -> Path:
    """Make and return a folder under runs/ that no other process has made, or is making at this moment."""
    stamp = Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    for path in itertools.chain([stamp], (Path(f"{stamp}-{k}") for k in itertools.count(2))):
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError:
            return path  # ``make_folder`` will say why it cannot be made
    raise AssertionError("unreachable: there are endlessly many names")

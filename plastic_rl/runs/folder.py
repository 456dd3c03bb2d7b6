"""Run folders: what every training leaves on disk, whole at any moment.

config.json          the command, every setting, package versions
metrics.csv          a row per log point; those after the checkpoint are dropped when the run goes on
checkpoint.*         all that an exact continuation needs
model.safetensors    the weights, and after how many steps or episodes they were kept
summary.json         flat results, once the run is finished
curve.png            the learning curve, once the run is finished

Every file is put in its place whole. metrics.csv grows by lines, and a line cut short by a crash is not read.
"""

import csv
import io
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
from plastic_rl.files import DamagedFileError, read_json, read_weights, weights_to_bytes, write_atomically

if TYPE_CHECKING:  # the settings are those of the command line, which the trainer does without
    from plastic_rl.settings import RunT

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CONFIG, METRICS, MODEL, SUMMARY, CURVE = (
    "config.json", "metrics.csv", "model.safetensors", "summary.json", "curve.png",
)  # fmt: skip
FILES = (CONFIG, METRICS, MODEL, SUMMARY, CURVE)
TRAINED = Path(__file__).parents[1] / "trained"  # the run folders that come with the package
PACKAGES = ("plastic-rl", "torch", "numpy", "gymnasium", "stable-baselines3", "numba")


def create(folder: Path | None, name: str) -> Path:
    """Make a run folder; without a name, a new one under runs/.

    Raises:
        UsageError: it holds something already.
        UserError: it cannot be made or written to.
    """
    folder = folder or _new(name)
    make_folder(folder, "--out")
    try:
        # Hidden files are no run's: a temporary file that a kill left over, or a system's own.
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            kind = "holds another run" if (folder / CONFIG).exists() else "is not empty"
            hint = f", or go on with it: {invocation(name, '--resume', folder)}" if (folder / CONFIG).exists() else ""
            raise UsageError(f"--out {folder} {kind}: name a new folder{hint}")
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written to: {error.strerror}; name another folder") from error
    return folder


def named(run: Path) -> Path:
    """Return a run folder, or that of this name that comes with the package if there is no such folder."""
    own = TRAINED / run
    return own if len(run.parts) == 1 and own.is_dir() and not run.exists() else run


def evaluation_of(folder: Path) -> Path:
    """Return where results of testing a run go: into it, but not into the package."""
    return Path("evaluation") if folder.parent == TRAINED else folder / "evaluation"


def make_folder(folder: Path, option: str) -> None:
    """Make a folder and those that it is in.

    Raises:
        UserError: that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_place = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = "a file is in its place" if in_place else error.strerror
        raise UserError(f"{option}: the folder {folder} cannot be made: {reason}; name another") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from training into a run folder meanwhile; a claim ends with its process, however that ends.

    Without effect on systems and network drives that cannot lock a folder.

    Raises:
        UserError: another process has claimed it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder} is in use: another process trains into it; stop that, or let it end") from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def check_no_run(folder: Path) -> None:
    """Check that results written to a folder do not replace those of a run.

    Raises:
        UsageError: it holds a run.
    """
    if (folder / CONFIG).exists():
        raise UsageError(f"--out {folder} holds a run, of which files would be lost: name another folder")


def _new(name: str) -> Path:
    """The first of a name's folders that no other process has made, or is making at this moment."""
    for path in _names(name):
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError:
            return path  # ``make_folder`` will tell why it cannot be made
    raise AssertionError("there is no end of names")


def _names(name: str) -> Iterator[Path]:
    stamp = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    yield Path("runs") / stamp
    yield from (Path("runs") / f"{stamp}-{k}" for k in itertools.count(2))


def clear_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Remove the temporary files of a process that was killed while it wrote files of these names."""
    for name in names:
        for path in folder.glob(f".{name}*"):
            path.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's config.json.

    Raises:
        UserError: there is no such folder, or it is not a run, or the file is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: expected the folder of a run")
    try:
        config = read_json((folder / CONFIG).read_bytes(), str(folder / CONFIG))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a run folder: it has no {CONFIG}") from error
    except DamagedFileError as error:
        raise UserError(f"{error}; the file is damaged") from error
    if not isinstance(config.get("run"), dict) or not isinstance(config.get("command"), str):
        raise UserError(f"{folder / CONFIG} does not describe a run of this package")
    return config


def other_run(folder: Path, command: str, *expected: str) -> UserError:
    """Return what to raise for a run of another command than those expected."""
    inside = f"; its runs lie in it, {folder / 'plastic/seed-0'} for example" if command == "compare" else ""
    return UserError(f"{folder} is a run of {command}: expected a run of {' or '.join(expected)}{inside}")


def read_run(folder: Path, *kinds: "type[RunT]") -> "RunT":
    """Read the settings of a run of one of some commands.

    Raises:
        UserError: as ``read_config``, or it is of another command, or a setting is none of this version.
    """
    config = read_config(folder)
    known = {kind.command: kind for kind in kinds}
    if config["command"] not in known:
        raise other_run(folder, config["command"], *known)
    try:
        return known[config["command"]].from_json(config["run"])
    except (ValueError, UsageError) as error:
        raise UserError(f"{folder / CONFIG} is damaged, or of another version of this package: {error}") from error


def write_model(folder: Path, state: Mapping[str, Tensor], unit: str, done: int) -> None:
    """Write model.safetensors: the weights, and after how many of a unit, such as steps, they were kept."""
    weights = {name: t for name, t in state.items() if isinstance(t, Tensor)}  # what else there is, checkpoints keep
    write_atomically(folder / MODEL, weights_to_bytes(weights, {unit: str(done)}))


def read_model(folder: Path, unit: str) -> tuple[dict[str, Tensor], int]:
    """Read what ``write_model`` wrote: the weights, and after how many of a unit they were kept.

    Raises:
        UserError: there is no model yet.
        DamagedFileError: it is damaged.
    """
    try:
        content = (folder / MODEL).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no model yet: {MODEL} is missing") from error
    weights = read_weights(content, str(folder / MODEL))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # valid, for the weights were read
    done = header.get("__metadata__", {}).get(unit, "0")
    return weights, int(done) if done.isdecimal() else 0


class Course:
    """metrics.csv: rows are added whole, and those after a step can be taken back.

    The first column counts what training counts, such as steps.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = folder / METRICS, tuple(columns)

    def rows(self) -> list[dict[str, float]]:
        """Return the rows as numbers; values that are not known yet are left out.

        Raises:
            UserError: the file is damaged.
        """
        try:
            return [{name: float(value) for name, value in row.items() if value} for row in self._texts()]
        except (ValueError, csv.Error) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error

    def _texts(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [row for row in csv.DictReader(whole.splitlines()) if None not in row and None not in row.values()]

    def keep_until(self, done: int) -> None:
        """Drop the rows after a value of the first column, and what a crash left of a line."""
        try:
            kept = [row for row in self._texts() if float(row[self.columns[0]]) <= done]
        except (ValueError, KeyError, csv.Error) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error
        content = io.StringIO()
        writer = csv.DictWriter(content, self.columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(self.path, content.getvalue().encode())

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        line = ",".join(_short(row.get(name)) for name in self.columns)
        with open(self.path, "a") as file:
            file.write(f"{line}\n")


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"

"""Run folders: what a training leaves on disk, whole at any moment.

config.json          every setting, package versions, the agent's description
metrics.csv          a row per log point
checkpoint.zip       all that an exact continuation needs
model.safetensors    the weights
summary.json         flat results, once the run is finished
curve.png, lifetime.gif
"""

import csv
import io
import json
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors.torch
from gymnasium.vector import VectorEnv

from plastic_rl.agents import PlasticA2C, archive
from plastic_rl.config import MazeRun
from plastic_rl.errors import UsageError, UserError

CONFIG, METRICS, CHECKPOINT, MODEL = "config.json", "metrics.csv", "checkpoint.zip", "model.safetensors"
SUMMARY, CURVE, GIF = "summary.json", "curve.png", "lifetime.gif"
PACKAGES = ("plastic-rl", "torch", "numpy", "gymnasium", "stable-baselines3", "numba")


def create(folder: Path | None, name: str) -> Path:
    """Make a run folder; without a name, one under runs/.

    Raises:
        UsageError: it holds something already, or cannot be made.
    """
    folder = folder or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            kind = "holds another run" if (folder / CONFIG).exists() else "is not empty"
            hint = f", or go on with it by --resume {folder}" if (folder / CHECKPOINT).exists() else ""
            raise UsageError(f"--out {folder} {kind}: name a new folder{hint}")
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UsageError(f"--out {folder} cannot be made a run folder: {error.strerror}") from error
    return folder


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
    archive.write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's config.json.

    Raises:
        UserError: there is no such folder, or it is not a run, or the file is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    try:
        config = archive.read_json((folder / CONFIG).read_bytes(), str(folder / CONFIG))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a run folder: it has no {CONFIG}") from error
    except archive.ArchiveError as error:
        raise UserError(str(error)) from error
    if not isinstance(config.get("run"), dict) or not isinstance(config.get("agent"), dict):
        raise UserError(f"{folder / CONFIG} does not describe a run of this package")
    return config


def read_run(folder: Path) -> MazeRun:
    """Read a run's settings.

    Raises:
        UserError: as ``read_config``, or they are of another version.
    """
    try:
        return MazeRun(**read_config(folder)["run"])
    except TypeError as error:
        raise UserError(f"{folder} is of another version of this package: {error}") from error


def load_agent(folder: Path) -> PlasticA2C:
    """Load a run's agent, to act.

    Raises:
        UserError: the folder is not a run, has no model yet, or the model is damaged.
    """
    config = read_config(folder)
    try:
        weights = archive.read_weights((folder / MODEL).read_bytes(), str(folder / MODEL))
        return PlasticA2C.from_description(config["agent"], weights, device="cpu")
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no model: {MODEL} is missing") from error
    except archive.ArchiveError as error:
        raise UserError(str(error)) from error


def save_checkpoint(folder: Path, agent: PlasticA2C) -> None:
    """Keep all that an exact continuation needs, and the weights by themselves."""
    agent.save(folder / CHECKPOINT, include=["run"])
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in agent.policy.state_dict().items()}
    archive.write_atomically(folder / MODEL, safetensors.torch.save(weights))


def load_checkpoint(folder: Path, env: VectorEnv, device: str, **settings: Any) -> PlasticA2C:
    """Load a run's agent to go on training.

    Raises:
        UserError: there is no checkpoint, or it is damaged or of another run.
    """
    try:
        return PlasticA2C.load(folder / CHECKPOINT, env=env, device=device, resume=True, **settings)
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {CHECKPOINT} to go on from") from error
    except (archive.ArchiveError, ValueError) as error:
        raise UserError(f"{folder / CHECKPOINT} cannot be gone on from: {error}") from error


class Metrics:
    """metrics.csv: rows are added whole, and those after a step can be taken back."""

    columns = (
        "steps", "seconds", "return_mean", "env_steps_per_second", "policy_loss", "value_loss", "entropy",
        "gradient_norm", "learning_rate", "eta",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def rows(self) -> list[dict[str, float]]:
        """Return the rows; a line cut short by a crash is left out."""
        if not self.path.exists():
            return []
        with open(self.path, newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in rows
            if None not in row and None not in row.values()
        ]

    def keep_until(self, steps: int) -> list[dict[str, float]]:
        """Drop the rows after a step and return the others."""
        rows = [row for row in self.rows() if row["steps"] <= steps]
        content = io.StringIO()
        writer = csv.DictWriter(content, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        archive.write_atomically(self.path, content.getvalue().encode())
        return rows

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow({name: _short(row.get(name)) for name in self.columns})


def _short(value: float | None) -> str | int:
    if value is None:
        return ""
    return value if isinstance(value, int) else f"{value:.6g}"

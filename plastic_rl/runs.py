"""Run folders: what a training leaves on disk, whole at any moment.

config.json          every setting, package versions, the agent's description
metrics.csv          a row per log point; those after the checkpoint are dropped when the run goes on
checkpoint.zip       all that an exact continuation needs
model.safetensors    the weights, and after how many steps they were kept
summary.json         flat results, once the run is finished
curve.png            return against environment steps, once the run is finished
lifetime.gif         a lifetime of the finished agent

Every file is put in its place whole. metrics.csv grows by lines, and a line cut short by a crash is not read.
"""

import csv
import io
import itertools
import json
import platform
import time
from collections import deque
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import safetensors.torch
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecMonitor

from plastic_rl.agents import PlasticA2C, archive
from plastic_rl.config import MazeRun
from plastic_rl.errors import UsageError, UserError, invocation

CONFIG, METRICS, CHECKPOINT, MODEL = "config.json", "metrics.csv", "checkpoint.zip", "model.safetensors"
SUMMARY, CURVE, GIF = "summary.json", "curve.png", "lifetime.gif"
LEARNING = (
    "gamma", "gae_lambda", "ent_coef", "squared_prob_coef", "vf_coef", "max_grad_norm", "normalize_advantage", "seed",
)  # fmt: skip
PACKAGES = ("plastic-rl", "torch", "numpy", "gymnasium", "stable-baselines3", "numba")


def create(folder: Path | None, name: str) -> Path:
    """Make a run folder; without a name, a new one under runs/.

    Raises:
        UsageError: it holds something already, or cannot be made.
    """
    folder = folder or next(path for path in _names(name) if not path.exists())
    make_folder(folder, "--out")
    try:
        # Hidden files are no run's: a temporary file that a kill left over, or a system's own.
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            kind = "holds another run" if (folder / CONFIG).exists() else "is not empty"
            hint = f", or go on with it: {invocation('maze', '--resume', folder)}" if (folder / CONFIG).exists() else ""
            raise UsageError(f"--out {folder} {kind}: name a new folder{hint}")
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written to: {error.strerror}; name another folder") from error
    return folder


def make_folder(folder: Path, option: str) -> None:
    """Make a folder and those that it is in.

    Raises:
        UsageError: that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_place = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = "a file is in its place" if in_place else error.strerror
        raise UsageError(f"{option}: the folder {folder} cannot be made: {reason}; name another") from error


def _names(name: str) -> Iterator[Path]:
    stamp = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    yield Path("runs") / stamp
    yield from (Path("runs") / f"{stamp}-{k}" for k in itertools.count(2))


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while it wrote."""
    for name in (CONFIG, METRICS, CHECKPOINT, MODEL, SUMMARY, CURVE, GIF):
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
    archive.write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's config.json.

    Raises:
        UserError: there is no such folder, or it is not a run, or the file is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: expected the folder of a run")
    try:
        config = archive.read_json((folder / CONFIG).read_bytes(), str(folder / CONFIG))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a run folder: it has no {CONFIG}") from error
    except archive.ArchiveError as error:
        raise UserError(f"{error}; the file is damaged") from error
    if not isinstance(config.get("run"), dict) or not isinstance(config.get("agent"), dict):
        raise UserError(f"{folder / CONFIG} does not describe a run of this package")
    return config


def read_run(folder: Path) -> MazeRun:
    """Read a run's settings.

    Raises:
        UserError: as ``read_config``, or they are damaged or of another version.
    """
    try:
        return MazeRun.from_json(read_config(folder)["run"])
    except (ValueError, UsageError) as error:
        raise UserError(f"{folder / CONFIG} is damaged, or of another version of this package: {error}") from error


def write_config(folder: Path, config: MazeRun, agent: PlasticA2C) -> None:
    """Write a run's config.json."""
    content = {"command": "maze", "run": config.to_json(), "agent": _lasting(agent.describe()), "versions": versions()}
    write_json(folder / CONFIG, content)


def _lasting(description: dict[str, Any]) -> dict[str, Any]:
    """What in an agent's description training does not change."""
    return {name: value for name, value in description.items() if name not in ("num_timesteps", "n_updates")}


def load_agent(folder: Path) -> PlasticA2C:
    """Load a run's agent, to act.

    Raises:
        UserError: the folder is not a run, has no model yet, or the model is damaged.
    """
    description = read_config(folder)["agent"]
    try:
        content = (folder / MODEL).read_bytes()
        weights = archive.read_weights(content, str(folder / MODEL))
        description = description | {"num_timesteps": _kept_after(content), "n_updates": 0}
        return PlasticA2C.from_description(description, weights, device="cpu")
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no model yet: {MODEL} is missing") from error
    except ValueError as error:
        raise UserError(f"the agent in {folder} cannot be loaded: {error}") from error


def _kept_after(content: bytes) -> int:
    """After how many steps a model was kept; 0 if its file, of valid safetensors, does not say."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    steps = header.get("__metadata__", {}).get("steps", "0")
    return int(steps) if steps.isdecimal() else 0


def save_checkpoint(folder: Path, agent: PlasticA2C, seconds: float) -> None:
    """Keep all that an exact continuation needs, and the weights by themselves."""
    content = io.BytesIO()
    agent.save(content, include=["run"])
    content.seek(0)
    saved = archive.read(content)
    # Beside what the agent itself needs: what its log tells, of time and of lifetimes not yet over.
    episodes = [{name: float(value) for name, value in episode.items()} for episode in agent.ep_info_buffer or ()]
    saved.training["log"] = {"seconds": seconds, "episodes": episodes}
    if isinstance(agent.env, VecMonitor):
        saved.training["log"]["returns"] = torch.from_numpy(agent.env.episode_returns.copy())
        saved.training["log"]["lengths"] = torch.from_numpy(agent.env.episode_lengths.copy())
    archive.write(folder / CHECKPOINT, saved)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in agent.policy.state_dict().items()}
    model = safetensors.torch.save(weights, metadata={"steps": str(agent.num_timesteps)})
    archive.write_atomically(folder / MODEL, model)


def load_checkpoint(folder: Path, env: VectorEnv, device: str, **settings: Any) -> tuple[PlasticA2C, float]:
    """Load a run's agent to go on training; return it and the seconds that it has trained.

    Raises:
        UserError: there is no checkpoint, or it is damaged or of another run.
    """
    path = folder / CHECKPOINT
    check_spaces(folder, env.single_observation_space, env.single_action_space)
    try:
        agent = PlasticA2C.load(path, env=env, device=device, resume=True, **settings)
        log = archive.read(path).training["log"]
        seconds = float(log["seconds"])
        agent.ep_info_buffer = deque(log["episodes"], maxlen=agent._stats_window_size)
        agent.ep_success_buffer = deque(maxlen=agent._stats_window_size)
        if isinstance(agent.env, VecMonitor):
            agent.env.episode_returns[:] = log["returns"].numpy()
            agent.env.episode_lengths[:] = log["lengths"].numpy()
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {CHECKPOINT} to go on from") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot go on from {path}: {error}") from error
    config = read_run(folder)
    found = {name: getattr(agent, name) for name in LEARNING} | agent.policy_kwargs
    for name, value in ({name: getattr(config, name) for name in LEARNING} | config.policy_kwargs()).items():
        if found.get(name) != value:
            raise UserError(
                f"cannot go on from {path}: it is of another run, whose {name} is {found.get(name)}; "
                f"that of {folder / CONFIG} is {value}"
            )
    return agent, seconds


def check_spaces(folder: Path, observations: gym.Space, actions: gym.Space) -> None:
    """Check that a run's agent is made for an environment.

    Raises:
        UserError: it is not.
    """
    description = read_config(folder)["agent"]
    for name, space in (("observation_space", observations), ("action_space", actions)):
        try:
            own = archive.space_from_json(description.get(name))
        except archive.ArchiveError as error:
            raise UserError(f"{folder / CONFIG} is damaged: {name} is {error}") from error
        if own != space:
            kind, other = (f"{type(one).__name__} {one.shape or ''}".rstrip() for one in (own, space))
            differ = f"{kind}, not {other}" if kind != other else "of other bounds"
            raise UserError(
                f"{folder / CONFIG} contradicts itself: its agent and its environment differ: {name} is {differ}"
            )


class Metrics:
    """metrics.csv: rows are added whole, and those after a step can be taken back."""

    columns = (
        "steps", "seconds", "return_mean", "env_steps_per_second", "policy_loss", "value_loss", "entropy",
        "gradient_norm", "learning_rate", "eta",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def rows(self) -> list[dict[str, float]]:
        """Return the rows as numbers; values that are not known yet are left out.

        Raises:
            UserError: the file is damaged.
        """
        try:
            return [{name: float(value) for name, value in row.items() if value} for row in self._texts()]
        except ValueError as error:
            raise UserError(f"{self.path} is damaged: {error}") from error

    def _texts(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [row for row in csv.DictReader(whole.splitlines()) if None not in row and None not in row.values()]

    def keep_until(self, steps: int) -> None:
        """Drop the rows after a step, and what a crash left of a line."""
        try:
            kept = [row for row in self._texts() if float(row["steps"]) <= steps]
        except (ValueError, KeyError) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error
        content = io.StringIO()
        writer = csv.DictWriter(content, self.columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        archive.write_atomically(self.path, content.getvalue().encode())

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        line = ",".join(_short(row.get(name)) for name in self.columns)
        with open(self.path, "a") as file:
            file.write(f"{line}\n")


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"

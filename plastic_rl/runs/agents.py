"""Runs of ``maze``: beside what every run folder holds (see ``folders``),

config.json          also the agent's description
checkpoint.zip       all that an exact continuation needs
lifetime.gif         a lifetime of the finished agent
"""

import importlib
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecTransposeImage

from plastic_rl.agents import PlasticA2C, archive
from plastic_rl.envs.registration import settings_of
from plastic_rl.errors import UsageError, UserError
from plastic_rl.runs import folder as folders
from plastic_rl.settings import MazeRun

TRAINED = folders.TRAINED / "maze"  # the run folder that comes with the package
CHECKPOINT, GIF = "checkpoint.zip", "lifetime.gif"
FILES = (*folders.FILES, CHECKPOINT, GIF)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a run of ``maze``.

    Raises:
        UserError: as ``folders.read_config``, or it is a run of another command.
    """
    config = folders.read_config(folder)
    if config["command"] != "maze":
        raise folders.other_run(folder, config["command"], "maze")
    if not isinstance(config.get("agent"), dict):
        raise UserError(f"{folder / folders.CONFIG} does not describe a run of this package")
    return config


def write_config(folder: Path, config: MazeRun, agent: PlasticA2C) -> None:
    """Write a run's config.json."""
    folders.write_json(
        folder / folders.CONFIG,
        {
            "command": "maze",
            "run": config.to_json(),
            "agent": _lasting(agent.describe()),
            "versions": folders.versions(),
        },
    )


def _lasting(description: dict[str, Any]) -> dict[str, Any]:
    """What in an agent's description training does not change."""
    return {name: value for name, value in description.items() if name not in ("num_timesteps", "n_updates")}


def load_agent(folder: Path | str = TRAINED) -> PlasticA2C:
    """Load a run's agent, to act.

    Args:
        folder: of a run of ``maze``; by default the trained agent that comes with the package.

    Raises:
        UserError: the folder is not a run, has no model yet, or the model is damaged.
    """
    folder = Path(folder)
    description = read_config(folder)["agent"]
    try:
        weights, steps = folders.read_model(folder, "steps")
        description = description | {"num_timesteps": steps, "n_updates": 0}
        return PlasticA2C.from_description(description, weights, device="cpu")
    except ValueError as error:
        raise UserError(f"the agent in {folder} cannot be loaded: {error}") from error


def load(folder: Path) -> tuple[PlasticA2C, MazeRun]:
    """Load a run's agent and settings.

    Raises:
        UserError: they are missing or damaged, or do not fit each other.
    """
    agent, config = load_agent(folder), folders.read_run(folder, MazeRun)
    with named(config.env) as name:
        env = gym.make(name, **config.env_kwargs())
    env.close()
    check_spaces(folder, env.observation_space, env.action_space)
    return agent, config


def chosen(run: Path | None) -> Path:
    """The run folder that is meant.

    Raises:
        UsageError: none is named, and the package's own is missing.
    """
    if run is None and not TRAINED.is_dir():
        raise UsageError(f"no run folder is named, and there is no trained agent in {TRAINED}: name a run folder")
    return TRAINED if run is None else folders.named(run)


def save_checkpoint(folder: Path, agent: PlasticA2C, seconds: float) -> None:
    """Keep all that an exact continuation needs, and the weights by themselves."""
    saved = agent.to_archive(run=True)
    # Beside what the agent itself needs: what its log tells.
    episodes = [{name: float(value) for name, value in episode.items()} for episode in agent.ep_info_buffer or ()]
    saved.training["log"] = {"seconds": seconds, "episodes": episodes}
    archive.write(folder / CHECKPOINT, saved)
    folders.write_model(folder, agent.policy.state_dict(), "steps", agent.num_timesteps)


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
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {CHECKPOINT} to go on from") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot go on from {path}: {error}") from error
    config = folders.read_run(folder, MazeRun)
    expected = config.agent_settings() | config.policy_kwargs()
    found = {name: getattr(agent, name) for name in config.agent_settings()} | agent.policy_kwargs
    for name, value in expected.items():
        if found.get(name) != value:
            raise UserError(
                f"cannot go on from {path}: it is of another run, whose {name} is {found.get(name)}; "
                f"that of {folder / folders.CONFIG} is {value}"
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
            raise UserError(f"{folder / folders.CONFIG} is damaged: {name} is {error}") from error
        if isinstance(space, Box) and is_image_space(space) and not is_image_space_channels_first(space):
            space = VecTransposeImage.transpose_space(space)  # as Stable-Baselines3 gives it to agents
        if own != space:
            kind, other = (f"{type(one).__name__} {one.shape or ''}".rstrip() for one in (own, space))
            differ = f"{kind}, not {other}" if kind != other else "of other bounds"
            raise UserError(
                f"{folder / folders.CONFIG} contradicts itself: its agent and its environment differ: "
                f"{name} is {differ}"
            )


def make_env(env_id: str, **kwargs: Any) -> gym.Env:
    """Make an environment.

    Raises:
        UsageError: the id is unknown, or the environment refuses the settings.
    """
    with named(env_id) as name:
        return gym.make(name, **kwargs)


def make_vec(env_id: str, count: int, kwargs: dict[str, Any]) -> gym.vector.VectorEnv:
    """Make a vector environment; natively batched where there is one that restarts at once.

    Raises:
        UsageError: the id is unknown, or the environment refuses the settings.
    """
    with named(env_id) as name:
        spec = gym.spec(name)
        if spec.vector_entry_point is not None and settings_of(env_id):
            return gym.make_vec(name, num_envs=count, **kwargs)
        mode = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        return gym.make_vec(name, num_envs=count, vectorization_mode="sync", vector_kwargs=mode, **kwargs)


@contextmanager
def named(env_id: str) -> Iterator[str]:
    """Import the module of a "module:id", also from the working directory; yield the id alone.

    Raises:
        UsageError: that, or what is done with the id within, cannot be done.
    """
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            if os.getcwd() not in sys.path:
                sys.path.append(os.getcwd())
            importlib.import_module(module)
        yield name
    except ModuleNotFoundError as error:
        raise UsageError(f"--env {env_id}: there is no module {error.name} to import") from error
    except (gym.error.Error, ImportError) as error:
        raise UsageError(f"--env {env_id}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{env_id} refuses these settings: {error}") from error


class Metrics(folders.Course):
    """The metrics.csv of a run of ``maze``."""

    def __init__(self, folder: Path) -> None:
        columns = (
            "steps", "seconds", "return_mean", "env_steps_per_second", "policy_loss", "value_loss", "entropy",
            "gradient_norm", "learning_rate", "eta",
        )  # fmt: skip
        super().__init__(folder, columns)

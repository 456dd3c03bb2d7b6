"""Runs of agents: loading a trained agent, and the checkpoint from which its training is resumed."""

from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecTransposeImage

from plastic_rl.agents import PlasticA2C, RecurrentAgent, archive
from plastic_rl.errors import UserError
from plastic_rl.runs.finding import find_run
from plastic_rl.runs.folder import AGENT_CHECKPOINT, CONFIG, RunFolder
from plastic_rl.settings import AGENT_RUNS

ALGORITHM: type[RecurrentAgent] = PlasticA2C  # by which the agents of all runs learn


def load_agent(folder: Path | str | None = None) -> RecurrentAgent:
    """Load a run's agent, ready to act.

    Args:
        folder: of a run of ``maze``, ``cue-reward`` or ``cue-action``, or ``"maze"`` or ``"cue-reward"``, of which
            trained agents come with the package; None: that of ``"maze"``.

    Raises:
        UserError: the folder is not a run of these commands, has no model yet, or is damaged.
    """
    return load(find_run(None if folder is None else Path(folder)))


def load(run: RunFolder) -> RecurrentAgent:
    """Load a run's agent, ready to act; errors as for ``load_agent``."""
    description = describe(run)
    try:
        weights, steps = run.read_model("steps")
        return ALGORITHM.from_description(description | {"num_timesteps": steps, "n_updates": 0}, weights, device="cpu")
    except ValueError as error:
        raise UserError(f"the agent in {run} cannot be loaded: {error}") from error


def describe(run: RunFolder) -> dict[str, Any]:
    """Return the description of a run's agent, from config.json.

    Raises:
        UserError: the run is of another command, or the file is damaged.
    """
    run.check_command(*AGENT_RUNS)
    description = run.config.get("agent")
    if not isinstance(description, dict):
        raise UserError(f"{run.path / CONFIG} does not describe a run of this package")
    return description


def lasting_description(agent: RecurrentAgent) -> dict[str, Any]:
    """Return the part of an agent's description that training does not change, for config.json."""
    return {name: value for name, value in agent.describe().items() if name not in ("num_timesteps", "n_updates")}


def save_checkpoint(run: RunFolder, agent: RecurrentAgent, seconds: float) -> None:
    """Write everything that an exact continuation needs, and the weights by themselves; ``seconds`` of training."""
    saved = agent.to_archive(run=True)
    # The log's part, which the agent itself does without.
    episodes = [{name: float(value) for name, value in episode.items()} for episode in agent.ep_info_buffer or ()]
    saved.training["log"] = {"seconds": seconds, "episodes": episodes}
    archive.write(run.path / AGENT_CHECKPOINT, saved)
    run.write_model(agent.policy.state_dict(), "steps", agent.num_timesteps)


def load_checkpoint(run: RunFolder, env: VectorEnv, device: str, **settings: Any) -> tuple[RecurrentAgent, float]:
    """Load a run's agent to train it further; return it, and the seconds that it was trained.

    Args:
        run: its folder.
        env: in which it is trained.
        device: where to put the network.
        settings: of the agent, in place of those that were saved.

    Raises:
        UserError: there is no checkpoint, or it is damaged or of another run.
    """
    path = run.path / AGENT_CHECKPOINT
    check_spaces(run, env.single_observation_space, env.single_action_space)
    try:
        saved = archive.read(path)
        agent = ALGORITHM.from_archive(saved, env, device, resume=True, **settings)
        log = saved.training["log"]
        seconds = float(log["seconds"])
        agent.ep_info_buffer = deque(log["episodes"], maxlen=agent._stats_window_size)
        agent.ep_success_buffer = deque(maxlen=agent._stats_window_size)
    except FileNotFoundError as error:
        raise UserError(f"{run} has no {AGENT_CHECKPOINT} to resume from") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot resume from {path}: {error}") from error
    _check_settings(run, agent)
    return agent, seconds


def _check_settings(run: RunFolder, agent: RecurrentAgent) -> None:
    """Check that a checkpoint's agent has the settings of its run."""
    config = run.settings(*AGENT_RUNS.values())
    expected = config.agent_settings() | config.policy_kwargs()
    found = {name: getattr(agent, name) for name in config.agent_settings()} | vars(agent.policy.core_settings)
    for name, value in expected.items():
        if found.get(name) != value:
            raise UserError(
                f"cannot resume from {run.path / AGENT_CHECKPOINT}: it is of another run, whose {name} is "
                f"{found.get(name)}; in {run.path / CONFIG} it is {value}"
            )


def check_spaces(run: RunFolder, observations: gym.Space, actions: gym.Space) -> None:
    """Check that a run's agent was made for an environment with these spaces.

    Raises:
        UserError: it was not, or config.json is damaged.
    """
    description, path = describe(run), run.path / CONFIG
    for name, space in (("observation_space", observations), ("action_space", actions)):
        try:
            expected = archive.space_from_json(description.get(name))
        except archive.ArchiveError as error:
            raise UserError(f"{path} is damaged: {name} is {error}") from error
        if isinstance(space, Box) and is_image_space(space) and not is_image_space_channels_first(space):
            space = VecTransposeImage.transpose_space(space)  # as Stable-Baselines3 gives it to agents
        if expected != space:
            kind, other = (f"{type(one).__name__} {one.shape or ''}".rstrip() for one in (expected, space))
            differ = f"{kind}, not {other}" if kind != other else "of other bounds"
            raise UserError(f"{path} contradicts itself: its agent and its environment differ: {name} is {differ}")

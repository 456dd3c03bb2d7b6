"""The environments of runs, made from their ids, and agents that fit them."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym

from plastic_rl.agents import RecurrentAgent
from plastic_rl.envs.registration import settings_of
from plastic_rl.errors import UsageError
from plastic_rl.runs import agents
from plastic_rl.runs.folder import RunFolder
from plastic_rl.settings import AGENT_RUNS, AgentRun


@contextmanager
def named(env_id: str) -> Iterator[str]:
    """Import the module of a "module:id", also from the working directory, and yield the id alone.

    Raises:
        UsageError: there is no such module, the id is unknown, or the environment that is made within the block
            refuses its settings.
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


def make_env(env_id: str, **kwargs: Any) -> gym.Env:
    """Make one environment.

    Raises:
        UsageError: the id is unknown, or the environment refuses the settings.
    """
    with named(env_id) as name:
        return gym.make(name, **kwargs)


def make_vec(env_id: str, count: int, kwargs: dict[str, Any]) -> gym.vector.VectorEnv:
    """Make ``count`` environments side by side, natively batched if they are this package's.

    Raises:
        UsageError: the id is unknown, or the environment refuses the settings.
    """
    with named(env_id) as name:
        spec = gym.spec(name)
        if spec.vector_entry_point is not None and settings_of(env_id):  # others may restart a step later
            return gym.make_vec(name, num_envs=count, **kwargs)
        mode = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        return gym.make_vec(name, num_envs=count, vectorization_mode="sync", vector_kwargs=mode, **kwargs)


def load(run: RunFolder) -> tuple[RecurrentAgent, AgentRun]:
    """Load a run's agent and settings, and check that the agent fits the environment.

    Raises:
        UserError: the run is of another command, has no model yet, is damaged, or contradicts itself.
    """
    agent, config = agents.load(run), run.settings(*AGENT_RUNS.values())
    env = make_env(config.env, **config.env_kwargs())
    env.close()
    agents.check_spaces(run, env.observation_space, env.action_space)
    return agent, config

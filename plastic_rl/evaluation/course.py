"""The course of a lifetime: what an agent sees, does and has in its network at every step, for analysis.

The arrays of a lifetime of T steps, with N neurons; those in brackets are there if the agent's core has them:

| name | shape | what it is |
| --- | --- | --- |
| observation | (T, *observation) | what the agent saw before its action |
| action | (T, *action) | what it did, as the environment takes it |
| reward | (T,) | what that earned |
| value | (T,) | the reward that it expected from this observation on, discounted |
| hidden | (T, N) | activity x(t) of the neurons, computed from this observation |
| [cell] | (T, N) | memory cells of an LSTM |
| [trace_norm] | (T,) | Euclidean norm of the trace, of all connections of the plastic core, after the step |
| [eligibility_norm] | (T,) | the same of the eligibility trace, with retroactive modulation |
| [modulation] | (T,) | modulatory signal M(t), computed from hidden |

The step from row t to row t + 1 is the same for all: the reward of row t belongs to its observation and action, and the
agent can first notice it in the observation of row t + 1.
"""

import io
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.agents import RecurrentAgent
from plastic_rl.files import write_atomically


def record_course(
    agent: RecurrentAgent, env: gym.Env, seed: int, deterministic: bool = False
) -> dict[str, np.ndarray[Any, Any]]:
    """Let an agent live through one lifetime and record its course.

    Args:
        agent: with any core.
        env: one environment, not a vector of them; the lifetime is one episode of it.
        seed: seed of the environment and of the agent's actions; the same seed repeats the lifetime.
        deterministic: whether to take the likeliest action instead of a sample.

    Returns:
        Arrays by name; the head of ``plastic_rl/evaluation/course.py`` lists them.

    Example:
        >>> import gymnasium as gym
        >>> from plastic_rl.evaluation.course import record_course
        >>> from plastic_rl.runs import load_agent
        >>> course = record_course(load_agent(), gym.make("PlasticRL/GridMaze-v0"), seed=0)
        >>> course["hidden"].shape, course["trace_norm"].shape
        ((250, 100), (250,))
    """
    rows: list[dict[str, Any]] = []
    torch.manual_seed(seed)
    observation, _ = env.reset(seed=seed)
    state, over = agent.policy.initial_state(1), False
    while not over:
        action, state = agent.predict(observation, state, np.array([not rows]), deterministic)
        row = {"observation": observation, "action": action} | _inside(agent, state)
        observation, row["reward"], terminated, truncated, _ = env.step(action)
        rows.append(row)
        over = bool(terminated or truncated)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _inside(agent: RecurrentAgent, state: Any) -> dict[str, Any]:
    """Return what the network has just computed."""
    policy = agent.policy
    found = {"value": policy.look(state)[0][0]}
    for name, part in state._asdict().items():
        if name in state.per_neuron:
            found[name] = part[0]
        else:
            found[f"{name}_norm"] = np.linalg.norm(part[0])
    return found | ({"modulation": policy.modulation(state)[0]} if policy.is_modulated else {})


def write_course(path: Path, course: dict[str, np.ndarray[Any, Any]]) -> None:
    """Write a course as NumPy's ``.npz``, which ``numpy.load`` reads without running code."""
    content = io.BytesIO()
    np.savez_compressed(content, **course)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())

"""Testing an agent on fresh lifetimes: against random play and an oracle, and without parts of its memory."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.agents import GymnasiumVecEnv, RecurrentAgent
from plastic_rl.envs.protocols import Measured
from plastic_rl.evaluation.trials import ABLATIONS, ablations_of, live
from plastic_rl.seeds import FRESH
from plastic_rl.text import table

TOGETHER = 100  # lifetimes that are tested side by side, at most
STEPS = ("steps_to_first_hit", "steps_between_hits")


def assess(
    agent: RecurrentAgent, env: VectorEnv, episodes: int, seed: int, deterministic: bool = False
) -> dict[str, Any]:
    """Test an agent on fresh lifetimes, side by side in a vector environment, which restarts at once.

    Returns:
        episodes, return_mean, return_std, random_return; for a maze also oracle_return and ``Lifetimes.summary``.
    """
    seed += FRESH
    results: dict[str, Any] = {"episodes": episodes}
    maze = env.unwrapped
    if isinstance(maze, Measured):
        results |= live(agent, env, episodes, seed, deterministic).summary()
        results["random_return"] = maze.random_return(max(episodes, 1000), seed)
        results["oracle_return"] = maze.oracle_return()
        return results
    torch.manual_seed(seed)
    adapter: VecEnv = GymnasiumVecEnv(env)
    adapter.seed(seed)
    returns, _ = evaluate_policy(agent, adapter, episodes, deterministic, return_episode_rewards=True, warn=False)
    results |= {"return_mean": float(np.mean(returns)), "return_std": float(np.std(returns))}
    results["random_return"] = random_return(env, episodes, seed)
    return results


def random_return(env: VectorEnv, episodes: int, seed: int) -> float:
    """Return the mean return of random actions."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    total, running = 0.0, np.zeros(env.num_envs)
    # The same number from each environment: the first episodes to end are the short ones.
    left = (episodes + np.arange(env.num_envs)) // env.num_envs
    while left.any():
        _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        running += rewards
        over = terminated | truncated
        counted = over & (left > 0)
        total, left = total + float(running[counted].sum()), left - counted
        running[over] = 0.0
    return total / episodes


def ablate(
    agent: RecurrentAgent, env: VectorEnv, episodes: int, seed: int, deterministic: bool = False
) -> dict[str, dict[str, Any]]:
    """Test an agent on the same lifetimes as ``assess``, in a maze, without parts of its memory.

    Returns:
        ``Lifetimes.summary`` by ablation; nothing for environments that are not mazes.
    """
    names = ablations_of(agent) if isinstance(env.unwrapped, Measured) else []
    return {name: live(agent, env, episodes, FRESH + seed, deterministic, name).summary() for name in names}


def comparison(results: dict[str, Any], ablated: dict[str, dict[str, Any]] | None = None) -> str:
    """Return results as a table: the agent beside random play and the oracle, and without parts of its memory."""
    oracle, episodes = results.get("oracle_return"), results["episodes"]
    agents = {"this agent": results, **{f"  {ABLATIONS[name]}": found for name, found in (ablated or {}).items()}}
    rows = [["", "return", "± error"], ["random play", f"{results['random_return']:.1f}", ""]]
    means = [results["random_return"]]
    for name, found in agents.items():
        error = f"{found['return_std'] / (episodes - 1) ** 0.5:.1f}" if episodes > 1 else ""
        rows.append([name, f"{found['return_mean']:.1f}", error])
        means.append(found["return_mean"])
    if oracle:
        rows.append(["all-knowing oracle", f"{oracle:.1f}", ""])
        shares = (f"{max(0.0, value) / oracle:.1%}" for value in (*means, oracle))
        nothing = ["", "", ""]
        hits = [
            [f"{found['share_with_a_hit']:.0%}", *(_steps(found[name]) for name in STEPS)] for found in agents.values()
        ]
        columns = [["with a hit", "first hit", "next hits"], nothing, *hits, nothing]
        for row, share, cells in zip(rows, ["of the oracle", *shares], columns, strict=True):
            row.extend([share, *cells])
    return table(rows)


def _steps(count: float | None) -> str:
    return "-" if count is None else f"{count:.1f} steps"

"""Testing an agent on fresh lifetimes: against random play and an oracle, and without parts of its memory."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.agents import GymnasiumVecEnv, RecurrentAgent
from plastic_rl.envs.protocols import Measured, Words
from plastic_rl.evaluation.trials import ABLATIONS, ablations_of, live
from plastic_rl.seeds import FRESH
from plastic_rl.text import table

TOGETHER = 100  # lifetimes that are tested side by side, at most


def assess(
    agent: RecurrentAgent, env: VectorEnv, episodes: int, seed: int, deterministic: bool = False
) -> dict[str, Any]:
    """Test an agent on fresh lifetimes, side by side in a vector environment, which restarts at once.

    Returns:
        episodes, return_mean, return_std, random_return; of a ``Measured`` environment also oracle_return and what its
        ``digest`` returns.
    """
    seed += FRESH
    results: dict[str, Any] = {"episodes": episodes}
    measured = env.unwrapped
    if isinstance(measured, Measured):
        results |= live(agent, env, episodes, seed, deterministic).summary(measured)
        results["random_return"] = measured.random_return(max(episodes, 1000), seed)
        results["oracle_return"] = measured.oracle_return()
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
    """Test an agent on the same lifetimes as ``assess``, without parts of its memory.

    Returns:
        ``Lifetimes.summary`` by ablation; nothing for environments that are not ``Measured``.
    """
    measured = env.unwrapped
    if not isinstance(measured, Measured):
        return {}
    seed += FRESH
    return {
        name: live(agent, env, episodes, seed, deterministic, name).summary(measured) for name in ablations_of(agent)
    }


def words_of(env: VectorEnv) -> Words | None:
    """Return what the results in an environment are called, None if it does not say so."""
    measured = env.unwrapped
    return measured.words() if isinstance(measured, Measured) else None


def comparison(results: dict[str, Any], words: Words | None, ablated: dict[str, dict[str, Any]] | None = None) -> str:
    """Return results as a table: the agent beside random play and the oracle, and without parts of its memory.

    Args:
        results: from ``assess``.
        words: from ``words_of``.
        ablated: from ``ablate``.
    """
    episodes, agents = results["episodes"], {"this agent": results}
    if words is not None:
        agents |= {f"  {ABLATIONS[name].format(hit=words.hit)}": found for name, found in (ablated or {}).items()}
    rows = [["", "return", "± error"], ["random play", f"{results['random_return']:.1f}", ""]]
    means = [results["random_return"]]
    for name, found in agents.items():
        error = f"{found['return_std'] / (episodes - 1) ** 0.5:.1f}" if episodes > 1 else ""
        rows.append([name, f"{found['return_mean']:.1f}", error])
        means.append(found["return_mean"])
    if words is not None:
        oracle, measures = results["oracle_return"], words.measures
        rows.append([words.oracle_in_full, f"{oracle:.1f}", ""])
        shares = (f"{max(0.0, mean) / oracle:.1%}" if oracle > 0 else "-" for mean in (*means, oracle))
        nothing = [""] * len(measures)
        numbers = [[shown(found[name], words, name) for name in measures] for found in agents.values()]
        columns = [[measure.title for measure in measures.values()], nothing, *numbers, nothing]
        for row, share, cells in zip(rows, [f"of the {words.oracle}", *shares], columns, strict=True):
            row.extend([share, *cells])
    return table(rows)


def shown(value: float | None, words: Words, measure: str) -> str:
    """Return a measure as a table shows it."""
    return "-" if value is None else words.measures[measure].form.format(value)

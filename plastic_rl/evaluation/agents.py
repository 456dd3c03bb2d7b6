"""Testing agents on fresh lifetimes: against random play and an oracle, and without parts of their memory."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.agents import GymnasiumVecEnv, PlasticA2C
from plastic_rl.errors import UsageError
from plastic_rl.evaluation.trials import ABLATIONS, ablations_of, live
from plastic_rl.runs import agents as runs
from plastic_rl.runs import folder as folders
from plastic_rl.seeds import FRESH
from plastic_rl.settings import Evaluate
from plastic_rl.text import number, table

TOGETHER = 100  # lifetimes that are tested side by side
STEPS = ("steps_to_first_hit", "steps_between_hits")


def assess(
    agent: PlasticA2C, env_id: str, kwargs: dict[str, Any], episodes: int, seed: int, deterministic: bool = False
) -> dict[str, Any]:
    """Play fresh lifetimes.

    Returns:
        return_mean, return_std, random_return; for a maze also oracle_return and what ``Lifetimes.summary`` tells.
    """
    seed += FRESH
    env = runs.make_vec(env_id, min(TOGETHER, episodes), kwargs)
    results: dict[str, Any] = {"episodes": episodes}
    maze: Any = env.unwrapped
    if _is_maze(env):
        results |= live(agent, env, episodes, seed, deterministic).summary()
        results["random_return"] = maze.random_return(max(episodes, 1000), seed)
        results["oracle_return"] = maze.oracle_return()
    else:
        torch.manual_seed(seed)
        adapter: VecEnv = GymnasiumVecEnv(env)
        adapter.seed(seed)
        returns, _ = evaluate_policy(agent, adapter, episodes, deterministic, return_episode_rewards=True, warn=False)
        results |= {"return_mean": float(np.mean(returns)), "return_std": float(np.std(returns))}
        results["random_return"] = _random_return(env, episodes, seed)
    env.close()
    return results


def _is_maze(env: gym.vector.VectorEnv) -> bool:
    return hasattr(env.unwrapped, "oracle_return")


def _random_return(env: gym.vector.VectorEnv, episodes: int, seed: int) -> float:
    """The mean return of random actions."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    total, running = 0.0, np.zeros(env.num_envs)
    left = (episodes + np.arange(env.num_envs)) // env.num_envs  # or short episodes would count more than long ones
    while left.any():
        _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        running += rewards
        over = terminated | truncated
        counted = over & (left > 0)
        total, left = total + float(running[counted].sum()), left - counted
        running[over] = 0.0
    return total / episodes


def ablate(
    agent: PlasticA2C, env_id: str, kwargs: dict[str, Any], episodes: int, seed: int, deterministic: bool = False
) -> dict[str, dict[str, Any]]:
    """Play the same lifetimes as ``assess``, in a maze, without parts of the agent's memory.

    Returns:
        What ``Lifetimes.summary`` tells, by ablation; nothing for other environments.
    """
    env = runs.make_vec(env_id, min(TOGETHER, episodes), kwargs)
    names = ablations_of(agent) if _is_maze(env) else []
    found = {name: live(agent, env, episodes, FRESH + seed, deterministic, name).summary() for name in names}
    env.close()
    return found


def comparison(results: dict[str, Any], ablated: dict[str, dict[str, Any]] | None = None) -> str:
    """Return the results as a table: the agent beside random play and the oracle, and without parts of its memory."""
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


def evaluate(config: Evaluate) -> None:
    """Test a run's agent, with its memory and without parts of it; print a table and write summary.json."""
    torch.set_num_threads(1)  # the networks are small: more threads would mostly wait for each other
    if config.data_dir is not None:
        raise UsageError("--data-dir is for runs on a dataset: leave it out")
    folder = runs.chosen(config.run)
    agent, run = runs.load(folder)
    out = config.out or (Path("evaluation") if config.run is None else folders.evaluation_of(folder))
    folders.check_no_run(out)
    folders.make_folder(out, "--out")
    episodes = config.episodes or run.eval_episodes
    seed = config.seed * TOGETHER  # environments side by side have seeds that follow each other
    how = (agent, run.env, run.env_kwargs(), episodes, seed, config.deterministic)
    results, ablated = assess(*how), ablate(*how)
    folders.write_json(
        out / folders.SUMMARY,
        {
            "run": str(folder),
            "env": run.env,
            "trained_steps": agent.num_timesteps,
            **results,
            **{f"{name}_{ablation}": value for ablation, found in ablated.items() for name, value in found.items()},
            "seed": config.seed,
            "deterministic": config.deterministic,
        },
    )
    tested = f"tested on {results['episodes']} fresh lifetimes"
    print(f"{folder} after {number(agent.num_timesteps)} steps, {tested}:\n")
    print(f"{comparison(results, ablated)}\n\nwritten to {out / folders.SUMMARY}")

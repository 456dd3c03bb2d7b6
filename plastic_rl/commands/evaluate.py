"""The ``evaluate`` command: test a finished run on fresh lifetimes or episodes, with its plasticity and without."""

from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from plastic_rl.commands.environments import load, make_env, make_vec
from plastic_rl.commands.tasks import source
from plastic_rl.errors import UsageError
from plastic_rl.evaluation.agents import TOGETHER, ablate, assess, comparison, words_of
from plastic_rl.evaluation.course import record_course, write_course
from plastic_rl.evaluation.networks import as_table, assess_ablated, draw_episodes, flat
from plastic_rl.files import write_json
from plastic_rl.modules.controls import count_parameters
from plastic_rl.runs import networks
from plastic_rl.runs.finding import evaluation_folder, find_run
from plastic_rl.runs.folder import EPISODES, SUMMARY, RunFolder, check_no_run, make_folder
from plastic_rl.seeds import FRESH
from plastic_rl.settings import TASKS, Evaluate
from plastic_rl.text import number
from plastic_rl.training.machine import keep_freed_memory


def evaluate(config: Evaluate) -> None:
    """Test a run as it is and without parts of its memory; print a table and write summary.json."""
    run = find_run(config.run)
    out = config.out or (Path("evaluation") if config.run is None else evaluation_folder(run))
    (_evaluate_network if run.command in TASKS else _evaluate_agent)(config, run, out)


def _open(out: Path) -> None:
    """Make the folder of the results, which must not be a run's."""
    check_no_run(out)
    make_folder(out, "--out")


def _evaluate_agent(config: Evaluate, run: RunFolder, out: Path) -> None:
    torch.set_num_threads(1)  # the networks are small: more threads would mostly wait for each other
    if config.data_dir is not None:
        raise UsageError("--data-dir is for runs on a dataset: leave it out")
    if config.course is not None and config.course.is_dir():
        raise UsageError(f"--course {config.course} is a folder: name a file in it")
    agent, settings = load(run)
    _open(out)
    episodes = config.episodes or settings.eval_episodes
    seed = config.seed * TOGETHER  # environments side by side have consecutive seeds
    env = make_vec(settings.env, min(TOGETHER, episodes), settings.env_kwargs())
    try:
        results = assess(agent, env, episodes, seed, config.deterministic)
        ablated = ablate(agent, env, episodes, seed, config.deterministic)
    finally:
        env.close()
    summary: dict[str, Any] = {
        "run": str(run),
        "env": settings.env,
        "trained_steps": agent.num_timesteps,
        **results,
        **{f"{name}_{ablation}": value for ablation, found in ablated.items() for name, value in found.items()},
        "seed": config.seed,
        "deterministic": config.deterministic,
    }
    write_json(out / SUMMARY, summary)
    print(f"{run} after {number(agent.num_timesteps)} steps, tested on {results['episodes']} fresh lifetimes:\n")
    print(f"{comparison(results, words_of(env), ablated)}\n\nwritten to {out / SUMMARY}")
    if config.course is not None:
        with closing(make_env(settings.env, **settings.env_kwargs())) as single:
            write_course(config.course, record_course(agent, single, FRESH + seed, config.deterministic))
        print(f"the course of a lifetime: {config.course}")


def _evaluate_network(config: Evaluate, run: RunFolder, out: Path) -> None:
    if config.deterministic:
        raise UsageError("--deterministic is for agents, which draw their actions at random: leave it out")
    if config.course is not None:
        raise UsageError("--course is for agents, which have lifetimes: leave it out")
    keep_freed_memory()
    settings, task, network, trained = networks.load(run, config.data_dir)
    _open(out)
    episodes = config.episodes or settings.eval_episodes
    results = assess_ablated(task, network, episodes, config.seed)
    draw_episodes(out / EPISODES, task, network, config.seed)
    summary: dict[str, Any] = {
        "run": str(run),
        "command": settings.command,
        "trained_episodes": trained,
        "episodes": episodes,
        **flat(results),
        **settings.facts(),
        "parameters": count_parameters(network),
        "seed": config.seed,
    }
    write_json(out / SUMMARY, summary)
    print(f"{run} after {trained} episodes, tested on {episodes} fresh ones{source(settings)}:\n")
    print(f"{as_table(results)}\n\nwritten to {out / SUMMARY}")

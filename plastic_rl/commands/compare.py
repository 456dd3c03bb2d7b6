"""The ``compare`` command: several kinds of agents, several seeds of each, one figure.

A comparison's folder holds

config.json          the settings
AGENT/seed-K/        a run folder for each agent and seed; its output is in AGENT/seed-K.log
curves.csv           return by agent, seed, steps and seconds
agents.csv           a row per agent: medians over its seeds
comparison.png       median and quartiles against steps and against time
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.commands.environments import make_vec
from plastic_rl.commands.jobs import Job, check_finished, train_all
from plastic_rl.envs.protocols import Words
from plastic_rl.errors import UsageError, UserError, option
from plastic_rl.evaluation.agents import shown, words_of
from plastic_rl.figures.curves import compared_curves
from plastic_rl.files import write_csv, write_json
from plastic_rl.modules import matching_hidden_size
from plastic_rl.modules.cores import CoreSettings, RecurrentCore
from plastic_rl.runs.folder import CONFIG, METRICS, RunFolder, make_folder
from plastic_rl.settings import AGENTS, AgentRun, Compare
from plastic_rl.settings.compare import MATCHED
from plastic_rl.text import number, table
from plastic_rl.training.machine import cores

CURVES, TABLE, FIGURE = "curves.csv", "agents.csv", "comparison.png"
MARKS = (10_000_000, 30_000_000, 100_000_000)  # steps at which returns are reported
COLUMNS = ("steps", "seconds", "return_mean")
MAY_DIFFER = ("out", "agents", "seeds", "jobs")  # between two calls for the same folder

AgentJob = Job[AgentRun]
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # steps, seconds, returns


def compare(config: Compare) -> None:
    """Train the agents that are not trained yet; then draw and print how all agents in the folder compare.

    Raises:
        UserError: a run failed; the others were finished.
    """
    features, words = look(config)
    sizes = hidden_sizes(config, features)
    make_folder(config.out, "--out")
    _keep_settings(config)
    agents = dict.fromkeys(config.agents)
    # The first seed of all agents comes first, so that a part of a comparison is useful too.
    jobs = [job_of(config, agent, seed, sizes[agent]) for seed in range(config.seeds) for agent in agents]
    failed = train_all(jobs, config.jobs or cores(), _result)
    everything = [  # runs of earlier calls belong to the comparison too
        job_of(config, agent, seed, sizes[agent]) for agent in AGENTS for seed in _seeds(config.out / agent)
    ]
    if done := [job for job in everything if job.run.is_finished]:
        _report(config.out, done, words)
    check_finished(failed, len(jobs))


def _result(job: AgentJob) -> str:
    return f"return {job.run.summary()['return_mean']:.1f}"


def _curve(job: AgentJob) -> Curve:
    """Return its steps, seconds and returns.

    Raises:
        UserError: it has none.
    """
    rows = [row for row in job.run.metrics().rows() if "return_mean" in row]
    if not rows:
        raise UserError(f"{job.run} has no curve: {METRICS} is missing, or has no return in it")
    steps, seconds, returns = (np.array([row[name] for row in rows]) for name in COLUMNS)
    return steps, seconds, returns


def job_of(config: Compare, agent: str, seed: int, hidden_size: int) -> AgentJob:
    """Return one run of a comparison: of an agent, with a seed and a number of neurons."""
    settings = replace(config.run_settings(agent, seed), hidden_size=hidden_size)
    return Job(agent, settings, RunFolder(config.out / agent / f"seed-{seed}"))


def _seeds(folder: Path) -> list[int]:
    """The seeds that have run folders."""
    found = (path.name.removeprefix("seed-") for path in folder.glob("seed-*"))
    return sorted(int(name) for name in found if name.isdecimal())


def _keep_settings(config: Compare) -> None:
    """Write the settings of a new comparison, or check that an earlier one is continued with its own settings."""
    settings = {name: value for name, value in asdict(config).items() if name not in MAY_DIFFER}
    folder = RunFolder(config.out)
    if not folder.is_run:
        if any(not path.name.startswith(".") for path in config.out.iterdir()):
            raise UsageError(f"--out {config.out} is not empty: name a new folder")
        write_json(config.out / CONFIG, {"command": "compare", "run": settings})
        return
    if folder.command != "compare":
        raise UsageError(f"--out {config.out} is a run of {folder.command}: name a new folder")
    # A setting newer than the folder had its default value.
    begun_with = {**asdict(type(config)()), "task": Compare.task, **folder.config["run"]}
    for name, value in settings.items():
        if (before := begun_with.get(name)) != value:
            found = "not given" if before is None else before
            raise UsageError(
                f"{option(name)} is {value}, but in {config.out} it is {found}: leave it so, or name a new --out"
            )


def look(config: Compare) -> tuple[int, Words | None]:
    """Return the length of an observation, and what the results in this environment are called."""
    env = make_vec(config.env, 1, config.run_settings("plastic", 0).env_kwargs())
    env.close()
    return gym.spaces.flatdim(env.single_observation_space), words_of(env)


def hidden_sizes(config: Compare, features: int) -> dict[str, int]:
    """Return each agent's number of neurons: that of the plastic agent, or one that gives as many parameters.

    Args:
        config: the comparison.
        features: length of an observation.
    """

    def core(agent: str, size: int) -> RecurrentCore:
        settings = config.run_settings(agent, 0).policy_kwargs() | {"hidden_size": size}
        return CoreSettings(**settings).build(features)

    with torch.device("meta"):  # takes no memory: the parameters are only counted
        plastic = core("plastic", config.hidden_size)
    matched = AGENTS if config.match_parameters else MATCHED
    sizes: dict[str, int] = dict.fromkeys(AGENTS, config.hidden_size)
    return sizes | {agent: matching_hidden_size(plastic, partial(core, agent)) for agent in matched}


def _report(out: Path, jobs: Sequence[AgentJob], words: Words | None) -> None:
    """Write and draw the curves, and print the table of results."""
    curves = {job: _curve(job) for job in jobs}
    points = [
        (job.group, job.config.seed, int(steps), *others)
        for job, curve in curves.items()
        for steps, *others in zip(*curve, strict=True)
    ]
    write_csv(out / CURVES, ("agent", "seed", "steps", "seconds", "return_mean"), points)
    agents = list(dict.fromkeys(job.group for job in jobs))
    groups = {agent: [job for job in jobs if job.group == agent] for agent in agents}
    drawn = {agent: [_in_minutes(curves[job]) for job in group] for agent, group in groups.items()}
    labels = ("environment steps", "minutes of training, one thread", "return per lifetime")
    compared_curves(out / FIGURE, drawn, labels, _levels(jobs, words))
    rows = {agent: _row(group, [curves[job] for job in group], words) for agent, group in groups.items()}
    columns = ("agent", *next(iter(rows.values())))
    write_csv(out / TABLE, columns, [(agent, *row.values()) for agent, row in rows.items()])
    print(f"\n{_as_table(rows, words)}\n")
    for what, name in {"curves": CURVES, "table": TABLE, "figure": FIGURE}.items():
        print(f"{what + ':':<8}{out / name}")


def _in_minutes(curve: Curve) -> Curve:
    steps, seconds, returns = curve
    return steps, seconds / 60, returns


def _levels(jobs: Sequence[AgentJob], words: Words | None) -> dict[str, float]:
    """What other play collects, by name: means over the runs, each of which has measured or computed it."""
    names = {"random play": "random_return"} | ({} if words is None else {words.oracle: "oracle_return"})
    summaries = [job.run.summary() for job in jobs]
    return {title: float(np.mean([summary[name] for summary in summaries])) for title, name in names.items()}


def _row(jobs: Sequence[AgentJob], curves: Sequence[Curve], words: Words | None) -> dict[str, float | int | None]:
    """Results of an agent: medians over its seeds, and the lowest and highest final return."""
    summaries = [job.run.summary() for job in jobs]

    def median(name: str) -> float | None:
        return _median([summary.get(name) for summary in summaries])  # those of older versions lack some

    returns = [summary["return_mean"] for summary in summaries]
    row: dict[str, float | int | None] = {
        "seeds": len(jobs),
        "neurons": jobs[0].config.hidden_size,
        "parameters": summaries[0]["parameters"],
        "return": median("return_mean"),
        "lowest": min(returns),
        "highest": max(returns),
    }
    if words is not None:
        row["share_of_oracle"] = _median([s["return_mean"] / (s["oracle_return"] or np.nan) for s in summaries])
        row |= {name: median(name) for name in words.measures}
    row["env_steps_per_second"] = median("env_steps_per_second")
    for mark in MARKS:
        if all(steps[-1] >= mark for steps, _, _ in curves):
            at = [float(np.interp(mark, steps, returns_)) for steps, _, returns_ in curves]
            row[f"return_at_{number(mark)}"] = _median(at)
    for level in words.milestones if words is not None else ():
        reached = [_first(curve, level) for curve in curves]
        row[f"steps_to_{level}"] = _median([None if one is None else one[0] for one in reached])
        row[f"minutes_to_{level}"] = _median([None if one is None else one[1] / 60 for one in reached])
    return row


def _first(curve: Curve, level: float) -> tuple[float, float] | None:
    """The steps and the seconds after which a curve first reaches a level, or None."""
    steps, seconds, returns = curve
    above = np.flatnonzero(returns >= level)
    return (float(steps[above[0]]), float(seconds[above[0]])) if len(above) else None


def _median(values: Sequence[float | None]) -> float | None:
    """The median, where None (never reached) is above every number; None if the median is one of these."""
    found = float(np.median([np.inf if value is None else value for value in values]))
    return found if np.isfinite(found) else None


def _as_table(rows: dict[str, dict[str, Any]], words: Words | None) -> str:
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "neurons": lambda row: f"{row['neurons']}",
        "parameters": lambda row: f"{row['parameters']:,}",
        "return": lambda row: _short(row["return"]),
        "lowest - highest": lambda row: f"{row['lowest']:.1f} - {row['highest']:.1f}",
    }
    if words is not None:
        columns[f"of the {words.oracle}"] = lambda row: _short(row["share_of_oracle"], ".1%")
        columns |= {measure.title: partial(_measured, name, words) for name, measure in words.measures.items()}
        if words.milestones:
            level = words.milestones[-1]
            columns[f"minutes to {level}"] = lambda row: _short(row[f"minutes_to_{level}"])
    return table([["", *columns], *([agent, *(cell(row) for cell in columns.values())] for agent, row in rows.items())])


def _measured(name: str, words: Words, row: dict[str, Any]) -> str:
    return shown(row[name], words, name)


def _short(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else f"{value:{form}}"

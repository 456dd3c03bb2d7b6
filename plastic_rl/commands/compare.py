"""The ``compare`` command: several kinds of agents, several seeds each, one figure.

A comparison's folder holds

config.json          the settings
AGENT/seed-K/        a run folder for each agent and seed, and AGENT/seed-K.log with what it printed
curves.csv           return by agent, seed, steps and seconds
agents.csv           a row per agent: medians over its seeds
comparison.png       median and quartiles against steps and against time
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import torch

from plastic_rl.errors import UsageError, UserError, option
from plastic_rl.figures.curves import compared_curves
from plastic_rl.files import DamagedFileError, read_json, write_csv
from plastic_rl.modules import LSTMCore, PlasticRNN, RNNCore, matching_hidden_size
from plastic_rl.runs import agents as runs
from plastic_rl.runs import folder as folders
from plastic_rl.settings import Agent, Compare, MazeRun
from plastic_rl.text import duration, number, table
from plastic_rl.training.session import Interruption, cores

CURVES, TABLE, FIGURE = "curves.csv", "agents.csv", "comparison.png"
MARKS = (10_000_000, 30_000_000, 100_000_000)  # steps at which returns are told
LEVELS = (60, 150)  # of the paper's plain and plastic networks in the end (its fig. 6)
COLUMNS = ("steps", "seconds", "return_mean")
MAY_DIFFER = ("out", "agents", "seeds", "jobs")  # between two calls for the same folder


Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # steps, seconds, returns


@dataclass(frozen=True)
class Job:
    """A run of a comparison: which agent, its settings with the seed, its folder."""

    agent: str
    config: MazeRun
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it was trained to the end and tested."""
        return (self.folder / folders.SUMMARY).exists()

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder.with_suffix(".log")

    def start(self) -> subprocess.Popen[bytes]:
        """Begin it, or go on with it, in a process of its own."""
        words = ["--resume", str(self.folder)]
        if not (self.folder / folders.CONFIG).exists():
            words = ["--out", str(self.folder), *self.config.to_words()]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "plastic_rl.cli", "maze", *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through ``compare`` only: a second signal would hurry it
            )

    def last_words(self) -> str:
        """Return the last line that it printed."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")

    def summary(self) -> dict[str, Any]:
        """Return its results.

        Raises:
            UserError: they are damaged.
        """
        path = self.folder / folders.SUMMARY
        try:
            return read_json(path.read_bytes(), str(path))
        except DamagedFileError as error:
            raise UserError(f"{error}: remove it to have it written anew") from error

    def curve(self) -> Curve:
        """Return its steps, seconds and returns.

        Raises:
            UserError: there is none.
        """
        rows = [row for row in runs.Metrics(self.folder).rows() if "return_mean" in row]
        if not rows:
            raise UserError(f"{self.folder} has no curve: {folders.METRICS} is missing, or has no return in it")
        steps, seconds, returns = (np.array([row[name] for row in rows]) for name in COLUMNS)
        return steps, seconds, returns


def compare(config: Compare) -> None:
    """Train what is not trained yet; then draw and tell how all agents in the folder compare.

    Raises:
        UserError: a run failed; the others were finished.
    """
    sizes = hidden_sizes(config)
    folders.make_folder(config.out, "--out")
    _keep_settings(config)
    jobs = [  # the first seed of all agents first: a part of a comparison is of use too
        _job(config, agent, seed, sizes[agent])
        for seed in range(config.seeds)
        for agent in dict.fromkeys(config.agents)
    ]
    with Interruption() as interruption:
        try:
            failed = _train([job for job in jobs if not job.finished], config.jobs or cores(), interruption)
        except KeyboardInterrupt:
            print("stopped; to go on, call the same command again")
            raise SystemExit(128 + interruption.number) from None
    everything = [  # those of earlier calls are of the comparison too
        _job(config, agent, seed, sizes[agent]) for agent in get_args(Agent) for seed in _seeds(config.out / agent)
    ]
    if done := [job for job in everything if job.finished]:
        _report(config.out, done)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(jobs)} runs failed: {', '.join(f'{job.log}' for job in failed)} say why"
        )


def _job(config: Compare, agent: str, seed: int, hidden_size: int) -> Job:
    settings = replace(config.run_settings(agent, seed), hidden_size=hidden_size)
    return Job(agent, settings, config.out / agent / f"seed-{seed}")


def _seeds(folder: Path) -> list[int]:
    """The seeds of which there are run folders."""
    found = (path.name.removeprefix("seed-") for path in folder.glob("seed-*"))
    return sorted(int(name) for name in found if name.isdecimal())


def _keep_settings(config: Compare) -> None:
    """Write the settings, or check that a comparison goes on with those it began with."""
    settings = {name: value for name, value in asdict(config).items() if name not in MAY_DIFFER}
    if not (config.out / folders.CONFIG).exists():
        if any(not path.name.startswith(".") for path in config.out.iterdir()):
            raise UsageError(f"--out {config.out} is not empty: name a new folder")
        folders.write_json(config.out / folders.CONFIG, {"command": "compare", "run": settings})
        return
    kept = folders.read_config(config.out)
    if kept["command"] != "compare":
        raise UsageError(f"--out {config.out} is a run of {kept['command']}: name a new folder")
    begun_with = asdict(Compare()) | kept["run"]  # a setting that is newer than the folder was as by default
    for name, value in settings.items():
        if (before := begun_with[name]) != value:
            found = "not given" if before is None else before
            raise UsageError(
                f"{option(name)} is {value}, but in {config.out} it is {found}: leave it so, or name a new --out"
            )


def hidden_sizes(config: Compare) -> dict[str, int]:
    """Return each agent's number of neurons: as the plastic agent, or for as many parameters."""
    env = runs.make_vec(config.env, 1, config.run_settings("plastic", 0).env_kwargs())
    if not hasattr(env.unwrapped, "oracle_return"):
        raise UsageError(f"--env {config.env} is not a maze of this package")
    features = gym.spaces.flatdim(env.single_observation_space)
    env.close()
    with torch.device("meta"):  # without memory: its parameters are only counted
        plastic = PlasticRNN(features, config.hidden_size)
    sizes: dict[str, int] = dict.fromkeys(get_args(Agent), config.hidden_size)
    return sizes | {
        "rnn-wide": matching_hidden_size(plastic, lambda size: RNNCore(features, size)),
        "lstm": matching_hidden_size(plastic, lambda size: LSTMCore(features, size)),
    }


def _train(waiting: list[Job], at_a_time: int, interruption: Interruption) -> list[Job]:
    """Train runs, some at a time, each in a process of its own; return those that failed."""
    running: dict[subprocess.Popen[bytes], Job] = {}
    failed = []
    waiting = waiting[::-1]
    began, count, done = time.perf_counter(), len(waiting), 0
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                job = waiting.pop()
                with interruption.held_back():  # or a process could be begun that nobody ends
                    running[job.start()] = job
                print(f"{job.agent}, seed {job.config.seed}: begun", flush=True)
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                job = running.pop(process)
                if not job.finished:
                    failed.append(job)
                    print(f"{job.agent}, seed {job.config.seed}: failed: {job.last_words()}", flush=True)
                    continue
                done += 1
                left = (time.perf_counter() - began) / done * (count - done)
                found = f"return {job.summary()['return_mean']:.1f}"
                print(f"{job.agent}, seed {job.config.seed}: {found}; {duration(left)} left", flush=True)
    finally:
        for process in running:  # each keeps a checkpoint, from which it goes on another time
            process.terminate()
        for process in running:
            process.wait()
    return failed


def _report(out: Path, jobs: Sequence[Job]) -> None:
    """Write and draw the curves, and tell what came out."""
    curves = {job: job.curve() for job in jobs}
    points = [
        (job.agent, job.config.seed, int(steps), *others)
        for job, curve in curves.items()
        for steps, *others in zip(*curve, strict=True)
    ]
    write_csv(out / CURVES, ("agent", "seed", "steps", "seconds", "return_mean"), points)
    agents = list(dict.fromkeys(job.agent for job in jobs))
    groups = {agent: [job for job in jobs if job.agent == agent] for agent in agents}
    drawn = {agent: [_in_minutes(curves[job]) for job in group] for agent, group in groups.items()}
    compared_curves(
        out / FIGURE, drawn, ("environment steps", "minutes of training, one thread", "return per lifetime")
    )
    rows = {agent: _row(group, [curves[job] for job in group]) for agent, group in groups.items()}
    columns = ("agent", *next(iter(rows.values())))
    write_csv(out / TABLE, columns, [(agent, *told.values()) for agent, told in rows.items()])
    print(f"\n{_as_table(rows)}\n")
    for what, name in {"curves": CURVES, "table": TABLE, "figure": FIGURE}.items():
        print(f"{what + ':':<8}{out / name}")


def _in_minutes(curve: Curve) -> Curve:
    steps, seconds, returns = curve
    return steps, seconds / 60, returns


def _row(jobs: Sequence[Job], curves: Sequence[Curve]) -> dict[str, float | int | None]:
    """What is told of an agent: medians over its seeds, and the lowest and the highest return in the end."""
    summaries = [job.summary() for job in jobs]

    def median(name: str) -> float | None:
        return _median([summary.get(name) for summary in summaries])  # an older version's may lack some

    returns = [summary["return_mean"] for summary in summaries]
    row: dict[str, float | int | None] = {
        "seeds": len(jobs),
        "neurons": jobs[0].config.hidden_size,
        "parameters": summaries[0]["parameters"],
        "return": median("return_mean"),
        "lowest": min(returns),
        "highest": max(returns),
        "share_of_oracle": _median([s["return_mean"] / s["oracle_return"] for s in summaries]),
        "share_with_a_hit": median("share_with_a_hit"),
        "steps_to_first_hit": median("steps_to_first_hit"),
        "steps_between_hits": median("steps_between_hits"),
        "env_steps_per_second": median("env_steps_per_second"),
    }
    for mark in MARKS:
        if all(steps[-1] >= mark for steps, _, _ in curves):
            at = [float(np.interp(mark, steps, returns_)) for steps, _, returns_ in curves]
            row[f"return_at_{number(mark)}"] = _median(at)
    for level in LEVELS:
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
    """The median; what was not reached (None) counts as more than all else, and may be the median itself."""
    found = float(np.median([np.inf if value is None else value for value in values]))
    return found if np.isfinite(found) else None


def _as_table(rows: dict[str, dict[str, Any]]) -> str:
    level = LEVELS[-1]
    told = [["", "neurons", "parameters", "return", "lowest - highest", "of the oracle", "with a hit", "first hit",
             "next hits", f"minutes to {level}"]]  # fmt: skip
    for agent, row in rows.items():
        told.append([
            agent, f"{row['neurons']}", f"{row['parameters']:,}", _short(row["return"]),
            f"{row['lowest']:.1f} - {row['highest']:.1f}", f"{row['share_of_oracle']:.1%}",
            _short(row["share_with_a_hit"], ".0%"), _short(row["steps_to_first_hit"]),
            _short(row["steps_between_hits"]),
            _short(row[f"minutes_to_{level}"]),
        ])  # fmt: skip
    return table(told)


def _short(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else f"{value:{form}}"

"""The ``maze`` command: training into a run folder, and going on after a stop."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from plastic_rl import runs
from plastic_rl.agents import PlasticA2C
from plastic_rl.agents.a2c import DivergenceError
from plastic_rl.config import MazeRun, changed
from plastic_rl.errors import UsageError, UserError
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.playing import assess, comparison, env_settings, make_vec, write_lifetime
from plastic_rl.plots import learning_curve
from plastic_rl.tables import duration, number


class Schedule:
    """Adam's learning rate by environment steps, so that a run's length does not change its course."""

    def __init__(self, start: float, decay_steps: int) -> None:
        self.start, self.decay_steps = start, decay_steps
        self.agent: PlasticA2C | None = None

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate for the steps done; Stable-Baselines3's progress is not used."""
        done = self.agent.num_timesteps if self.agent is not None else 0
        fallen = min(1.0, done / self.decay_steps) if self.decay_steps else 0.0
        return self.start * (1.0 - 0.9 * fallen)


class Recorder(BaseCallback):
    """Writes metrics and checkpoints, shows progress, and stops at a signal, all between two updates."""

    def __init__(self, folder: Path, config: MazeRun, seconds_before: float) -> None:
        super().__init__()
        self.folder, self.config, self.metrics = folder, config, runs.Metrics(folder)
        self.before, self.stopped_by = seconds_before, 0
        self.bar = tqdm(
            total=config.steps, unit="step", unit_scale=True, disable=not sys.stderr.isatty(), dynamic_ncols=True
        )

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self.before + time.perf_counter() - self.began

    def _on_training_start(self) -> None:
        self.began = self.saved = self.logged = time.perf_counter()
        self.logged_steps = self.shown = self.num_timesteps
        self.next_log = self.num_timesteps + self.config.log_every
        self.bar.update(self.num_timesteps)
        self.handlers = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by:
            raise KeyboardInterrupt
        self.stopped_by = number

    def _on_rollout_start(self) -> None:
        """Between two updates, where the agent can be kept whole."""
        if self.num_timesteps >= self.next_log:
            self._log()
        if self.stopped_by or time.perf_counter() - self.saved >= self.config.checkpoint_every:
            self.save()
        self.bar.update(self.num_timesteps - self.shown)
        self.shown = self.num_timesteps

    def _on_step(self) -> bool:
        return not self.stopped_by

    def _on_training_end(self) -> None:
        for which, handler in self.handlers.items():
            signal.signal(which, handler)
        self.bar.close()

    def save(self) -> None:
        """Keep a checkpoint."""
        runs.save_checkpoint(self.folder, self.agent)
        runs.write_json(self.folder / "progress.json", {"steps": self.num_timesteps, "seconds": self.seconds})
        self.saved = time.perf_counter()

    @property
    def agent(self) -> PlasticA2C:
        """The agent in training."""
        assert isinstance(self.model, PlasticA2C)
        return self.model

    def _log(self) -> None:
        now, agent = time.perf_counter(), self.agent
        rate = (self.num_timesteps - self.logged_steps) / (now - self.logged)
        self.logged, self.logged_steps = now, self.num_timesteps
        self.next_log = self.num_timesteps + self.config.log_every
        recent = [episode["r"] for episode in agent.ep_info_buffer or ()]
        row: dict[str, float] = {"steps": self.num_timesteps, "seconds": self.seconds, "env_steps_per_second": rate}
        if recent:
            row["return_mean"] = float(np.mean(recent))
        logged = self.logger.name_to_value
        for name in ("policy_loss", "value_loss", "entropy", "gradient_norm", "learning_rate", "eta"):
            if f"train/{name}" in logged:
                row[name] = float(logged[f"train/{name}"])
        self.metrics.add(row)
        self.logger.record("rollout/return_mean", row.get("return_mean", float("nan")))
        self.logger.record("time/env_steps_per_second", rate)
        self.logger.dump(self.num_timesteps)
        shown = f"{row['return_mean']:.1f}" if recent else "-"
        left = (self.config.steps - self.num_timesteps) / rate
        if self.bar.disable:
            print(
                f"{number(self.num_timesteps):>6} steps  return {shown:>6}  {number(rate)} steps/s  "
                f"{duration(max(0, left))} left",
                flush=True,
            )
        self.bar.set_postfix_str(f"return {shown}")


def train(config: MazeRun) -> None:
    """Train, or go on training, and then test, draw and summarize."""
    if config.resume is not None:
        folder, config = config.resume, _resumed(config)
    else:
        folder = runs.create(config.out, "maze")
    torch.set_num_threads(1)  # the networks are small: more threads would mostly wait for each other
    set_num_threads(config.threads or os.cpu_count())
    kwargs = config.env_kwargs()
    env = make_vec(config.env, config.envs, kwargs)
    schedule = Schedule(config.learning_rate, config.decay_steps)
    try:
        if config.resume is None:
            agent = _new_agent(config, env, schedule)
            runs.write_json(
                folder / runs.CONFIG,
                {"command": "maze", "run": config.to_json(), "agent": agent.describe(), "versions": runs.versions()},
            )
            seconds = 0.0
        else:
            agent = runs.load_checkpoint(folder, env, config.device, learning_rate=schedule)
            progress = runs.archive.read_json((folder / "progress.json").read_bytes(), "progress.json")
            seconds = float(progress["seconds"])
        schedule.agent = agent
        _run(folder, config, agent, seconds)
    finally:
        env.close()


def _new_agent(config: MazeRun, env: Any, schedule: Schedule) -> PlasticA2C:
    lifetime = getattr(getattr(env.unwrapped, "config", None), "lifetime", 250)
    try:
        return PlasticA2C(
            "PlasticPolicy",
            env,
            learning_rate=schedule,
            n_steps=config.n_steps or lifetime,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            ent_coef=config.ent_coef,
            squared_prob_coef=config.squared_prob_coef,
            vf_coef=config.vf_coef,
            max_grad_norm=config.max_grad_norm,
            normalize_advantage=config.normalize_advantage,
            stats_window_size=10 * config.envs,
            policy_kwargs=config.policy_kwargs(),
            seed=config.seed,
            device=config.device,
        )
    except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
        raise UsageError(f"--env {config.env}: {error}") from error


def _resumed(config: MazeRun) -> MazeRun:
    """The settings of the run to go on with, and of those given now the ones that may change."""
    assert config.resume is not None
    allowed = {"resume", "steps", "threads", "device"}
    if wrong := sorted(changed(config) - allowed):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise UsageError(f"--resume goes on with the settings of the run: leave out {names}")
    run = runs.read_run(config.resume)
    steps = config.steps if "steps" in changed(config) else run.steps
    return replace(run, resume=config.resume, steps=steps, threads=config.threads, device=config.device)


def _run(folder: Path, config: MazeRun, agent: PlasticA2C, seconds: float) -> None:
    rows = runs.Metrics(folder).keep_until(agent.num_timesteps)
    recorder = Recorder(folder, config, seconds)
    formats = ["tensorboard"] if config.tensorboard else []
    try:
        agent.set_logger(configure(str(folder), formats))
    except (ImportError, AssertionError) as error:
        raise UserError('--tensorboard needs its package: pip install "plastic-rl[tensorboard]"') from error
    print(
        f"{folder}: {count_parameters(agent.policy):,} parameters, {config.envs} environments of {config.env}, "
        f"{get_num_threads()} threads"
    )
    if rows or agent.num_timesteps:
        print(f"going on from step {number(agent.num_timesteps)}")
    if not (folder / runs.CHECKPOINT).exists():
        runs.save_checkpoint(folder, agent)
        runs.write_json(folder / "progress.json", {"steps": 0, "seconds": 0.0})
    try:
        if agent.num_timesteps < config.steps:
            left = config.steps - agent.num_timesteps
            agent.learn(left, recorder, log_interval=sys.maxsize, reset_num_timesteps=agent.num_timesteps == 0)
    except DivergenceError as error:
        raise UserError(f"{error}. The last good checkpoint is kept in {folder}") from error
    if recorder.stopped_by:
        print(f"stopped at step {number(agent.num_timesteps)}; go on with: --resume {folder}")
        raise SystemExit(128 + recorder.stopped_by)
    if agent.num_timesteps > (recorder.metrics.rows() or [{"steps": 0}])[-1]["steps"]:
        recorder._log()
    recorder.save()
    _finish(folder, config, agent, recorder.seconds)


def _finish(folder: Path, config: MazeRun, agent: PlasticA2C, seconds: float) -> None:
    results = assess(agent, config.env, config.env_kwargs(), config.eval_episodes, config.seed)
    rows = runs.Metrics(folder).rows()
    levels = {"random play": results["random_return"]}
    if "oracle_return" in results:
        levels["oracle"] = results["oracle_return"]
    title = f"{config.env}, {config.core} core of {config.hidden_size} neurons, seed {config.seed}"
    learning_curve(folder / runs.CURVE, rows, title, levels)
    try:
        write_lifetime(folder / runs.GIF, agent, env_settings(folder), config.seed, 12, True)
    except UserError as error:
        print(f"no {runs.GIF}: {error}")
    runs.write_json(
        folder / runs.SUMMARY,
        {
            "steps": agent.num_timesteps,
            "updates": agent._n_updates,
            "train_seconds": seconds,
            "env_steps_per_second": agent.num_timesteps / seconds,
            **results,
            "parameters": count_parameters(agent.policy),
            "env": config.env,
            "core": config.core,
            "seed": config.seed,
            "threads": get_num_threads(),
        },
    )
    print(f"trained {number(agent.num_timesteps)} steps in {duration(seconds)}; tested on fresh lifetimes:\n")
    print(comparison(results))
    print(f"\nlearning curve: {folder / runs.CURVE}\na lifetime: {folder / runs.GIF}\nwatch it: watch {folder}")

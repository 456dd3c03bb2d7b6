"""The ``maze`` command: training into a run folder, and going on after a stop."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from plastic_rl.agents import PlasticA2C
from plastic_rl.errors import DivergenceError, UsageError, UserError, invocation
from plastic_rl.evaluation.agents import assess, comparison
from plastic_rl.figures.curves import learning_curve
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.runs import agents as runs
from plastic_rl.runs import folder as folders
from plastic_rl.seeds import FRESH
from plastic_rl.settings import MazeRun
from plastic_rl.text import duration, number
from plastic_rl.training.session import (
    Interruption,
    Progress,
    Session,
    check_machine,
    check_not_shorter,
    session,
    thread_count,
)
from plastic_rl.viewing.recording import write_lifetime


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

    def __init__(self, folder: Path, config: MazeRun, seconds_before: float, interruption: Interruption) -> None:
        super().__init__()
        self.folder, self.config, self.metrics = folder, config, runs.Metrics(folder)
        self.interruption = interruption
        self.stopping = False
        self.saved_steps = 0
        self._before = seconds_before
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self._before + (time.perf_counter() - self._began if self._began is not None else 0.0)

    def _on_training_start(self) -> None:
        self._began = self._saved = self._logged = time.perf_counter()
        self._logged_steps = self.num_timesteps
        self._progress = Progress("steps", self.config.steps, self.num_timesteps)

    def _on_rollout_start(self) -> None:
        """Between two updates, where the agent can be kept whole."""
        # At multiples, so that the rows are the same with and without a resumption.
        if self.num_timesteps // self.config.log_every > self._logged_steps // self.config.log_every:
            self.log()
        self.stopping = self.interruption.number != 0
        if self.stopping or time.perf_counter() - self._saved >= self.config.checkpoint_every:
            self.save()
        self._progress.show(self.num_timesteps)

    def _on_step(self) -> bool:
        return not self.stopping

    def _on_training_end(self) -> None:
        if not self.stopping:
            self._progress.show(self.num_timesteps)
        self._progress.close()

    def save(self) -> None:
        """Keep a checkpoint.

        Raises:
            DivergenceError: a weight is not finite; the checkpoint before stays.
        """
        if not all(torch.isfinite(weight).all() for weight in self.agent.policy.parameters()):
            raise DivergenceError(f"training diverged at step {self.num_timesteps}: a weight is not finite")
        runs.save_checkpoint(self.folder, self.agent, self.seconds)
        self._saved, self.saved_steps = time.perf_counter(), self.num_timesteps

    @property
    def agent(self) -> PlasticA2C:
        """The agent in training."""
        assert isinstance(self.model, PlasticA2C)
        return self.model

    def log(self) -> None:
        """Write a row of metrics and say how far training is."""
        now, agent = time.perf_counter(), self.agent
        rate = (self.num_timesteps - self._logged_steps) / max(now - self._logged, 1e-9)
        self._logged, self._logged_steps = now, self.num_timesteps
        recent = [episode["r"] for episode in agent.ep_info_buffer or ()]
        row: dict[str, float] = {"steps": self.num_timesteps, "seconds": self.seconds, "env_steps_per_second": rate}
        if recent:
            row["return_mean"] = float(np.mean(recent))
        logged = self.logger.name_to_value
        for name in ("policy_loss", "value_loss", "entropy", "gradient_norm", "learning_rate", "eta"):
            if f"train/{name}" in logged:
                row[name] = float(logged[f"train/{name}"])
        self.metrics.add(row)
        if recent:
            self.logger.record("rollout/return_mean", row["return_mean"])
        self.logger.record("time/env_steps_per_second", rate)
        self.logger.dump(self.num_timesteps)
        shown = f"{row['return_mean']:.1f}" if recent else "-"
        self._progress.tell(self.num_timesteps, "return", shown, rate)


def train(config: MazeRun) -> None:
    """Train, or go on training, and then test, draw and summarize."""
    check_machine(config)
    memory = (
        f"{config.envs} environments x {config.hidden_size} neurons: "
        "try smaller --envs, --hidden-size, --n-steps or --size"
    )  # fmt: skip
    with session("maze", memory) as this:
        if config.resume is not None:
            this.folder = config.resume
        torch.set_num_threads(1)  # the networks are small: more threads would mostly wait for each other
        set_num_threads(thread_count(config))
        env = runs.make_vec(config.env, config.envs, config.env_kwargs())
        try:
            schedule = Schedule(config.learning_rate, config.decay_steps)
            folder = this.folder
            if folder is None:
                agent, seconds = _new_agent(config, env, schedule), 0.0
                folder = this.folder = folders.create(config.out, "maze")
            elif (folder / runs.CHECKPOINT).exists() or (folder / folders.METRICS).exists():
                agent, seconds = _kept_agent(folder, config, env, schedule)
            else:  # stopped before it began
                agent, seconds = _new_agent(config, env, schedule), 0.0
            runs.write_config(folder, config, agent)
            schedule.agent = agent
            _run(folder, config, agent, Recorder(folder, config, seconds, this.interruption), this)
        finally:
            env.close()


def _new_agent(config: MazeRun, env: Any, schedule: Schedule) -> PlasticA2C:
    for what, space in (("observations", env.single_observation_space), ("actions", env.single_action_space)):
        if not isinstance(space, (spaces.Box, spaces.Discrete)):
            raise UsageError(
                f"--env {config.env} has {what} of a kind that is not supported: {space} "
                "is neither Box nor Discrete; a Gymnasium wrapper may flatten it"
            )
    try:
        return PlasticA2C(
            "PlasticPolicy",
            env,
            learning_rate=schedule,
            **config.agent_settings(),
            stats_window_size=_window(config),
            policy_kwargs=config.policy_kwargs(),
            device=config.device,
        )
    except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
        raise UsageError(f"--env {config.env} cannot be learned by this agent: {error}") from error


def _kept_agent(folder: Path, config: MazeRun, env: Any, schedule: Schedule) -> tuple[PlasticA2C, float]:
    """The agent of the last checkpoint, and the seconds it has trained."""
    agent, seconds = runs.load_checkpoint(
        folder, env, config.device, learning_rate=schedule, stats_window_size=_window(config)
    )
    if agent.num_timesteps >= config.steps and (folder / folders.SUMMARY).exists():
        raise UsageError(
            f"{folder} has finished its {agent.num_timesteps} steps: to go on, give a larger number, "
            f"--steps {2 * agent.num_timesteps} for example"
        )
    check_not_shorter("steps", config.steps, folder, agent.num_timesteps, config.envs * config.n_steps)
    assert agent.env is not None
    if agent.num_timesteps and not agent.keeps_episodes:
        print(f"{config.env} cannot be put back into the middle of its episodes: they begin anew")
        agent.env.seed(config.seed + agent.num_timesteps)
    return agent, seconds


def _window(config: MazeRun) -> int:
    """Over how many lifetimes the logged return is averaged."""
    return 10 * config.envs


def _run(folder: Path, config: MazeRun, agent: PlasticA2C, recorder: Recorder, this: Session) -> None:
    if not (folder / runs.CHECKPOINT).exists():
        runs.save_checkpoint(folder, agent, 0.0)
    folders.clear_leftovers(folder, runs.FILES)
    recorder.metrics.keep_until(agent.num_timesteps)
    agent.set_logger(configure(str(folder), ["tensorboard"] if config.tensorboard else []))
    print(
        f"{folder}: {count_parameters(agent.policy):,} parameters, {config.envs} environments of {config.env}, "
        f"{get_num_threads()} threads"
    )
    if agent.num_timesteps:
        print(f"going on from step {agent.num_timesteps}", flush=True)
    if agent.num_timesteps < config.steps:
        _learn(folder, config, agent, recorder, this)
    _finish(folder, config, agent, recorder.seconds)


def _learn(folder: Path, config: MazeRun, agent: PlasticA2C, recorder: Recorder, this: Session) -> None:
    # They are of a shorter run.
    for name in (folders.SUMMARY, folders.CURVE, runs.GIF):
        (folder / name).unlink(missing_ok=True)
    left, done = config.steps - agent.num_timesteps, agent.num_timesteps
    recorder.interruption.patient = True
    try:
        agent.learn(left, recorder, log_interval=sys.maxsize, reset_num_timesteps=done == 0)
        if not recorder.stopping:
            done = agent.num_timesteps
            if not any(row["steps"] == done for row in recorder.metrics.rows()):
                recorder.log()
            recorder.save()
    except DivergenceError as error:
        raise UserError(f"{error}. The last good checkpoint is kept in {folder}") from error
    this.stop(f"step {recorder.saved_steps} of {config.steps}")


def _finish(folder: Path, config: MazeRun, agent: PlasticA2C, seconds: float) -> None:
    rate = agent.num_timesteps / seconds
    print(f"\ntrained {number(agent.num_timesteps)} steps in {duration(seconds)}, {number(rate)} steps/s", flush=True)
    results = assess(agent, config.env, config.env_kwargs(), config.eval_episodes, config.seed)
    levels = {"random play": results["random_return"]}
    if "oracle_return" in results:
        levels["oracle"] = results["oracle_return"]
    title = f"{config.env}, {config.core} core of {config.hidden_size} neurons, seed {config.seed}"
    rows = [row for row in runs.Metrics(folder).rows() if "return_mean" in row]
    steps, returns = (np.array([row[name] for row in rows]) for name in ("steps", "return_mean"))
    labels = ("environment steps", "return per lifetime")
    learning_curve(folder / folders.CURVE, steps, returns, title, labels, levels)
    made = {"learning curve": folder / folders.CURVE}
    try:
        make = partial(runs.make_env, config.env, **config.env_kwargs())
        write_lifetime(folder / runs.GIF, agent, make, FRESH + config.seed, 12)
        made["a lifetime"] = folder / runs.GIF
    except UserError as error:
        print(f"no {runs.GIF}: {error}")
    folders.write_json(
        folder / folders.SUMMARY,
        {
            "steps": agent.num_timesteps,
            "updates": agent._n_updates,
            "train_seconds": seconds,
            "env_steps_per_second": rate,
            **results,
            "parameters": count_parameters(agent.policy),
            "env": config.env,
            "core": config.core,
            "seed": config.seed,
            "threads": get_num_threads(),
        },
    )
    print(f"tested on {config.eval_episodes} fresh lifetimes:\n\n{comparison(results)}\n")
    for name, path in made.items():
        print(f"{name + ':':<16}{path}")
    print(f"{'watch it:':<16}{invocation('watch', folder)}")

"""What an agent's training writes: metrics, checkpoints and progress; and its learning rate."""

import time

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from plastic_rl.agents import RecurrentAgent
from plastic_rl.errors import DivergenceError
from plastic_rl.runs.agents import save_checkpoint
from plastic_rl.runs.folder import RunFolder
from plastic_rl.training.session import Interruption, Progress

LOSSES = ("policy_loss", "value_loss", "entropy", "gradient_norm", "learning_rate", "eta")
COLUMNS = ("steps", "seconds", "return_mean", "env_steps_per_second", *LOSSES)


class Schedule:
    """Adam's learning rate as a function of environment steps: it falls linearly to a tenth, and stays there.

    It does not depend on how long a run is to be, so that a resumed run has the same rates as an uninterrupted one.

    Args:
        start: the rate at the first step.
        decay_steps: steps over which it falls; 0: it does not.
    """

    def __init__(self, start: float, decay_steps: int) -> None:
        self.start, self.decay_steps = start, decay_steps
        self.agent: RecurrentAgent | None = None  # whose steps count

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate after the agent's steps so far; Stable-Baselines3's progress is not used."""
        done = self.agent.num_timesteps if self.agent is not None else 0
        fallen = min(1.0, done / self.decay_steps) if self.decay_steps else 0.0
        return self.start * (1.0 - 0.9 * fallen)


class Recorder(BaseCallback):
    """Writes metrics and checkpoints, shows progress, and stops at a signal, always between two updates.

    Args:
        run: folder of the run.
        interruption: says whether a signal came.
        total: environment steps when training ends.
        seconds_before: seconds of training before a stop.
        log_every: environment steps between rows of metrics.csv.
        checkpoint_every: seconds between checkpoints.

    Attributes:
        metrics: the run's metrics.csv.
        stopping: whether a signal ends training.
        saved_steps: environment steps at the last checkpoint.
    """

    def __init__(
        self,
        run: RunFolder,
        interruption: Interruption,
        total: int,
        seconds_before: float,
        log_every: int,
        checkpoint_every: float,
    ) -> None:
        super().__init__()
        self.run, self.interruption, self.total = run, interruption, total
        self.log_every, self.checkpoint_every = log_every, checkpoint_every
        self.metrics = run.metrics(COLUMNS)
        self.stopping = False
        self.saved_steps = 0
        self._before = seconds_before
        self._began: float | None = None

    @property
    def agent(self) -> RecurrentAgent:
        """The agent in training."""
        assert isinstance(self.model, RecurrentAgent)
        return self.model

    @property
    def seconds(self) -> float:
        """Seconds of training, including those before a stop."""
        return self._before + (time.perf_counter() - self._began if self._began is not None else 0.0)

    def _on_training_start(self) -> None:
        self._began = self._saved = self._logged = time.perf_counter()
        self._logged_steps = self.num_timesteps
        self._progress = Progress("steps", self.total, self.num_timesteps)

    def _on_rollout_start(self) -> None:
        """Act between two updates, where the agent's state is complete."""
        # At multiples, so that a resumed run has the same rows as an uninterrupted one.
        if self.num_timesteps // self.log_every > self._logged_steps // self.log_every:
            self.log()
        self.stopping = self.interruption.number != 0
        if self.stopping or time.perf_counter() - self._saved >= self.checkpoint_every:
            self.save()
        self._progress.show(self.num_timesteps)

    def _on_step(self) -> bool:
        return not self.stopping

    def _on_training_end(self) -> None:
        if not self.stopping:
            self._progress.show(self.num_timesteps)
        self._progress.close()

    def finish(self) -> None:
        """Write the last row and the last checkpoint of a training that was not stopped."""
        if not any(row["steps"] == self.num_timesteps for row in self.metrics.rows()):
            self.log()
        self.save()

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            DivergenceError: a weight is not finite; the checkpoint before stays.
        """
        if not all(torch.isfinite(weight).all() for weight in self.agent.policy.parameters()):
            raise DivergenceError(f"training diverged at step {self.num_timesteps}: a weight is not finite")
        save_checkpoint(self.run, self.agent, self.seconds)
        self._saved, self.saved_steps = time.perf_counter(), self.num_timesteps

    def log(self) -> None:
        """Write a row of metrics, and report progress."""
        now, agent = time.perf_counter(), self.agent
        rate = (self.num_timesteps - self._logged_steps) / max(now - self._logged, 1e-9)
        self._logged, self._logged_steps = now, self.num_timesteps
        recent = [episode["r"] for episode in agent.ep_info_buffer or ()]
        row: dict[str, float] = {"steps": self.num_timesteps, "seconds": self.seconds, "env_steps_per_second": rate}
        if recent:
            row["return_mean"] = float(np.mean(recent))
        logged = self.logger.name_to_value
        for name in LOSSES:
            if f"train/{name}" in logged:
                row[name] = float(logged[f"train/{name}"])
        self.metrics.add(row)
        if recent:
            self.logger.record("rollout/return_mean", row["return_mean"])
        self.logger.record("time/env_steps_per_second", rate)
        self.logger.dump(self.num_timesteps)
        shown = f"{row['return_mean']:.1f}" if recent else "-"
        self._progress.report(self.num_timesteps, "return", shown, rate)

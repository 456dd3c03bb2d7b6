"""The commands ``maze``, ``cue-reward`` and ``cue-action``: train an agent in an environment."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.logger import configure

from plastic_rl.agents import RecurrentAgent
from plastic_rl.commands import lifecycle
from plastic_rl.commands.environments import make_env, make_vec
from plastic_rl.errors import UsageError, UserError, invocation, option
from plastic_rl.evaluation.agents import TOGETHER, assess, comparison, words_of
from plastic_rl.figures.curves import learning_curve
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.runs.agents import ALGORITHM, lasting_description, load_checkpoint, save_checkpoint
from plastic_rl.runs.folder import AGENT_CHECKPOINT, CURVE, LIFETIME, RunFolder
from plastic_rl.seeds import FRESH
from plastic_rl.settings import AgentRun
from plastic_rl.training.machine import cores
from plastic_rl.training.recorder import Recorder, Schedule
from plastic_rl.training.session import Interruption
from plastic_rl.viewing.recording import write_lifetime

GIF_FPS = 12  # steps a second


def train(config: AgentRun, run: RunFolder | None = None) -> None:
    """Train an agent: a new one, or that of a run which is resumed."""
    torch.set_num_threads(1)  # the networks are small: more threads would mostly wait for each other
    set_num_threads(config.threads or cores())
    sizes = ", ".join(map(option, config.sizes))
    memory = f"{config.envs} environments x {config.hidden_size} neurons: try smaller {sizes}"

    @contextmanager
    def prepare(new: bool) -> Iterator[AgentTraining]:
        env = make_vec(config.env, config.envs, config.env_kwargs())
        try:
            yield AgentTraining(config, env, new)
        finally:
            env.close()

    lifecycle.train(config, run, memory, prepare)


class AgentTraining:
    """Training of an agent in an environment; see ``lifecycle.Training``."""

    limit = 0  # the learning rate never falls to 0

    def __init__(self, config: AgentRun, env: VectorEnv, new: bool) -> None:
        self.config, self.env = config, env
        self.batch = config.envs * config.n_steps
        self.window = 10 * config.envs  # lifetimes over which the logged return is averaged
        self.schedule = Schedule(config.learning_rate, config.decay_steps)
        self.agent: RecurrentAgent
        self.seconds = 0.0
        if new:
            self.agent = self._new_agent()

    def _new_agent(self) -> RecurrentAgent:
        config, env = self.config, self.env
        try:
            return ALGORITHM(
                "PlasticPolicy",
                env,
                learning_rate=self.schedule,
                **config.agent_settings(),
                stats_window_size=self.window,
                policy_kwargs=config.policy_kwargs() | {"optimizer_kwargs": {"eps": config.adam_eps}},
                device=config.device,
            )
        except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
            raise UsageError(f"--env {config.env} cannot be learned by this agent: {error}") from error

    @property
    def done(self) -> int:
        """Environment steps so far."""
        return self.agent.num_timesteps

    @property
    def description(self) -> str:
        """What is trained."""
        return (
            f"{count_parameters(self.agent.policy):,} parameters, {self.config.envs} environments of {self.config.env}"
        )

    def open(self, run: RunFolder, interruption: Interruption) -> None:
        """Get ready to train into a run folder."""
        self.run, self.interruption = run, interruption

    def restore(self) -> None:
        """Continue from the checkpoint in the folder."""
        self.agent, self.seconds = load_checkpoint(
            self.run, self.env, self.config.device, learning_rate=self.schedule, stats_window_size=self.window
        )

    def write_config(self) -> None:
        """Write the run's config.json."""
        self.run.write_config(self.config, agent=lasting_description(self.agent))

    def train(self, total: int) -> int:
        """Train until ``total`` steps are done or a signal comes; return the steps at the last checkpoint."""
        config, agent, run = self.config, self.agent, self.run
        self.schedule.agent = agent
        if not (run.path / AGENT_CHECKPOINT).exists():
            save_checkpoint(run, agent, 0.0)
        recorder = Recorder(run, self.interruption, total, self.seconds, config.log_every, config.checkpoint_every)
        run.clear_leftovers()
        recorder.metrics.keep_until(agent.num_timesteps)
        run.drop_results()
        if agent.num_timesteps and not agent.keeps_episodes:
            print(f"the episodes of {config.env} cannot be continued in their middle: they begin anew", flush=True)
            assert agent.env is not None
            agent.env.seed(config.seed + agent.num_timesteps)
        agent.set_logger(configure(str(run), ["tensorboard"] if config.tensorboard else []))
        left = total - agent.num_timesteps
        agent.learn(left, recorder, log_interval=sys.maxsize, reset_num_timesteps=agent.num_timesteps == 0)
        if not recorder.stopping:
            recorder.finish()
        self.seconds = recorder.seconds
        return recorder.saved_steps

    def finish(self) -> lifecycle.Outcome:
        """Test the agent, and draw its learning curve and one lifetime."""
        config, agent, run = self.config, self.agent, self.run
        env = make_vec(config.env, min(TOGETHER, config.eval_episodes), config.env_kwargs())
        try:
            results = assess(agent, env, config.eval_episodes, config.seed)
        finally:
            env.close()
        self._draw_curve(results)
        lines = {"learning curve": str(run.path / CURVE)}
        try:
            make = partial(make_env, config.env, **config.env_kwargs())
            write_lifetime(run.path / LIFETIME, agent, make, FRESH + config.seed, GIF_FPS)
            lines["a lifetime"] = str(run.path / LIFETIME)
        except UserError as error:
            print(f"no {LIFETIME}: {error}")
        summary = {
            "steps": agent.num_timesteps,
            "updates": agent._n_updates,
            "train_seconds": self.seconds,
            "env_steps_per_second": agent.num_timesteps / self.seconds,
            **results,
            "parameters": count_parameters(agent.policy),
            "env": config.env,
            "core": config.core,
            "seed": config.seed,
            "threads": get_num_threads(),
        }
        tested = f"{config.eval_episodes} fresh lifetimes"
        lines["watch it"] = invocation("watch", run)
        return lifecycle.Outcome(summary, tested, comparison(results, words_of(env)), lines)

    def _draw_curve(self, results: dict[str, float]) -> None:
        config = self.config
        levels = {"random play": results["random_return"]}
        if (words := words_of(self.env)) is not None:
            levels[words.oracle] = results["oracle_return"]
        title = f"{config.env}, {config.core} core of {config.hidden_size} neurons, seed {config.seed}"
        rows = [row for row in self.run.metrics().rows() if "return_mean" in row]
        steps, returns = (np.array([row[name] for row in rows]) for name in ("steps", "return_mean"))
        labels = ("environment steps", "return per lifetime")
        learning_curve(self.run.path / CURVE, steps, returns, title, labels, levels)

"""Advantage actor-critic, trained through whole lifetimes."""

import inspect
import json
import pathlib
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import check_for_correct_spaces, explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_wrapper,
)
from torch.nn import functional as F

from plastic_rl.agents import archive
from plastic_rl.agents.buffer import LifetimeBuffer
from plastic_rl.agents.policies import PlasticPolicy, State
from plastic_rl.agents.vec_env import GymnasiumVecEnv
from plastic_rl.errors import DivergenceError
from plastic_rl.modules import PlasticRNN
from plastic_rl.modules.stepping import Stepper

FORMAT = "plastic-rl PlasticA2C 1"
_SETTINGS = (
    "n_steps", "gamma", "gae_lambda", "ent_coef", "squared_prob_coef", "vf_coef", "max_grad_norm",
    "normalize_advantage", "seed",
)  # fmt: skip

Self = TypeVar("Self", bound="PlasticA2C")


class PlasticA2C(OnPolicyAlgorithm):
    """A2C (Mnih et al. 2016) whose gradient flows through the steps of a lifetime, its plasticity included.

    The agent acts for ``n_steps`` in every environment without gradients; then the recorded steps are replayed in
    time order through the recurrent core, and one gradient step is made. A lifetime that is longer is cut there, and
    goes on from the state it was left in. Everything else is Stable-Baselines3's: callbacks, loggers, ``learn``,
    ``predict(obs, state, episode_start)``, ``evaluate_policy``.

    The defaults are the settings of Miconi et al. 2018, section 4.5.

    Args:
        policy: ``"PlasticPolicy"`` or a subclass of it.
        env: a Gymnasium environment or its id, a Gymnasium ``VectorEnv`` or a Stable-Baselines3 ``VecEnv``.
        learning_rate: of Adam, or a function of the remaining progress (from 1 to 0).
        n_steps: steps per environment and update; the lifetime, where that can be.
        gamma: discount factor.
        gae_lambda: of generalized advantage estimation; 1: returns minus values, as in the paper.
        ent_coef: weight of the entropy bonus.
        squared_prob_coef: weight of the penalty on the sum of squared action probabilities, which stands in for
            the entropy bonus in the paper; discrete actions only, without effect on others.
        vf_coef: weight of the squared error of the values.
        max_grad_norm: to which the gradient's norm is clipped.
        normalize_advantage: whether advantages are scaled to mean 0 and standard deviation 1 in each update.
        stats_window_size: episodes over which logged returns are averaged.
        tensorboard_log: folder for TensorBoard.
        policy_kwargs: settings of :class:`PlasticPolicy`: core, hidden_size, rule, alpha, nonlinearity, ...
            The eps of Adam, the optimizer, is 1e-4 by default, as in the paper.
        verbose: 0 nothing, 1 information, 2 debugging.
        seed: of all random generators.
        device: where the network is.

    Raises:
        TypeError: observations of a kind that is not supported, or no env.
        ValueError: a setting that cannot be.

    Example:
        >>> import gymnasium as gym
        >>> import plastic_rl
        >>> from plastic_rl.agents import PlasticA2C
        >>> env = gym.make_vec("PlasticRL/GridMaze-v0", num_envs=4, lifetime=20)
        >>> agent = PlasticA2C("PlasticPolicy", env, n_steps=20, policy_kwargs=dict(core="plastic", hidden_size=16))
        >>> agent = agent.learn(total_timesteps=160)
        >>> agent.num_timesteps
        160
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"PlasticPolicy": PlasticPolicy}
    policy: PlasticPolicy
    rollout_buffer: LifetimeBuffer
    _stepper: Stepper  # which took the core through the last rollout

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | gym.vector.VectorEnv | str | None,
        learning_rate: float | Schedule = 1e-4,
        n_steps: int = 250,
        gamma: float = 0.9,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        squared_prob_coef: float = 0.03,
        vf_coef: float = 0.1,
        max_grad_norm: float = 4.0,
        normalize_advantage: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if env is None and _init_setup_model:
            raise TypeError("env is None: expected an environment, whose spaces the network is made for")
        if n_steps < 1:
            raise ValueError(f"n_steps is {n_steps}: expected at least 1")
        for name, value in (("gamma", gamma), ("gae_lambda", gae_lambda)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: expected 0 to 1")
        if not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {max_grad_norm}: expected more than 0; inf does not clip")
        self.squared_prob_coef = squared_prob_coef
        self.normalize_advantage = normalize_advantage
        self._core_state: Any = None
        self._acting: Stepper | None = None  # while it is taking the core through a rollout
        policy_kwargs = dict(policy_kwargs or {})
        if policy_kwargs.get("optimizer_class", torch.optim.Adam) is torch.optim.Adam:
            policy_kwargs["optimizer_kwargs"] = {"eps": 1e-4} | (policy_kwargs.get("optimizer_kwargs") or {})
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=LifetimeBuffer,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            supported_action_spaces=(spaces.Discrete, spaces.Box),
            _init_setup_model=_init_setup_model,
        )

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        if isinstance(env, gym.vector.VectorEnv):
            env = VecMonitor(GymnasiumVecEnv(env))
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        if isinstance(self.observation_space, (spaces.Dict, spaces.Tuple)):
            raise TypeError(
                f"observations of a kind that is not supported: {self.observation_space} is neither Box nor Discrete; "
                "gymnasium.wrappers.FlattenObservation makes it a Box"
            )
        super()._setup_model()
        try:
            self.describe()
        except TypeError as error:  # better known before training than after
            warnings.warn(str(error), stacklevel=3)

    @property
    def keeps_episodes(self) -> bool:
        """Whether the environment can be put back into the middle of its episodes.

        It can if it is a Gymnasium ``VectorEnv`` with the methods get_state and set_state, such as the mazes'
        (``gym.make_vec``), with no wrapper that has a memory of its own around it.
        """
        env: Any = self.env
        while type(env) in (VecMonitor, VecNormalize, VecTransposeImage):  # whose memory is kept too
            env = env.venv
        return isinstance(env, GymnasiumVecEnv) and env.has_attr("get_state")

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Act for so many steps and record them; see Stable-Baselines3. Returns False if a callback stopped it."""
        self.policy.set_training_mode(False)
        assert isinstance(rollout_buffer, LifetimeBuffer)
        rollout_buffer.reset()
        callback.on_rollout_start()
        if self._core_state is None or len(self._core_state[0]) != env.num_envs:
            self._core_state = self.policy.core.initial_state(env.num_envs)
        self._acting = self._stepper = stepper = self.policy.core.stepper(self._core_state, n_rollout_steps)
        try:
            for _ in range(n_rollout_steps):
                seen, started = self._last_obs, self._last_episode_starts
                assert isinstance(seen, np.ndarray)
                assert started is not None
                with torch.no_grad():
                    features = self.policy.features(obs_as_tensor(seen, self.device))
                    starts = torch.as_tensor(started, dtype=torch.bool, device=self.device)
                actions = self.policy.act(stepper.step(features, starts))
                observations, rewards, dones, infos = env.step(self.policy.moves(actions))
                assert isinstance(observations, np.ndarray)
                # At once: what a callback saves, or an interruption leaves, is then of one moment.
                self._last_obs, self._last_episode_starts = observations, dones
                self.num_timesteps += env.num_envs
                callback.update_locals(locals())
                if not callback.on_step():
                    return False
                self._update_info_buffer(infos, dones)
                if dones.any():
                    rewards = self._with_bootstrap(rewards, infos, stepper)
                rollout_buffer.add(seen, actions.cpu().numpy(), rewards, started)
        finally:
            self._core_state, self._acting = stepper.state, None

        rollout_buffer.values[:] = self.policy.values(stepper.outputs).cpu().numpy()
        assert isinstance(self._last_obs, np.ndarray)
        last_values = self._value(self._last_obs, self._core_state, dones)
        rollout_buffer.compute_returns_and_advantage(last_values, dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """Choose actions; see :meth:`PlasticPolicy.predict`."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    def _value(self, observations: np.ndarray, state: Any, episode_starts: np.ndarray) -> torch.Tensor:
        """Return the values (B,) of observations that the agent has not acted on; the state stays as it is."""
        with torch.no_grad():
            starts = torch.as_tensor(episode_starts, dtype=torch.bool, device=self.device)
            return self.policy(obs_as_tensor(observations, self.device), state, starts)[1]

    def _with_bootstrap(self, rewards: np.ndarray, infos: list[dict[str, Any]], stepper: Any) -> np.ndarray:
        """Add the discounted value of the last observation where an episode was cut off rather than over."""
        cut = [i for i, info in enumerate(infos) if info.get("TimeLimit.truncated", False)]
        if cut:
            last = np.stack([infos[i]["terminal_observation"] for i in cut])
            state = type(self._core_state)(*(s[cut] for s in stepper.state))
            values = self._value(last, state, np.zeros(len(cut), bool))
            rewards = rewards.copy()
            rewards[cut] += self.gamma * values.cpu().numpy()
        return rewards

    def train(self) -> None:
        """Make one gradient step on the recorded rollout.

        Raises:
            DivergenceError: the loss or the gradient is not finite; the weights are as they were before.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rollout = next(self.rollout_buffer.get())
        distribution, values = self.policy.replay(rollout.observations, self._stepper)
        actions, advantages = rollout.actions.flatten(0, 1), rollout.advantages.flatten()
        if isinstance(self.action_space, spaces.Discrete):
            actions = actions.long().flatten()
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        policy_loss = -(advantages * distribution.log_prob(actions)).mean()
        value_loss = F.mse_loss(values, rollout.returns.flatten())
        entropy = distribution.entropy()
        assert entropy is not None
        loss = policy_loss + self.vf_coef * value_loss - self.ent_coef * entropy.mean()
        if isinstance(distribution, CategoricalDistribution):
            probabilities = distribution.distribution.probs
            loss = loss + self.squared_prob_coef * probabilities.square().sum(-1).mean()

        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise DivergenceError(
                f"training diverged at step {self.num_timesteps}: loss {loss.item()}, gradient norm {norm.item()}; "
                "try a smaller learning_rate or max_grad_norm"
            )
        try:
            self.policy.optimizer.step()
        except RuntimeError as error:  # a step too long for a number
            raise DivergenceError(f"training diverged at step {self.num_timesteps}: {error}") from error
        if isinstance(self.policy.core, PlasticRNN):
            self.policy.core.constrain_()

        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/policy_loss", policy_loss.item())
        self.logger.record("train/value_loss", value_loss.item())
        self.logger.record("train/entropy", entropy.mean().item())
        self.logger.record("train/gradient_norm", norm.item())
        explained = explained_variance(self.rollout_buffer.values.flatten(), self.rollout_buffer.returns.flatten())
        self.logger.record("train/explained_variance", explained)
        if isinstance(self.policy.core, PlasticRNN):
            self.logger.record("train/eta", self.policy.core.eta.item())

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "PlasticA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for so many environment steps; arguments as in Stable-Baselines3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def save(  # type: ignore[override]
        self,
        path: archive.File,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save settings, weights and optimizer, in a file that can be loaded without running code.

        A learning rate schedule is a function, and is kept by its present value only: ``load`` it with
        ``learning_rate`` to go on with one. What concerns logs, ``tensorboard_log`` and ``verbose``, is not kept.

        Args:
            path: a path (".zip" is added if it has no ending) or a file opened for writing bytes.
            exclude: not supported: what is saved is fixed.
            include: ``["run"]`` adds what a continuation needs: random state, environment, core state, and what
                ``VecMonitor`` and ``VecNormalize`` know. Where :attr:`keeps_episodes` holds it is exact, but for the
                steps of a rollout in which a callback saves; elsewhere episodes begin anew.

        Raises:
            TypeError: a space or a policy setting that JSON cannot describe.
            ValueError: something else is to be excluded or included, or there is no environment to save the state of.
        """
        include = set(include or ())
        if exclude or include - {"run"}:
            raise ValueError('exclude must be left out, and include may be ["run"] only')
        if isinstance(path, (str, pathlib.Path)) and not pathlib.Path(path).suffix:
            path = pathlib.Path(path).with_suffix(".zip")
        archive.write(path, self.to_archive("run" in include))

    def set_parameters(
        self, load_path_or_dict: archive.File | dict[str, Any], exact_match: bool = True, device: Any = "auto"
    ) -> None:
        """Take weights and the optimizer's state from a file that ``save`` wrote, or from ``get_parameters``.

        Raises:
            plastic_rl.agents.archive.ArchiveError: the file is damaged, hostile or of another kind.
            ValueError: it is of another agent, in part at least, and ``exact_match``.
        """
        given: Any = load_path_or_dict
        if not isinstance(given, dict):
            saved = archive.read(_existing(given))
            given = {"policy": saved.weights, "policy.optimizer": saved.training.get("optimizer")}
        super().set_parameters(given, exact_match, device)

    def to_archive(self, run: bool = False) -> archive.Archive:
        """Return what ``save`` writes; with ``run``, what ``include=["run"]`` adds."""
        training: dict[str, Any] = {"optimizer": self.policy.optimizer.state_dict()}
        if run:
            if self.env is None:
                raise ValueError('this agent has no env, whose state include=["run"] would save: leave it out')
            training["run"] = self._run_state()
        return archive.Archive(self.describe(), self.policy.state_dict(), training)

    def describe(self) -> dict[str, Any]:
        """Return all settings, as JSON can hold them; a learning rate schedule by its present value."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        settings["learning_rate"] = float(self.lr_schedule(self._current_progress_remaining))
        description = {
            "format": FORMAT,
            "policy": self.policy_class.__name__,
            "policy_kwargs": self.policy_kwargs,
            "observation_space": archive.space_to_json(self.observation_space),
            "action_space": archive.space_to_json(self.action_space),
            "settings": settings,
            "num_timesteps": self.num_timesteps,
            "n_updates": self._n_updates,
        }
        try:
            json.dumps(description)
        except TypeError as error:
            raise TypeError(
                f"this agent's policy_kwargs {self.policy_kwargs} cannot be saved ({error}): set what is no number, "
                "text or list in a subclass of PlasticPolicy instead, and give that as policy, also to load"
            ) from error
        return description

    def _run_state(self) -> dict[str, Any]:
        """All that training depends on beside weights and optimizer, as tensors and numbers."""
        assert self.env is not None
        state: dict[str, Any] = {"torch_rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        if self._vec_normalize_env is not None:
            state["normalize"] = {
                name: [
                    torch.as_tensor(number, dtype=torch.float64)
                    for number in (moments.mean, moments.var, moments.count)
                ]
                for name, moments in _moments(self._vec_normalize_env).items()
            }
            state["discounted"] = torch.as_tensor(self._vec_normalize_env.returns)
        if self.keeps_episodes and self._last_obs is not None:
            core = self._core_state if self._acting is None else self._acting.state
            state["core"] = list(core or ())
            state["observations"] = torch.as_tensor(self._last_obs)
            state["episode_starts"] = torch.as_tensor(self._last_episode_starts)
            arrays = self.env.env_method("get_state", indices=0)[0]
            # PyTorch's tensors of unsigned 64-bit numbers are newer than some versions that can read this.
            state["env"] = {name: torch.from_numpy(_as_signed(array)) for name, array in arrays.items()}
            if (monitor := unwrap_vec_wrapper(self.env, VecMonitor)) is not None:
                state["returns"] = torch.as_tensor(monitor.episode_returns)
                state["lengths"] = torch.as_tensor(monitor.episode_lengths)
        return state

    def _set_run_state(self, state: dict[str, Any]) -> None:
        """Go on from ``_run_state``."""
        assert self.env is not None
        torch.set_rng_state(state["torch_rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        normalized = self._vec_normalize_env
        if (normalized is None) != ("normalize" not in state):
            raise ValueError("a VecNormalize is around one of the two environments, this one and that of training")
        if normalized is not None:
            for name, moments in _moments(normalized).items():
                mean, var, count = state["normalize"][name]
                moments.mean, moments.var, moments.count = mean.numpy(), var.numpy(), count.item()
            normalized.returns = state["discounted"].numpy()
        if "env" in state:
            if state["core"]:
                kind = type(self.policy.core.initial_state(1))
                self._core_state = kind(*(part.to(self.device) for part in state["core"]))
            self._last_obs = state["observations"].numpy()
            self._last_episode_starts = state["episode_starts"].numpy()
            current = self.env.env_method("get_state", indices=0)[0]
            arrays = {name: array.numpy() for name, array in state["env"].items()}
            self.env.env_method(
                "set_state",
                {n: a.view(current[n].dtype) if n in current and a.dtype.kind == "i" else a for n, a in arrays.items()},
                indices=0,
            )
            if (monitor := unwrap_vec_wrapper(self.env, VecMonitor)) is not None and "returns" in state:
                monitor.episode_returns[:] = state["returns"].numpy()
                monitor.episode_lengths[:] = state["lengths"].numpy()

    @classmethod
    def load(  # type: ignore[override]
        cls: type[Self],
        path: archive.File,
        env: GymEnv | gym.vector.VectorEnv | None = None,
        device: torch.device | str = "auto",
        resume: bool = False,
        policy: type[PlasticPolicy] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load an agent that ``save`` wrote. Nothing in the file is run.

        Args:
            path: a path (".zip" is added if it has no ending and there is no such file) or a file opened for reading
                bytes.
            env: to go on training in; not needed to ``predict``.
            device: where to put the network.
            resume: go on where an agent saved with ``include=["run"]`` stopped; needs env. See ``save``.
            policy: the class of the agent's policy, where it is a subclass of ``PlasticPolicy``.
            kwargs: settings that replace the saved ones, for example ``learning_rate``.

        Raises:
            TypeError: there is no such setting, or what makes the network is to be replaced.
            plastic_rl.agents.archive.ArchiveError: the file is damaged, hostile or of another kind, or its weights
                do not fit its settings.
            ValueError: the environment's spaces are not the agent's.
        """
        saved = archive.read(_existing(path))
        agent = cls.from_description(saved.config, saved.weights, env, device, policy, **kwargs)
        try:
            agent.policy.optimizer.load_state_dict(saved.training["optimizer"])
            if resume:
                if env is None or "run" not in saved.training:
                    raise archive.ArchiveError('to resume, give an env, and a file saved with include=["run"]')
                agent._set_run_state(saved.training["run"])
        except (KeyError, TypeError, AttributeError, IndexError, RuntimeError, ValueError) as error:
            if isinstance(error, archive.ArchiveError):
                raise
            raise archive.ArchiveError(f"the state of training in {path} does not fit the agent: {error}") from error
        return agent

    @classmethod
    def from_description(
        cls: type[Self],
        description: dict[str, Any],
        weights: dict[str, torch.Tensor],
        env: GymEnv | gym.vector.VectorEnv | None = None,
        device: torch.device | str = "auto",
        policy: type[PlasticPolicy] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make the agent that ``describe`` described, with these weights; arguments and errors as for ``load``."""
        fixed = {"self", "policy_kwargs", "_init_setup_model"}
        if unknown := kwargs.keys() - (inspect.signature(cls).parameters.keys() - fixed):
            raise TypeError(f"an agent cannot be loaded with another {', '.join(sorted(unknown))}")
        if description.get("format") != FORMAT:
            raise archive.ArchiveError(f"not a description of a PlasticA2C agent: format {description.get('format')!r}")
        names = ("observation_space", "action_space")
        observations, actions = (archive.space_from_json(description.get(name)) for name in names)
        wrapped = None
        if env is not None:
            wrapped = cls._wrap_env(env)
            check_for_correct_spaces(wrapped, observations, actions)
        try:
            settings = {name: description["settings"][name] for name in (*_SETTINGS, "learning_rate")} | kwargs
            if env is not None and settings["learning_rate"] == 0:
                warnings.warn(
                    "the learning rate was 0 when this agent was saved, as at the end of a schedule: it will learn "
                    "nothing unless load is given a learning_rate",
                    stacklevel=3,
                )
            policy = policy or cls._policy_of(description["policy"])
            agent = cls(policy, None, device=device, _init_setup_model=False, **settings)
            agent.policy_kwargs = description["policy_kwargs"]
            agent.observation_space, agent.action_space = observations, actions
            agent.n_envs = 1
            if wrapped is not None:
                agent.n_envs = wrapped.num_envs
                agent.set_env(wrapped)
            agent._setup_model()
            agent.policy.load_state_dict(weights)
            agent.num_timesteps, agent._n_updates = (
                int(description["num_timesteps"]),
                int(description["n_updates"]),
            )
        except (
            KeyError, TypeError, AttributeError, RuntimeError, AssertionError, ValueError, OverflowError
        ) as error:  # fmt: skip
            given = f", with {', '.join(sorted(kwargs))} as given," if kwargs else ""
            what = f"the agent's settings{given} and weights do not fit each other"
            raise archive.ArchiveError(f"{what}: {error}") from error
        return agent

    @classmethod
    def _policy_of(cls, name: str) -> Any:
        if name not in cls.policy_aliases:
            raise ValueError(f"its policy is of the class {name}: give that as policy")
        return cls.policy_aliases[name]


def _existing(path: archive.File) -> archive.File:
    """The file that is meant: with ".zip" added, if it has no ending and there is no such file."""
    if isinstance(path, (str, pathlib.Path)) and not (pathlib.Path(path).is_file() or pathlib.Path(path).suffix):
        return pathlib.Path(path).with_suffix(".zip")
    return path


def _moments(env: VecNormalize) -> dict[str, Any]:
    """What normalization rests on, by name: running means and variances."""
    return {name: getattr(env, name) for name in (("obs_rms", "ret_rms") if env.norm_obs else ("ret_rms",))}


def _as_signed(array: np.ndarray) -> np.ndarray:
    return array.view(np.int64) if array.dtype == np.uint64 else array

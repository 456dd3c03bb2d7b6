"""On-policy actor-critic algorithms whose agents act and learn through whole lifetimes."""

import math
import warnings
from typing import Any, ClassVar, NamedTuple, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional as F

from plastic_rl.agents.archive import without_numpy
from plastic_rl.agents.buffer import LifetimeBuffer, Lifetimes
from plastic_rl.agents.policies import CnnPlasticPolicy, PlasticPolicy, State, squared_probabilities
from plastic_rl.agents.saving import SavedAgent
from plastic_rl.agents.vec_env import EMPTY, EpisodeMonitor, GymnasiumVecEnv
from plastic_rl.checks import check_within, whole_number
from plastic_rl.errors import FaultyEnvironmentError
from plastic_rl.modules.batching import map_state
from plastic_rl.modules.stepping import Stepper
from plastic_rl.optim import gradient_step

Self = TypeVar("Self", bound="RecurrentAgent")

SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)  # of observations and of actions
KINDS = "Box, Discrete, MultiDiscrete nor MultiBinary"


class Replay(NamedTuple):
    """A rollout after it was run through the network once more: its steps, time-major, in one dimension.

    These are the S steps that belong to an episode, of all T * B.
    """

    actions: Tensor  # (S, *action)
    advantages: Tensor  # (S,), normalized if the agent is set to
    returns: Tensor  # (S,)
    distribution: Distribution  # of the S actions, differentiable
    values: Tensor  # (S,), differentiable
    lived: Tensor  # (T * B,), which of all steps these are


class RecurrentAgent(SavedAgent):
    """An actor-critic whose gradient flows through the steps of a lifetime, including its plasticity.

    The agent acts for ``n_steps`` in every environment without gradients, and records the rollout in time order. The
    algorithm then trains by replaying the rollout through the recurrent core. A lifetime longer than a rollout
    continues in the next one, from the core's state at the end of this one; gradients stop there.

    Everything else is Stable-Baselines3's: callbacks, loggers, ``learn``, ``predict(obs, state, episode_start)``,
    ``evaluate_policy``.

    An algorithm is a subclass with a ``FORMAT`` and a method ``train``, which calls :meth:`replay_rollout` and
    :meth:`descend`, once for each gradient step. If it has settings of its own, it also needs a constructor and
    ``saved_settings``.

    The defaults are the settings of Miconi et al. 2018, section 4.5.

    Args:
        policy: ``"PlasticPolicy"``, ``"CnnPlasticPolicy"`` for images, or a subclass of it.
        env: a Gymnasium environment or its id, a Gymnasium ``VectorEnv`` or a Stable-Baselines3 ``VecEnv``.
        learning_rate: of Adam; a number, or a function of the remaining progress (from 1 to 0).
        n_steps: steps per environment and rollout; best is a whole lifetime.
        gamma: discount factor.
        gae_lambda: of generalized advantage estimation; 1: returns minus values, as in the paper.
        ent_coef: weight of the entropy bonus.
        squared_prob_coef: weight of the penalty on the sum of squared action probabilities, which the paper uses in
            place of the entropy bonus; no effect on actions that are not discrete.
        vf_coef: weight of the squared error of the values.
        max_grad_norm: norm to which the gradient is clipped.
        normalize_advantage: whether to scale the advantages of each rollout to mean 0 and standard deviation 1.
        stats_window_size: episodes over which logged returns are averaged.
        tensorboard_log: folder for TensorBoard.
        policy_kwargs: settings of :class:`PlasticPolicy`: core, hidden_size, rule, alpha, nonlinearity, ...
            The optimizer is Adam; its eps is 1e-4 by default, as in the paper.
        verbose: 0: print nothing, 1: information, 2: debugging.
        seed: seed of all random generators.
        device: device of the network.

    Raises:
        TypeError: the observations are of a kind that is not supported, or there is no env.
        ValueError: a setting is out of bounds.
    """

    saved_settings: ClassVar[tuple[str, ...]] = (
        "n_steps", "gamma", "gae_lambda", "ent_coef", "squared_prob_coef", "vf_coef", "max_grad_norm",
        "normalize_advantage", "seed",
    )  # fmt: skip
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "PlasticPolicy": PlasticPolicy,
        "CnnPlasticPolicy": CnnPlasticPolicy,
    }
    policy: PlasticPolicy
    rollout_buffer: LifetimeBuffer
    _stepper: Stepper  # ran the core through the last rollout

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
        n_steps = whole_number("n_steps", n_steps, 1)
        check_within("gamma", gamma, 0, 1)
        check_within("gae_lambda", gae_lambda, 0, 1)
        if not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {max_grad_norm}: expected more than 0; inf does not clip")
        self.squared_prob_coef = squared_prob_coef
        self.normalize_advantage = normalize_advantage
        self._core_state: Any = None  # between rollouts
        self._acting: Stepper | None = None  # runs the core through a rollout, while it lasts
        seed = None if seed is None else whole_number("seed", seed, 0)
        policy_kwargs = without_numpy(policy_kwargs or {})
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
            supported_action_spaces=SPACES,
            _init_setup_model=_init_setup_model,
        )

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        # Before Stable-Baselines3 stumbles over some spaces without a word.
        if isinstance(env, gym.vector.VectorEnv):
            check_supported(env.single_observation_space, env.single_action_space)
            env = EpisodeMonitor(GymnasiumVecEnv(env))
        else:
            check_supported(env.observation_space, env.action_space)
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps`` environment steps.

        Arguments are as in Stable-Baselines3; tb_log_name is the name of the class by default.
        """
        name = tb_log_name or type(self).__name__
        return super().learn(total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """As in Stable-Baselines3, but never below 0: the last rollout may go on after the last step."""
        super()._update_current_progress_remaining(min(num_timesteps, total_timesteps), total_timesteps)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """Choose actions; see :meth:`PlasticPolicy.predict`."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Act for ``n_rollout_steps`` and record them, as in Stable-Baselines3; return False if a callback stops it."""
        self.policy.set_training_mode(False)
        assert isinstance(rollout_buffer, LifetimeBuffer)
        rollout_buffer.reset()
        callback.on_rollout_start()
        if self._core_state is None or len(self._core_state.hidden) != env.num_envs:
            self._core_state = self.policy.core.initial_state(env.num_envs)
        assert isinstance(self._last_obs, np.ndarray)
        self._check_finite("observation", self._last_obs)
        self._acting = self._stepper = stepper = self.policy.core.stepper(self._core_state, n_rollout_steps)
        try:
            for _ in range(n_rollout_steps):
                seen, started = self._last_obs, self._last_episode_starts
                assert isinstance(seen, np.ndarray)
                assert started is not None
                with torch.no_grad():
                    features = self.policy.features(torch.as_tensor(seen, device=self.device))
                    starts = torch.as_tensor(started, dtype=torch.bool, device=self.device)
                    actions = self.policy.act(stepper.step(features, starts))
                observations, rewards, dones, infos = env.step(self.policy.for_env(actions))
                assert isinstance(observations, np.ndarray)
                self._check_finite("observation", observations)
                self._check_finite("reward", rewards)
                # Set before the callback, so that all it saves, or an interruption leaves, is of one moment.
                self._last_obs, self._last_episode_starts = observations, dones
                self.num_timesteps += env.num_envs
                callback.update_locals(locals())
                if not callback.on_step():
                    return False
                lived: list[bool] | bool = True
                if dones.any():
                    self._update_info_buffer(infos, dones)
                    rewards = self._with_bootstrap(rewards, infos, stepper)
                    lived = [EMPTY not in info for info in infos]
                rollout_buffer.add(seen, actions.cpu().numpy(), rewards, started, lived)
        finally:
            self._core_state, self._acting = stepper.state, None

        rollout_buffer.values[:] = self.policy.values(stepper.outputs).cpu().numpy()
        assert isinstance(self._last_obs, np.ndarray)
        last_values = self._value(self._last_obs, self._core_state, dones)
        rollout_buffer.compute_returns_and_advantage(last_values, dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _check_finite(self, what: str, given: np.ndarray) -> None:
        """Check observations or rewards of all environments.

        Raises:
            FaultyEnvironmentError: one of them is infinite or NaN.
        """
        if given.dtype.kind == "f" and not math.isfinite(given.sum(dtype=np.float64)):
            wrong = ~np.isfinite(given.reshape(len(given), -1)).all(axis=1)
            if wrong.any():  # the sum of large numbers may be infinite too
                i = int(wrong.argmax())
                raise FaultyEnvironmentError(
                    f"the {what} of environment {i} is {given[i]} in step {self.num_timesteps // self.n_envs + 1} of "
                    "training: expected finite numbers"
                )

    def _value(self, observations: np.ndarray, state: Any, episode_starts: np.ndarray) -> Tensor:
        """Return the values (B,) of observations that the agent has not acted on; the state stays as it is."""
        with torch.no_grad():
            starts = torch.as_tensor(episode_starts, dtype=torch.bool, device=self.device)
            return self.policy(obs_as_tensor(observations, self.device), state, starts)[1]

    def _with_bootstrap(self, rewards: np.ndarray, infos: list[dict[str, Any]], stepper: Stepper) -> np.ndarray:
        """Return the rewards, plus the discounted value of the last observation of each truncated episode."""
        truncated = [i for i, info in enumerate(infos) if info.get("TimeLimit.truncated", False)]
        if any("terminal_observation" not in infos[i] for i in truncated):
            warnings.warn(
                'episodes are cut off without a "terminal_observation" in their info: they count as ended, and what '
                "would have followed is worth 0",
                stacklevel=2,
            )
            truncated = [i for i in truncated if "terminal_observation" in infos[i]]
        if truncated:
            last = np.stack([infos[i]["terminal_observation"] for i in truncated])
            state = stepper.state
            state = map_state(lambda part: part[truncated], state)
            values = self._value(last, state, np.zeros(len(truncated), bool))
            rewards = rewards.copy()
            rewards[truncated] += self.gamma * values.cpu().numpy()
        return rewards

    def replay_rollout(self, which: Tensor | None = None) -> Replay:
        """Run the recorded rollout through the network with its present weights, differentiably.

        Args:
            which: numbers of the environments to replay; None: all of them.
        """
        rollout = next(self.rollout_buffer.get())
        if which is not None:
            rollout = Lifetimes(*(part[:, which] for part in rollout))
        lived = rollout.lived.flatten()
        distribution, values = self.policy.replay(rollout.observations, self._stepper, which, lived)
        actions, advantages = self._flat(rollout.actions)[lived], rollout.advantages.flatten()[lived]
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return Replay(actions, advantages, rollout.returns.flatten()[lived], distribution, values, lived)

    def log_probs(self) -> Tensor:
        """Return the logarithms of the probabilities of the rollout's actions ``(T, B)``, as the agent acted."""
        actions = next(self.rollout_buffer.get()).actions
        with torch.no_grad():
            distribution, _ = self.policy.heads(self._stepper.outputs.flatten(0, 1))
            return distribution.log_prob(self._flat(actions)).unflatten(0, actions.shape[:2])

    def _flat(self, actions: Tensor) -> Tensor:
        """Return actions ``(T, B, *action)`` as a distribution of T * B actions takes them."""
        actions = actions.flatten(0, 1)
        if isinstance(self.action_space, spaces.Discrete):
            return actions.long().flatten()
        return actions.float() if isinstance(self.action_space, spaces.MultiBinary) else actions

    def descend(self, policy_loss: Tensor, replay: Replay, value_loss: Tensor | None = None) -> None:
        """Make one gradient step on the loss of an actor-critic, and log it.

        Args:
            policy_loss: a scalar, the algorithm's own part of the loss. The value loss, the entropy bonus and the
                penalty on squared action probabilities are added here.
            replay: the replay that policy_loss was computed from.
            value_loss: a scalar; None: the mean squared error of the values.

        Raises:
            DivergenceError: the loss or the gradient is not finite; the weights are as they were before.
        """
        if value_loss is None:
            value_loss = F.mse_loss(replay.values, replay.returns)
        entropy = replay.distribution.entropy()
        assert entropy is not None
        loss = policy_loss + self.vf_coef * value_loss - self.ent_coef * entropy.mean()
        if (squared := squared_probabilities(replay.distribution)) is not None:
            loss = loss + self.squared_prob_coef * squared.mean()
        when = f"step {self.num_timesteps}"
        norm = gradient_step(self.policy, self.policy.optimizer, loss, self.max_grad_norm, when)

        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/policy_loss", policy_loss.item())
        self.logger.record("train/value_loss", value_loss.item())
        self.logger.record("train/entropy", entropy.mean().item())
        self.logger.record("train/gradient_norm", norm)
        explained = explained_variance(self.rollout_buffer.values.flatten(), self.rollout_buffer.returns.flatten())
        self.logger.record("train/explained_variance", explained)
        if (eta := self.policy.eta) is not None:
            self.logger.record("train/eta", eta)

    def _memory(self) -> list[Tensor]:
        state = self._core_state if self._acting is None else self._acting.state
        return list(state or ())

    def _set_memory(self, tensors: list[Tensor]) -> None:
        if tensors:
            kind = type(self.policy.core.initial_state(1))
            self._core_state = kind(*(tensor.to(self.device) for tensor in tensors))


def check_supported(observations: spaces.Space, actions: spaces.Space) -> None:
    """Check that agents can take the spaces of an environment.

    Raises:
        TypeError: they cannot; the message says what can be done.
    """
    if not isinstance(observations, SPACES):
        raise TypeError(
            f"observations of a kind that is not supported: {observations} is neither {KINDS}; {_advice(observations)}"
        )
    if not isinstance(actions, SPACES):
        raise TypeError(
            f"actions of a kind that is not supported: {actions} is neither {KINDS}; "
            "gymnasium.wrappers.TransformAction takes others, and turns them into these"
        )
    if len(actions.shape or ()) > 1 and not isinstance(actions, spaces.Box):
        raise TypeError(
            f"actions of a kind that is not supported: {actions} has more than one dimension; "
            "gymnasium.wrappers.TransformAction takes actions of one, and reshapes them"
        )


def _advice(space: spaces.Space) -> str:
    """Say how observations in this space can become those in a Box."""
    flatten = "gymnasium.wrappers.FlattenObservation makes it a Box"
    if _flattens(space):
        return flatten
    if isinstance(space, spaces.Dict) and any(map(_flattens, space.values())):
        odd = [name for name, part in space.items() if not _flattens(part)]
        return f"leave {', '.join(odd)} out with gymnasium.wrappers.FilterObservation; then {flatten}"
    return "gymnasium.wrappers.TransformObservation can turn it into a Box"


def _flattens(space: spaces.Space) -> bool:
    """Whether Gymnasium can flatten a space to a Box."""
    if isinstance(space, spaces.Dict):
        return all(map(_flattens, space.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_flattens, space))
    return isinstance(space, SPACES)

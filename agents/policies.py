"""Actor-critic policies around a recurrent core."""

import warnings
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, MlpExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from plastic_rl.modules import MemorylessCore, Modulator
from plastic_rl.modules.ablation import modulator_of, plastic_layers
from plastic_rl.modules.cores import CoreSettings, RecurrentCore
from plastic_rl.modules.stepping import Stepper

State = Any  # a core's NamedTuple, PlasticState for example, with arrays in place of tensors
HIDDEN_SIZE = 100  # neurons of a core, where no size is given


class PlasticPolicy(ActorCriticPolicy):
    """Observation -> features -> recurrent core -> action distribution and value.

    Policy and value share the core and the features extractor before it.

    Args:
        observation_space: Box, or Discrete, MultiDiscrete or MultiBinary (encoded as ones and zeros).
        action_space: Discrete, Box, or MultiDiscrete or MultiBinary of one dimension.
        lr_schedule: learning rate by progress.
        net_arch: layers after the core, as in Stable-Baselines3; none by default.
        kwargs: the core's settings, which are those of :class:`plastic_rl.modules.cores.CoreSettings` with 100 neurons
            by default: core (``"plastic"``, ``"plastic_lstm"``, or a control: ``"rnn"``, ``"lstm"``, ``"gru"``,
            ``"memoryless"``), hidden_size, rule, alpha, eta, learn_eta, bound, modulation, nonlinearity, engine, ...
            Everything else is passed to Stable-Baselines3's ``ActorCriticPolicy``.

    Raises:
        ValueError: an unknown core or setting, or a setting that the core has no use for.
    """

    core: RecurrentCore

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.get("share_features_extractor", True):
            raise ValueError("share_features_extractor is False: expected True, as policy and value share the core")
        settings = {field.name: kwargs.pop(field.name) for field in fields(CoreSettings) if field.name in kwargs}
        self.core_settings = CoreSettings(**settings).sized(HIDDEN_SIZE)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=net_arch or [], **kwargs)
        if isinstance(self.features_extractor, FlattenExtractor) and is_image_space(observation_space):
            warnings.warn(
                "images are flattened, so that their pixels have no neighbours: CnnPlasticPolicy sees them by a "
                "convolutional network",
                stacklevel=2,
            )
        # Whether the features are the observations as they are: then most of the time to get them can be saved.
        self._as_seen = (
            type(self.features_extractor) is FlattenExtractor
            and isinstance(observation_space, spaces.Box)
            and observation_space.dtype == np.float32
            and len(observation_space.shape) == 1
        )

    def _build_mlp_extractor(self) -> None:
        self.core = self.core_settings.build(self.features_dim)
        self.mlp_extractor = MlpExtractor(
            self.core.hidden_size, net_arch=self.net_arch, activation_fn=self.activation_fn, device=self.device
        )

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Return a new features extractor."""
        return self.features_extractor_class(_in_a_row(self.observation_space), **self.features_extractor_kwargs)

    def obs_to_tensor(self, observation: Any) -> tuple[PyTorchObs, bool]:
        """Return observations as a batch, and whether they were one."""
        space = self.observation_space
        if isinstance(space, spaces.MultiDiscrete) and len(space.shape) > 1:  # Stable-Baselines3 takes one dimension
            given = np.asarray(observation)
            batched = given.ndim > len(space.shape)
            return torch.as_tensor(given.reshape(-1, *space.shape), device=self.device), batched
        return super().obs_to_tensor(observation)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | asdict(self.core_settings)

    def heads(self, hidden: Tensor) -> tuple[Distribution, Tensor]:
        """Return the action distribution and the values ``(B,)`` of core outputs ``(B, N)``."""
        latent_pi, latent_vf = self.mlp_extractor(hidden)
        return self._get_action_dist_from_latent(latent_pi), self.value_net(latent_vf).flatten()

    def act(self, hidden: Tensor) -> Tensor:
        """Return sampled actions of core outputs ``(B, N)``, without gradients."""
        with torch.no_grad():
            latent = self.mlp_extractor.forward_actor(hidden)
            if isinstance(self.action_space, spaces.Discrete):
                # The Gumbel-max trick draws from the softmax in a fraction of torch.distributions' time.
                logits = self.action_net(latent)
                return (logits - torch.empty_like(logits).exponential_().log_()).argmax(-1)
            return self._get_action_dist_from_latent(latent).sample()

    def for_env(self, actions: Tensor) -> np.ndarray:
        """Return chosen actions as an environment takes them: in its shape, within its bounds, counted from its start.

        ``act`` counts Discrete and MultiDiscrete actions from 0, an environment from its space's ``start``.
        """
        space = self.action_space
        chosen = actions.numpy(force=True)
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
            return chosen + space.start
        if isinstance(space, spaces.MultiBinary):
            return chosen.astype(space.dtype)
        return np.clip(chosen.reshape((-1, *(space.shape or ()))), space.low, space.high)  # type: ignore[attr-defined]

    def values(self, hidden: Tensor) -> Tensor:
        """Return the values ``(...)`` of core outputs ``(..., N)``, without gradients."""
        with torch.no_grad():
            return self.value_net(self.mlp_extractor.forward_critic(hidden)).squeeze(-1)

    def features(self, observations: PyTorchObs) -> Tensor:
        """Return the features ``(B, F)`` of a batch of observations."""
        if self._as_seen:
            assert isinstance(observations, Tensor)
            return observations.float()
        space = self.observation_space
        if isinstance(space, spaces.Discrete) and space.start:  # Stable-Baselines3 counts from 0
            assert isinstance(observations, Tensor)
            observations = observations - int(space.start)
        elif space.shape == () and isinstance(space, spaces.Box):
            assert isinstance(observations, Tensor)
            observations = observations.unsqueeze(-1)
        elif isinstance(space, spaces.MultiDiscrete):
            assert isinstance(observations, Tensor)
            start = torch.as_tensor(space.start, device=observations.device)
            numbers = (observations.long() - start).flatten(1)
            return self.features_extractor(preprocess_obs(numbers, _in_a_row(space)))
        return super(ActorCriticPolicy, self).extract_features(observations, self.features_extractor)

    def replay(
        self, observations: Tensor, stepper: Stepper, which: Tensor | None = None, lived: Tensor | None = None
    ) -> tuple[Distribution, Tensor]:
        """Run the network over the steps of a rollout once more, differentiably.

        Args:
            observations: ``(T, B, *observation)``.
            stepper: the one that ran the core over these observations.
            which: numbers of the environments in the batch of the stepper that these observations are of; None: all.
            lived: ``(T * B,)`` booleans, the steps that are asked for; None: all.

        Returns:
            The distribution and the values of these steps, in that order.
        """
        features = self.features(observations.flatten(0, 1)).unflatten(0, observations.shape[:2])
        hidden = stepper.replay(features, which).flatten(0, 1)
        return self.heads(hidden if lived is None or lived.all() else hidden[lived])

    def forward(  # type: ignore[override]
        self,
        obs: PyTorchObs,
        state: Any = None,
        episode_starts: Tensor | None = None,
        deterministic: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Take one step; return actions, values ``(B,)``, log-probabilities ``(B,)`` and the core's new state."""
        hidden, state = self._step(obs, state, episode_starts)
        distribution, values = self.heads(hidden)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions), state

    def get_distribution(
        self, obs: PyTorchObs, state: Any = None, episode_starts: Tensor | None = None
    ) -> Distribution:
        """Return the distribution of the actions that ``forward`` would choose from."""
        return self.heads(self._step(obs, state, episode_starts)[0])[0]

    def predict_values(self, obs: PyTorchObs, state: Any = None, episode_starts: Tensor | None = None) -> Tensor:
        """Return the values ``(B,)`` that ``forward`` would return."""
        return self.heads(self._step(obs, state, episode_starts)[0])[1]

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> Any:
        """Not available: the probability of an action depends on the steps before it.

        Raises:
            NotImplementedError: always; use ``replay``, which runs over all steps of a rollout.
        """
        raise NotImplementedError("a step cannot be evaluated without the steps before it: use replay")

    def _step(self, obs: PyTorchObs, state: Any, episode_starts: Tensor | None) -> tuple[Tensor, Any]:
        """Run the core for one step; return its outputs ``(B, N)`` and its new state."""
        if state is not None:  # that of predict is of arrays
            state = self.core.state_type(*(torch.as_tensor(part, device=self.device) for part in state))
        starts = None if episode_starts is None else episode_starts[None]
        hidden, state = self.core(self.features(obs)[None], state, episode_start=starts)
        return hidden[0], state

    @property
    def is_plastic(self) -> bool:
        """Whether the core has plastic connections; then its state has a trace."""
        return bool(plastic_layers(self.core))

    @property
    def has_memory(self) -> bool:
        """Whether the core remembers anything from one step to the next."""
        return not isinstance(self.core, MemorylessCore)

    @property
    def eta(self) -> float | None:
        """The present learning rate of the trace; with retroactive modulation, that of the eligibility trace.

        None without plasticity, and with simple modulation, which takes eta's place.
        """
        return next((layer.eta.item() for layer in plastic_layers(self.core) if layer.eta is not None), None)

    @property
    def is_modulated(self) -> bool:
        """Whether the core modulates its own plasticity."""
        return modulator_of(self.core) is not None

    def modulation(self, state: State) -> np.ndarray:
        """Return the modulatory signal M of the step that led to a state, ``(B,)``.

        Args:
            state: the state that ``predict`` returned.

        Raises:
            ValueError: the core modulates nothing.
        """
        with torch.no_grad():
            return self._modulator(torch.as_tensor(state.hidden, device=self.device)).numpy(force=True)

    def with_modulation(self, signal: np.ndarray | float) -> AbstractContextManager[None]:
        """Return a context in which M is given: a number, or ``(B,)``; the core then computes none of its own.

        Raises:
            ValueError: the core modulates nothing.
        """
        return self._modulator.given(torch.as_tensor(signal))

    @property
    def modulation_range(self) -> tuple[float, float]:
        """The least and the greatest M that the core can compute.

        Raises:
            ValueError: the core modulates nothing.
        """
        return self._modulator.range

    @property
    def _modulator(self) -> Modulator:
        modulator = modulator_of(self.core)
        if modulator is None:
            raise ValueError(f"this {type(self.core).__name__} has no modulation: check is_modulated first")
        return modulator

    def initial_state(self, count: int) -> State:
        """Return the state of ``count`` agents at the start of their lifetimes, as ``predict`` takes it."""
        return _to_arrays(self.core.initial_state(count))

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """Choose actions as Stable-Baselines3's recurrent policies do.

        Args:
            observation: one observation, or a batch of B.
            state: the state that the previous call returned; None before the first call.
            episode_start: (B,) booleans, true where this observation starts an episode; None: nowhere.
            deterministic: take the likeliest action instead of a sample.

        Returns:
            The actions, and the state to pass to the next call: a NamedTuple of arrays whose parts have the names of
            the core's state, ``state.hidden`` (B, N) and, if the core is plastic, ``state.trace`` (B, N, N), and with
            retroactive modulation ``state.eligibility`` (B, N, N).
        """
        self.set_training_mode(False)
        if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], dict):
            raise ValueError(
                "the observation is the pair that reset() returned: expected its first part, as in "
                "obs, info = env.reset()"
            )
        obs, batched = self.obs_to_tensor(observation)
        count = len(obs)
        with torch.no_grad():
            starts = np.zeros(count, bool) if episode_start is None else np.asarray(episode_start, bool).reshape(-1)
            actions, _, _, core_state = self.forward(
                obs, state, torch.as_tensor(starts, device=self.device), deterministic
            )
        chosen = self.for_env(actions)
        return chosen if batched else chosen[0], _to_arrays(core_state)

    def look(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Return the values and the action distribution that the last step was decided by.

        Args:
            state: the state that ``predict`` returned with the actions.

        Returns:
            The values ``(B,)``; and for Discrete actions the probability of each, ``(B, actions)``; for MultiDiscrete
            ones those of each part, one part after the other; for MultiBinary ones the probability of each 1; for a Box
            the mean of each number, ``(B, numbers)``.
        """
        with torch.no_grad():
            distribution, values = self.heads(torch.as_tensor(state.hidden, device=self.device))
            if isinstance(distribution, MultiCategoricalDistribution):
                decided = torch.cat([part.probs for part in distribution.distribution], -1)
            elif isinstance(distribution, (CategoricalDistribution, BernoulliDistribution)):
                decided = distribution.distribution.probs
            else:
                decided = distribution.mode()
        return values.cpu().numpy(), decided.cpu().numpy().reshape(len(values), -1)

    def plastic_weights(self, state: State) -> np.ndarray:
        """Return the plastic part of every connection, ``alpha * trace``, ``(B, N, N)``.

        Raises:
            ValueError: the core has no plastic connections.
        """
        if not self.is_plastic:
            raise ValueError(f"{type(self.core).__name__} has no plastic connections: check is_plastic first")
        return self._times_alpha(state.trace)

    @property
    def is_retroactive(self) -> bool:
        """Whether the modulation is retroactive; then the state has an eligibility trace."""
        return self.is_modulated and self._modulator.kind == "retroactive"

    def eligible_weights(self, state: State) -> np.ndarray:
        """Return what the signal can store in the plastic part, ``alpha * eligibility``, ``(B, N, N)``.

        A step adds that times M to ``alpha * trace``, within the rule's bound; with fan-out, times the neurons' rates.

        Raises:
            ValueError: the modulation is not retroactive.
        """
        if not self.is_retroactive:
            raise ValueError(f"this {type(self.core).__name__} has no eligibility trace: check is_retroactive first")
        return self._times_alpha(state.eligibility)

    def _times_alpha(self, matrices: np.ndarray) -> np.ndarray:
        (layer,) = plastic_layers(self.core)
        return layer.alpha.numpy(force=True) * matrices


class CnnPlasticPolicy(PlasticPolicy):
    """A :class:`PlasticPolicy` that sees images by a convolutional network, Stable-Baselines3's ``NatureCNN``.

    Arguments are those of PlasticPolicy; ``features_extractor_class`` may name another network.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": NatureCNN} | kwargs)


def _in_a_row(space: spaces.Space) -> spaces.Space:
    """Return a MultiDiscrete space with its numbers in one dimension, counted from 0; any other as it is."""
    return spaces.MultiDiscrete(space.nvec.ravel()) if isinstance(space, spaces.MultiDiscrete) else space


def squared_probabilities(distribution: Distribution) -> Tensor | None:
    """Return the sum of the squared probabilities of all choices, ``(B,)``; None if they are not discrete."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.distribution.probs.square().sum(-1)
    if isinstance(distribution, MultiCategoricalDistribution):
        return sum(part.probs.square().sum(-1) for part in distribution.distribution)  # type: ignore[return-value]
    if isinstance(distribution, BernoulliDistribution):
        probability = distribution.distribution.probs
        return (probability.square() + (1 - probability).square()).sum(-1)
    return None


def _to_arrays(state: Any) -> State:
    """Return a core's state with arrays in place of tensors."""
    return type(state)(*(part.numpy(force=True) for part in state))

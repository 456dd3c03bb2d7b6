"""Settings that all trainings of agents share: the environment, the network, how it learns, and the run."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar

from plastic_rl.choices import Alpha, Core, Nonlinearity, RuleName, without_effect
from plastic_rl.envs.registration import settings_of
from plastic_rl.seeds import MOST_ENVS
from plastic_rl.settings.base import (
    Count,
    CountOrNone,
    Fraction,
    ModulationSettings,
    Positive,
    Run,
    Settings,
    Weight,
    names_of,
    within,
)

AgentRunT = TypeVar("AgentRunT", bound="AgentRun")


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(ModulationSettings):
    """The agent's network."""

    core: Core = "plastic"
    """Recurrent core of the agent. All but plastic and plastic_lstm are controls without plasticity."""
    hidden_size: Count = 100
    """Neurons in the core."""
    rule: RuleName = "hebb"
    """Plasticity rule. By default clip with a modulation, and hebb without."""
    bound: Weight = 1.0
    """The rule clip keeps the trace between -bound and bound."""
    alpha: Alpha = "connection"
    """Plasticity coefficients: one per connection, one per neuron, or one shared by all connections."""
    eta: Fraction = 0.01
    """Initial learning rate of the trace, or with --modulation retroactive of the eligibility; it is trained too.
    With --modulation simple, it only says where the rates of --fan-out neuron or of a sigmoid begin."""
    nonlinearity: Nonlinearity = "tanh"
    """Activation function of the neurons; plastic_lstm, lstm and gru have their own."""

    def policy_kwargs(self) -> dict[str, Any]:
        """Return the settings of the network that its core uses."""
        unused = without_effect(self.core, self.modulation)
        return self.pick(*(name for name in names_of(NetworkSettings) if name not in unused))


@dataclass(frozen=True, kw_only=True)
class LearningSettings(Settings):
    """The settings of ``PlasticA2C``, except its learning rate."""

    n_steps: Count = 50
    """Steps in each environment between two updates. With --preset paper the default is the whole lifetime."""
    gamma: Fraction = 0.95
    """Discount factor of future rewards."""
    gae_lambda: Fraction = 0.9
    """Lambda of generalized advantage estimation; with 1, advantages are returns minus values."""
    ent_coef: Weight = 0.0
    """Weight of the entropy bonus in the loss."""
    squared_prob_coef: Weight = 0.06
    """Weight of the penalty on squared action probabilities, which the paper uses instead of the entropy bonus."""
    vf_coef: Weight = 0.05
    """Weight of the squared error of the value estimates in the loss."""
    max_grad_norm: Positive = 1.0
    """Largest norm of the gradient; larger gradients are scaled down to it."""
    normalize_advantage: bool = False
    """Scale the advantages to standard deviation 1 in each update."""


@dataclass(frozen=True, kw_only=True)
class AgentRun(LearningSettings, NetworkSettings, Run):
    """Settings of a training of an agent.

    A subclass also inherits the settings of its environments, and names their class in ``env_settings``. The
    environment checks them, not the subclass: ``--env`` may name an environment of another kind, for which they are
    meant then. See ``MazeRun``.
    """

    env_settings: ClassVar[type[Any]]
    length: ClassVar[str] = "steps"
    leading: ClassVar[tuple[str, ...]] = ("preset", "env", "steps", "modulation")
    sizes: ClassVar[tuple[str, ...]] = ("envs", "hidden_size", "n_steps")  # the settings that memory depends on

    eval_episodes: Count = 300
    """Fresh lifetimes that the trained agent is tested on."""
    steps: Count
    """Environment steps of the whole run, counted over all environments and rounded up to whole updates.
    A run that is resumed with more steps keeps the learning rate that it has reached."""
    envs: Annotated[int, within(1, MOST_ENVS)] = 32
    """Environments that are stepped side by side."""
    learning_rate: Positive = 1e-3
    """Initial learning rate of Adam."""
    decay_steps: CountOrNone
    """Environment steps over which the learning rate falls linearly to a tenth; 0 keeps it constant.
    By default as many as --steps, or 0 with --preset paper."""
    adam_eps: Positive = 1e-4
    """Added by Adam to the root mean square of a gradient that it divides by."""
    log_every: Count = 200_000
    """Environment steps between rows of metrics.csv."""
    env: str
    """Environment id: one of this package, any other id of Gymnasium, or "module:id"."""

    @classmethod
    def from_preset(cls: type[AgentRunT], preset: str | None = None, **given: Any) -> AgentRunT:
        """As for all runs; what an environment of another kind takes has that environment's defaults."""
        return super().from_preset(preset, **(cls._defaults_of(given.get("env")) | given))

    @classmethod
    def _defaults_of(cls, env: str | None) -> dict[str, Any]:
        """Return the defaults of an environment of another kind than this command's, where both have a setting."""
        kind = None if env is None else settings_of(env)
        if kind is None or issubclass(cls.env_settings, kind):
            return {}
        own = {field.name for field in fields(cls.env_settings)}
        return {field.name: field.default for field in fields(kind) if field.name in own}

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """The tuned learning rate falls over the whole run; the paper's updates span a whole lifetime."""
        length = {"decay_steps": chosen.steps} if chosen.preset == "tuned" else {"n_steps": chosen.lifetime}
        return length | cls.adapted_rule(chosen)

    def env_kwargs(self) -> dict[str, Any]:
        """Return the settings to make the environment with: those that it takes, and those that were changed."""
        kind = settings_of(self.env)
        taken = () if kind is None else {field.name for field in fields(kind)}
        own = {field.name: field.default for field in fields(self.env_settings)}
        return {
            name: getattr(self, name)
            for name, default in own.items()
            if name in taken or getattr(self, name) != default
        }

    def agent_settings(self) -> dict[str, Any]:
        """Return the settings of ``PlasticA2C``, except its learning rate."""
        return self.pick(*names_of(LearningSettings), "seed")

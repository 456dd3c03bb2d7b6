"""Settings of ``maze``: what the maze is like, the network, how it learns, and the run."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

from plastic_rl.choices import Alpha, Core, Nonlinearity, RuleName, without_effect
from plastic_rl.envs.maze.config import RandomMazeConfig
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


@dataclass(frozen=True, kw_only=True)
class EnvironmentName(Settings):
    """Which environment."""

    env: str = "PlasticRL/GridMaze-v0"
    """Environment id: a maze of this package, any other id of Gymnasium, or "module:id"."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings(RandomMazeConfig, EnvironmentName):
    """The environment, and the settings of every maze of this package."""

    def __post_init__(self) -> None:
        """Check the settings, except those of the maze: the environment checks them, and may be no maze."""
        Settings.__post_init__(self)

    def env_kwargs(self) -> dict[str, Any]:
        """Return the settings to make the environment with: those that it takes, and those that were changed."""
        kind = settings_of(self.env)
        taken = () if kind is None else {field.name for field in fields(kind)}
        maze = {field.name: field.default for field in fields(RandomMazeConfig)}
        return {
            name: getattr(self, name)
            for name, default in maze.items()
            if name in taken or getattr(self, name) != default
        }


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(ModulationSettings):
    """The agent's network."""

    core: Core = "plastic"
    """Recurrent core of the agent. All but plastic and plastic_lstm are controls without plasticity."""
    hidden_size: Count = 100
    """Neurons in the core."""
    rule: RuleName = "hebb"
    """Plasticity rule. By default clip with --modulation."""
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
    """Steps in each maze between two updates. With --preset paper the default is the whole lifetime."""
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
class MazeRun(LearningSettings, NetworkSettings, EnvironmentSettings, Run):
    """Train a plastic agent with A2C to find the hidden goal of a maze, anew in each lifetime."""

    command: ClassVar[str] = "maze"
    length: ClassVar[str] = "steps"
    leading: ClassVar[tuple[str, ...]] = ("preset", "steps", "lifetime", "modulation")

    preset: Literal["tuned", "paper"] = "tuned"
    """Where the defaults come from: settings found by tuning, or those of the paper (section 4.5).
    Add --help to --preset paper to see its defaults."""
    eval_episodes: Count = 300
    """Fresh lifetimes that the trained agent is tested on."""
    steps: Count = 7_500_000
    """Environment steps of the whole run, counted over all mazes and rounded up to whole updates.
    A run that is resumed with more steps keeps the learning rate that it has reached."""
    envs: Annotated[int, within(1, MOST_ENVS)] = 32
    """Mazes that are stepped side by side."""
    learning_rate: Positive = 1e-3
    """Initial learning rate of Adam."""
    decay_steps: CountOrNone = 7_500_000
    """Environment steps over which the learning rate falls linearly to a tenth; 0 keeps it constant.
    By default as many as --steps, or 0 with --preset paper."""
    log_every: Count = 200_000
    """Environment steps between rows of metrics.csv."""

    @classmethod
    def presets(cls) -> dict[str, "MazeRun"]:
        """Return the presets by name, the default first."""
        return PRESETS

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """The tuned learning rate falls over the whole run; the paper's updates span a whole lifetime."""
        length = {"decay_steps": chosen.steps} if chosen.preset == "tuned" else {"n_steps": chosen.lifetime}
        return length | cls.adapted_rule(chosen)

    def agent_settings(self) -> dict[str, Any]:
        """Return the settings of ``PlasticA2C``, except its learning rate."""
        return self.pick(*names_of(LearningSettings), "seed")


PRESETS = {
    "tuned": MazeRun(),
    "paper": MazeRun(
        preset="paper", steps=250_000_000, envs=16, n_steps=250, learning_rate=1e-4, decay_steps=0, gamma=0.9,
        gae_lambda=1.0, squared_prob_coef=0.03, vf_coef=0.1, max_grad_norm=4.0,
    ),
}  # fmt: skip

"""Settings of ``cue-reward`` and ``cue-action``."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from plastic_rl.choices import Modulation, RuleName
from plastic_rl.envs.cues.config import CueActionConfig, CueRewardConfig
from plastic_rl.settings.agents import AgentRun
from plastic_rl.settings.base import MODULATION, Count, CountOrNone, Fraction, Positive, Weight


@dataclass(frozen=True, kw_only=True)
class CueRun(AgentRun):
    """Settings of a training on cues, tuned on ``cue-reward``."""

    steps: Count = 20_000_000
    decay_steps: CountOrNone = 20_000_000
    n_steps: Count = 120
    gamma: Fraction = 0.0  # an answer is rewarded at once, and changes nothing that comes later
    adam_eps: Positive = 1e-6
    hidden_size: Count = 64
    squared_prob_coef: Weight = 0.02
    vf_coef: Weight = 0.1
    max_grad_norm: Positive = 2.0
    modulation: Annotated[Modulation | None, MODULATION] = "simple"
    rule: RuleName = "clip"
    eta: Fraction = 0.1

    @classmethod
    def adapted(cls, chosen: Any) -> dict[str, Any]:
        """As for all agents; the eligibility begins as the last step's, which is soonest found to be of use."""
        soon = chosen.preset == "tuned" and chosen.modulation == "retroactive"
        return super().adapted(chosen) | ({"eta": 1.0} if soon else {})


@dataclass(frozen=True, kw_only=True)
class CueRewardRun(CueRewardConfig, CueRun):
    """Train a plastic agent with A2C to find out which of some new cues is the target, anew in each lifetime."""

    command: ClassVar[str] = "cue-reward"
    env_settings: ClassVar[type[Any]] = CueRewardConfig
    leading: ClassVar[tuple[str, ...]] = (*CueRun.leading, "lifetime")

    preset: Literal["tuned", "paper"] = "tuned"
    """Where the defaults come from: settings found by tuning, or those of the second paper (task 1 of Backpropamine).
    Add --help to --preset paper to see its defaults."""
    env: str = "PlasticRL/CueReward-v0"

    def __post_init__(self) -> None:
        """Check the settings, except those of the environment: it checks them itself, and may be of another kind."""
        AgentRun.__post_init__(self)

    @classmethod
    def presets(cls) -> dict[str, "CueRewardRun"]:
        """Return the presets by name, the default first."""
        return CUE_REWARD_PRESETS


@dataclass(frozen=True, kw_only=True)
class CueActionRun(CueActionConfig, CueRun):
    """Train a plastic agent with A2C to find out which action each of some new cues asks for, anew in each lifetime."""

    command: ClassVar[str] = "cue-action"
    env_settings: ClassVar[type[Any]] = CueActionConfig

    preset: Literal["tuned"] = "tuned"
    """Where the defaults come from: settings found by tuning."""
    env: str = "PlasticRL/CueAction-v0"
    steps: Count = 10_000_000
    decay_steps: CountOrNone = 10_000_000
    learning_rate: Positive = 3e-3
    n_steps: Count = 144

    def __post_init__(self) -> None:
        """Check the settings, except those of the environment: it checks them itself, and may be of another kind."""
        AgentRun.__post_init__(self)

    @classmethod
    def presets(cls) -> dict[str, "CueActionRun"]:
        """Return the presets by name, of which there is one."""
        return CUE_ACTION_PRESETS


CUE_REWARD_PRESETS = {
    "tuned": CueRewardRun(),
    "paper": CueRewardRun(
        preset="paper", steps=30 * 120 * 200_000, modulation="retroactive", hidden_size=200, envs=30, gamma=0.9,
        learning_rate=1e-4, decay_steps=0, gae_lambda=1.0, squared_prob_coef=0.1,
    ),
}  # fmt: skip
CUE_ACTION_PRESETS = {"tuned": CueActionRun()}

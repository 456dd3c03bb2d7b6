"""The one factory of recurrent cores: a core's settings, and the core that they describe."""

from dataclasses import dataclass, fields, replace

import torch
from torch import nn

from plastic_rl.checks import check_at_least, check_choice, check_used, whole_number
from plastic_rl.choices import (
    CORES,
    OUTPUT_LAYERS,
    UNUSED,
    Alpha,
    Engine,
    FanOut,
    Modulation,
    ModulatorNonlinearity,
    Nonlinearity,
    RuleName,
    default_rule,
)
from plastic_rl.choices import Core as CoreName
from plastic_rl.choices import OutputLayer as OutputLayerName
from plastic_rl.modules.connections import PlasticConnections
from plastic_rl.modules.controls import GRUCore, LSTMCore, MemorylessCore, RNNCore
from plastic_rl.modules.lstm import PlasticLSTM
from plastic_rl.modules.rnn import PlasticRNN
from plastic_rl.rules import Rule, RuleFunction

RecurrentCore = PlasticRNN | PlasticLSTM | RNNCore | LSTMCore | GRUCore | MemorylessCore

CLASSES: dict[str, type[RecurrentCore]] = {
    "plastic": PlasticRNN,
    "plastic_lstm": PlasticLSTM,
    "rnn": RNNCore,
    "lstm": LSTMCore,
    "gru": GRUCore,
    "memoryless": MemorylessCore,
}
# What a core's class can be given besides its sizes; each core takes those that it has a use for.
ARGUMENTS = (
    "rule", "alpha", "eta", "learn_eta", "bound", "modulation", "fan_out", "modulator_nonlinearity", "nonlinearity",
    "forget_bias", "engine",
)  # fmt: skip


@dataclass(frozen=True)
class CoreSettings:
    """Settings of a network's core: a recurrent core, or the output layer of few-shot classification.

    Attributes:
        core: ``"plastic"`` or ``"plastic_lstm"``, or a control without plasticity: ``"rnn"``, ``"lstm"``, ``"gru"``,
            ``"memoryless"``, or ``"fixed"``, an output layer that does not change within an episode.
        hidden_size: number of neurons. None: the smallest number that fits the task.
        rule, alpha, eta, learn_eta, bound, modulation, fan_out, modulator_nonlinearity, nonlinearity, engine: see
            :class:`plastic_rl.PlasticRNN`.
        forget_bias: see :class:`plastic_rl.PlasticLSTM`.
        init_scale: standard deviation of the normal distribution of the initial recurrent weights and plasticity
            coefficients. None: each core's own initial distribution, which lstm and gru always use.
        init_alpha: added to the initial plasticity coefficients. Above 0, an untrained network already associates
            neurons that were active together.

    Raises:
        ValueError: an unknown core, a setting that the core has no use for, no neurons, or a negative scale.
    """

    core: CoreName | OutputLayerName = "plastic"
    hidden_size: int | None = None
    rule: RuleName | Rule | RuleFunction | None = None
    alpha: Alpha = "connection"
    eta: float = 0.01
    learn_eta: bool = True
    bound: float = 1.0
    modulation: Modulation | None = None
    fan_out: FanOut = "none"
    modulator_nonlinearity: ModulatorNonlinearity = "tanh"
    nonlinearity: Nonlinearity = "tanh"
    forget_bias: float = 0.0
    engine: Engine = "auto"
    init_scale: float | None = None
    init_alpha: float = 0.0

    def __post_init__(self) -> None:
        """Check what the core does not check itself."""
        check_choice("core", self.core, dict.fromkeys([*CORES, *OUTPUT_LAYERS]))
        rule = default_rule(self.modulation)
        if self.rule is None:
            object.__setattr__(self, "rule", rule)
        defaults = {field.name: field.default for field in fields(self)} | {"rule": rule}
        changed = [name for name, default in defaults.items() if getattr(self, name) != default]
        check_used(f"a core {self.core}", changed, UNUSED[self.core])
        if self.hidden_size is not None:
            object.__setattr__(self, "hidden_size", whole_number("hidden_size", self.hidden_size, 1))
        if self.init_scale is not None:
            check_at_least("init_scale", self.init_scale, 0)

    def sized(self, neurons: int, least: int = 1) -> "CoreSettings":
        """Return these settings with a size, which is ``neurons`` if none is set.

        Raises:
            ValueError: the size that is set is below ``least``.
        """
        size = neurons if self.hidden_size is None else self.hidden_size
        if size < least:
            raise ValueError(f"hidden_size is {size}: expected at least {least} for this task")
        return replace(self, hidden_size=size)

    def build(self, input_size: int) -> RecurrentCore:
        """Return a new core for ``input_size`` features. All cores are called alike, see PlasticRNN.

        Raises:
            ValueError: no size is set, the core is not recurrent, or a setting is unknown or out of bounds.
        """
        if self.core not in CLASSES:
            raise ValueError(f"a core {self.core} has no memory: expected one of {', '.join(CLASSES)}")
        if self.hidden_size is None:
            raise ValueError("hidden_size is None: expected a number of neurons; sized() sets one")
        used = {name: getattr(self, name) for name in ARGUMENTS if name not in UNUSED[self.core]}
        core = CLASSES[self.core](input_size, self.hidden_size, **used)
        if self.init_scale is not None:
            for weight in core.recurrent_weights():
                nn.init.normal_(weight, std=self.init_scale)
        if isinstance(core, PlasticConnections):
            with torch.no_grad():
                core.alpha.add_(self.init_alpha)
        return core

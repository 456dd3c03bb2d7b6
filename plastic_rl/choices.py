"""The names to choose from, and which settings each core cannot use. Each list stands here and nowhere else."""

from typing import Literal, get_args

RuleName = Literal["hebb", "oja", "clip", "soft_clip"]
Modulation = Literal["simple", "retroactive"]  # what a modulator sets: the rule's rate, or the eligibility's
FanOut = Literal["none", "neuron"]  # how a modulator reaches the neurons: alike, or by a gain and an offset of each
ModulatorNonlinearity = Literal["tanh", "sigmoid"]
Alpha = Literal["connection", "neuron", "shared"]  # one plasticity coefficient per connection, per neuron, or for all
Nonlinearity = Literal["tanh", "relu"]
Engine = Literal["auto", "reference", "fused", "traceless"]
Core = Literal["plastic", "plastic_lstm", "rnn", "lstm", "gru", "memoryless"]  # all but the first two are controls
CompletionCore = Literal["plastic", "plastic_lstm", "rnn", "lstm", "gru"]  # those that remember what they were shown
OutputLayer = Literal["plastic", "fixed"]  # of few-shot classification; the second is the control
Split = Literal["paper", "lake", "vinyals", "glyphs"]  # of characters, into those for training and for tests
Rotation = Literal["episode", "training", "class"]  # when few-shot classification rotates characters
Drive = Literal["clamp", "add"]  # how a pattern reaches the neurons that it is shown to
Ablation = Literal["trace_zero", "alpha_zero", "modulation_zero", "eligibility_zero"]

RULES: tuple[RuleName, ...] = get_args(RuleName)
MODULATIONS: tuple[Modulation, ...] = get_args(Modulation)
FAN_OUTS: tuple[FanOut, ...] = get_args(FanOut)
MODULATOR_NONLINEARITIES: tuple[ModulatorNonlinearity, ...] = get_args(ModulatorNonlinearity)
ALPHAS: tuple[Alpha, ...] = get_args(Alpha)
NONLINEARITIES: tuple[Nonlinearity, ...] = get_args(Nonlinearity)
ENGINES: tuple[Engine, ...] = get_args(Engine)
CORES: tuple[Core, ...] = get_args(Core)
COMPLETION_CORES: tuple[CompletionCore, ...] = get_args(CompletionCore)
OUTPUT_LAYERS: tuple[OutputLayer, ...] = get_args(OutputLayer)
SPLITS: tuple[Split, ...] = get_args(Split)
ROTATIONS: tuple[Rotation, ...] = get_args(Rotation)
DRIVES: tuple[Drive, ...] = get_args(Drive)
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)

MODULATOR = frozenset({"fan_out", "modulator_nonlinearity"})  # have no effect without modulation
PLASTICITY = MODULATOR | {
    "rule", "alpha", "eta", "learn_eta", "bound", "modulation", "init_alpha", "engine",
}  # fmt: skip
# By core, the settings that have no effect on it.
UNUSED: dict[str, frozenset[str]] = {
    "plastic": frozenset({"forget_bias"}),
    "plastic_lstm": frozenset({"nonlinearity"}),
    "rnn": PLASTICITY | {"forget_bias"},
    "lstm": PLASTICITY | {"nonlinearity", "forget_bias"},
    "gru": PLASTICITY | {"nonlinearity", "forget_bias"},
    "memoryless": PLASTICITY | {"forget_bias"},
    "fixed": PLASTICITY | {"forget_bias"},
}
PLASTIC_CORES = tuple(core for core in CORES if "rule" not in UNUSED[core])


def default_rule(modulation: str | None) -> RuleName:
    """Return the rule where none is chosen: modulated rates may be negative, under which hebb's trace diverges."""
    return "clip" if modulation else "hebb"


def without_effect(core: str, modulation: str | None = None) -> frozenset[str]:
    """Return the settings that have no effect on a core with this modulation, None for no modulation."""
    return UNUSED[core] if modulation else UNUSED[core] | MODULATOR | {"modulation"}

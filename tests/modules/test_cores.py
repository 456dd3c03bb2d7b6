import re

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from plastic_rl import (
    GRUCore,
    LSTMCore,
    MemorylessCore,
    PlasticLSTM,
    PlasticLSTMCell,
    PlasticRNN,
    PlasticRNNCell,
    RNNCore,
)
from plastic_rl.choices import CORES, UNUSED
from plastic_rl.modules import CoreSettings

OTHERS = {
    "rule": "oja", "alpha": "shared", "eta": 0.2, "learn_eta": False, "bound": 2.0, "nonlinearity": "relu",
    "engine": "reference", "init_alpha": 0.5, "modulation": "simple", "fan_out": "neuron",
    "modulator_nonlinearity": "sigmoid", "forget_bias": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("core", CORES)
def test_every_core_is_built_and_called_alike(core):
    built = CoreSettings(core, 6).build(4)
    output, state = built(torch.randn(9, 3, 4))
    assert output.shape == (9, 3, 6)
    assert state.hidden.shape == (3, 6)


@pytest.mark.parametrize(
    ("core", "direct"),
    [
        ("plastic", lambda: PlasticRNN(4, 6, "clip", "neuron", "relu", 0.2, False, bound=0.5, engine="reference")),
        ("plastic_lstm", lambda: PlasticLSTM(4, 6, "clip", "neuron", 0.2, False, bound=0.5, engine="reference")),
        ("rnn", lambda: RNNCore(4, 6, "relu")),
        ("lstm", lambda: LSTMCore(4, 6)),
        ("gru", lambda: GRUCore(4, 6)),
        ("memoryless", lambda: MemorylessCore(4, 6, "relu")),
    ],
)
def test_a_core_of_settings_is_that_of_its_class(core, direct):
    """The same weights from the same seed, and the same outputs."""
    given = {"rule": "clip", "alpha": "neuron", "eta": 0.2, "learn_eta": False, "bound": 0.5, "nonlinearity": "relu",
             "engine": "reference"}  # fmt: skip
    torch.manual_seed(3)
    built = CoreSettings(core, 6, **{k: v for k, v in given.items() if k not in UNUSED[core]}).build(4)
    torch.manual_seed(3)
    expected = direct()
    assert repr(built) == repr(expected)
    for (name, one), (other_name, other) in zip(built.state_dict().items(), expected.state_dict().items(), strict=True):
        assert name == other_name
        assert one.equal(other)
    input = torch.randn(9, 3, 4)
    assert built(input)[0].equal(expected(input)[0])


@pytest.mark.parametrize(("core", "Class"), [("plastic", PlasticRNN), ("plastic_lstm", PlasticLSTM)])
def test_a_modulated_core_of_settings(core, Class):
    given = {"rule": "clip", "modulation": "retroactive", "fan_out": "neuron", "modulator_nonlinearity": "sigmoid"}
    built = CoreSettings(core, 6, **given, init_alpha=0.5, init_scale=0.0).build(4)
    assert repr(built) == repr(Class(4, 6, **given))
    assert (built.alpha == 0.5).all()
    assert not built.w.any()


@pytest.mark.parametrize(("core", "Class"), [("plastic", PlasticRNN), ("plastic_lstm", PlasticLSTM)])
@pytest.mark.parametrize(("modulation", "rule"), [(None, "hebb"), ("simple", "clip"), ("retroactive", "clip")])
def test_the_rule_follows_from_the_modulation_where_none_is_chosen(core, Class, modulation, rule):
    settings = CoreSettings(core, 6, modulation=modulation)
    assert settings.rule == rule
    assert settings.build(4).trace_rule.name == Class(4, 6, modulation=modulation).trace_rule.name == rule
    assert CoreSettings(core, 6, rule="hebb", modulation=modulation).build(4).trace_rule.name == "hebb"


def test_traces_under_a_negative_signal_stay_finite():
    """With hebb they would grow by 2 at every step: past float32 after 128."""
    rnn = PlasticRNN(4, 6, modulation="simple")
    with rnn.modulator.given(-1.0):
        output, state = rnn(torch.randn(300, 3, 4))
    assert output.isfinite().all()
    assert state.trace.abs().max() <= 1


@pytest.mark.parametrize("core", sorted(UNUSED))
def test_a_setting_that_a_core_has_no_use_for_is_refused(core):
    for name in OTHERS:
        if name in UNUSED[core]:
            with pytest.raises(ValueError, match=f"a core {core} has no use for {name}: leave it out, or choose ano"):
                CoreSettings(core, **{name: OTHERS[name]})
        else:
            CoreSettings(core, **{name: OTHERS[name]})


def test_all_useless_settings_are_named_in_their_order():
    says = "a core rnn has no use for rule, eta: leave them out, or choose another core"
    with pytest.raises(ValueError, match=re.escape(says)):
        CoreSettings("rnn", eta=0.5, rule="oja", nonlinearity="relu")


def test_a_rule_of_ones_own_goes_into_the_core():
    def rule(trace, pre, post, eta):
        return trace

    assert CoreSettings(hidden_size=6, rule=rule).build(4).rule is rule


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"core": "esn"},
            "unknown core 'esn': expected one of plastic, plastic_lstm, rnn, lstm, gru, memoryless, fix",
        ),
        ({"core": "fixed", "hidden_size": 6}, "a core fixed has no memory: expected one of plastic, plastic_lstm, rnn"),
        ({"hidden_size": 6, "fan_out": "neuron"}, "fan_out is 'neuron' without modulation: expected 'none'"),
        ({"hidden_size": 6, "rule": "hebbian"}, "unknown rule 'hebbian': expected one of hebb, oja, clip"),
    ],
)
def test_a_core_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        CoreSettings(**settings).build(4)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    "settings", [{}, {"modulation": "retroactive"}, {"alpha": "shared"}, {"engine": "fused"}], ids=str
)
def test_no_episodes_give_no_outputs(core, settings):
    if any(name in UNUSED[core] for name in settings):
        pytest.skip("the core is not plastic")
    built = CoreSettings(core, 8, **settings).build(5)
    input = torch.randn(6, 0, 5, requires_grad=True)
    output, state = built(input)
    assert output.shape == (6, 0, 8)
    assert all(part.shape[0] == 0 for part in state)
    output.sum().backward()
    assert not any(p.grad is not None and p.grad.any() for p in built.parameters())


@pytest.mark.parametrize("core", CORES)
def test_an_input_that_is_no_sequence_is_named(core):
    built = CoreSettings(core, 8).build(5)
    with pytest.raises(ValueError, match=re.escape("input has shape (0, 4, 5): expected at least one step")):
        built(torch.randn(0, 4, 5))
    packed = pack_padded_sequence(torch.randn(6, 4, 5), [6, 5, 3, 2])
    with pytest.raises(TypeError, match=r"input is a PackedSequence: expected a tensor; pad the sequences, with torch"):
        built(packed)
    with pytest.raises(TypeError, match="input is a ndarray: expected a tensor"):
        built(np.zeros((6, 4, 5), np.float32))


@pytest.mark.parametrize("core", CORES)
def test_sizes_are_whole_numbers_whatever_their_type(core):
    for size in (8.0, np.int64(8), np.float32(8)):
        built = CoreSettings(core, size).build(np.int64(5))
        assert (type(built.hidden_size), type(built.input_size)) == (int, int)
        assert built(torch.randn(3, 2, 5))[0].shape == (3, 2, 8)
    for size in (8.5, True, "8", float("nan"), 0):
        with pytest.raises(ValueError, match=f"hidden_size is {size!r}: expected a whole number of at least 1"):
            CoreSettings(core, size)


@pytest.mark.parametrize("Cell", [PlasticRNNCell, PlasticLSTMCell])
def test_the_input_of_a_cell_is_a_tensor(Cell):
    with pytest.raises(TypeError, match="input is a list: expected a tensor"):
        Cell(5, 8)([1.0] * 5)
    output, state = Cell(5, 8)(torch.randn(0, 5))
    assert output.shape == (0, 8)
    assert state.trace.shape == (0, 8, 8)

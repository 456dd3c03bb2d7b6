"""Layers that modulate their own plasticity, against the ops and the paper."""

import copy
import itertools
import re

import pytest
import torch

from plastic_rl import Modulation, Modulator, PlasticLSTM, PlasticLSTMCell, PlasticRNN, PlasticRNNCell
from plastic_rl.choices import FAN_OUTS, MODULATIONS, MODULATOR_NONLINEARITIES
from plastic_rl.modules.controls import RNNCore, count_parameters
from plastic_rl.ops import PlasticLSTMState, PlasticState, RetroactiveLSTMState, RetroactiveState, plastic_rnn
from plastic_rl.rules import Clip

T, B, I, N = 7, 3, 4, 6  # noqa: E741
FAST = {"engine": "reference"}  # compiles nothing; tests/ops compares the engines
LAYERS = pytest.mark.parametrize("Layer", [PlasticRNN, PlasticLSTM])
KINDS = pytest.mark.parametrize("modulation", MODULATIONS)
CELLS = {PlasticRNN: PlasticRNNCell, PlasticLSTM: PlasticLSTMCell}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def draw_state(layer, batch=B):
    zeros = layer.initial_state(batch)
    return type(zeros)(*(0.5 * torch.randn_like(part) for part in zeros))


def assert_same(actual, expected):
    torch.testing.assert_close(actual[0], expected[0])
    assert type(actual[1]) is type(expected[1])
    torch.testing.assert_close(tuple(actual[1]), tuple(expected[1]))


@pytest.mark.parametrize("rule", ["hebb", "clip", "soft_clip"])
@pytest.mark.parametrize(
    ("kind", "fan_out", "nonlinearity"), list(itertools.product(MODULATIONS, FAN_OUTS, MODULATOR_NONLINEARITIES))
)
def test_a_modulated_layer_is_the_op_with_its_modulator(kind, fan_out, nonlinearity, rule):
    rnn = PlasticRNN(
        I, N, rule, eta=0.2, bound=0.3, modulation=kind, fan_out=fan_out, modulator_nonlinearity=nonlinearity, **FAST
    )
    input, state, starts = torch.randn(T, B, I), draw_state(rnn), torch.rand(T, B) < 0.2
    clamp = torch.where(torch.rand(T, B, N) < 0.3, 1.0, torch.nan)
    m = rnn.modulator
    modulation = Modulation(m.weight, m.bias, kind, nonlinearity, m.gain, m.offset)
    expected = plastic_rnn(
        rnn.encode(input), rnn.w, rnn.alpha, 0.2, **state._asdict(), rule=Clip(0.3) if rule == "clip" else rule,
        modulation=modulation, clamp=clamp, episode_start=starts, **FAST,
    )  # fmt: skip
    assert_same(rnn(input, state, clamp=clamp, episode_start=starts), expected)
    torch.testing.assert_close(m(expected[0]), getattr(torch, nonlinearity)(expected[0] @ m.weight + m.bias))


@LAYERS
@KINDS
@pytest.mark.parametrize("fan_out", FAN_OUTS)
def test_a_modulated_cell_is_one_step_of_its_layer(Layer, modulation, fan_out):
    options = {"rule": "clip", "modulation": modulation, "fan_out": fan_out, **FAST}
    layer, cell = Layer(I, N, **options), CELLS[Layer](I, N, **options)
    cell.load_state_dict(layer.state_dict())
    input, state = torch.randn(T, B, I), draw_state(layer)
    expected, outputs = layer(input, state), []
    for step in input:
        output, state = cell(step, state)
        outputs.append(output)
    assert_same((torch.stack(outputs), state), expected)
    expected[0].sum().backward()
    torch.stack(outputs).sum().backward()
    for mine, theirs in zip(cell.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@LAYERS
@KINDS
@pytest.mark.parametrize("fan_out", FAN_OUTS)
@pytest.mark.parametrize("nonlinearity", MODULATOR_NONLINEARITIES)
def test_every_parameter_learns(Layer, modulation, fan_out, nonlinearity):
    layer = Layer(
        I, N, "clip", eta=0.3, modulation=modulation, fan_out=fan_out, modulator_nonlinearity=nonlinearity, **FAST
    )
    layer(torch.randn(T, B, I))[0].square().sum().backward()
    modulator = {"weight", "bias"} | ({"gain", "offset"} if fan_out == "neuron" else set())
    names = {name for name, _ in layer.named_parameters()}
    assert {name for name in names if "modulator" in name} == {f"modulator.{name}" for name in modulator}
    assert ("eta" in names) == ("eta" in layer.state_dict()) == (modulation == "retroactive")
    assert all(p.grad.count_nonzero() > 0 for p in layer.parameters())


@LAYERS
@KINDS
def test_layouts_of_a_modulated_layer(Layer, modulation):
    layer, batch_first = (
        Layer(I, N, "clip", modulation=modulation, batch_first=turned, **FAST) for turned in (False, True)
    )
    batch_first.load_state_dict(layer.state_dict())
    input, state, starts = torch.randn(T, B, I), draw_state(layer), torch.rand(T, B) < 0.2
    output, last = layer(input, state, episode_start=starts)
    turned = batch_first(input.transpose(0, 1), state, episode_start=starts.transpose(0, 1))
    assert_same(turned, (output.transpose(0, 1), last))
    own = type(state)(*(part[1] for part in state))
    alone = layer(input[:, 1], own, episode_start=starts[:, 1])
    assert_same(alone, (output[:, 1], type(state)(*(part[1] for part in last))))


@pytest.mark.parametrize(
    ("Layer", "modulation", "kind"),
    [
        (PlasticRNN, None, PlasticState),
        (PlasticRNN, "simple", PlasticState),
        (PlasticRNN, "retroactive", RetroactiveState),
        (PlasticLSTM, None, PlasticLSTMState),
        (PlasticLSTM, "simple", PlasticLSTMState),
        (PlasticLSTM, "retroactive", RetroactiveLSTMState),
    ],
)
def test_the_kind_of_state(Layer, modulation, kind):
    layer = Layer(I, N, modulation=modulation, **FAST)
    state, last = layer.initial_state(B), layer(torch.randn(T, B, I))[1]
    assert type(state) is type(last) is kind
    for name, part in state._asdict().items():
        assert part.shape == ((B, N) if name in state.per_neuron else (B, N, N))
        assert not part.any()
        assert getattr(last, name).shape == part.shape


@pytest.mark.parametrize(("modulation", "parameters"), [(None, 86_204), ("simple", 86_404), ("retroactive", 86_405)])
def test_parameters_of_the_paper(modulation, parameters):
    """200 neurons on 27 inputs, and heads for two actions and a value.

    The paper counts one more with modulation: an eta that has no effect.
    """
    heads = 200 * 3 + 3
    assert count_parameters(PlasticRNN(27, 200, "clip", modulation=modulation)) + heads == parameters
    plain = count_parameters(RNNCore(27, 200)) - 200  # torch.nn.RNN has two biases
    assert plain + heads == 46_203


def test_initial_rates_are_about_those_without_modulation():
    hidden, rate = 0.1 * torch.randn(1000, 50), 0.05
    for kind, fan_out, nonlinearity in itertools.product(MODULATIONS, FAN_OUTS, MODULATOR_NONLINEARITIES):
        found = []
        for _ in range(20):
            modulator = Modulator(50, kind, fan_out, nonlinearity, rate)
            found.append(modulator.modulation(1, 1).rates(modulator(hidden)).mean().item())
        expected = 0.0 if (fan_out, nonlinearity) == ("none", "tanh") else rate
        assert sum(found) / len(found) == pytest.approx(expected, abs=0.04), (kind, fan_out, nonlinearity)
    assert torch.isfinite(Modulator(5, nonlinearity="sigmoid", initial_rate=0.0).bias)
    assert torch.isfinite(Modulator(5, nonlinearity="sigmoid", initial_rate=1.0).bias)


@LAYERS
def test_a_given_signal_takes_the_place_of_the_computed_one(Layer):
    layer, input = Layer(I, N, "clip", modulation="simple", **FAST), torch.randn(T, B, I)
    output, last = layer(input)
    signal = layer.modulator(output).detach()
    with layer.modulator.given(signal):
        assert_same(layer(input), (output, last))
        assert layer.modulator(output).equal(signal)
    with layer.modulator.given(0.0):
        assert not layer(input)[1].trace.any()
        assert layer.modulator(output).equal(torch.zeros(T, B))
    with layer.modulator.given(torch.tensor([0.0, 0.3, 0.0])):  # one for each episode
        trace = layer(input)[1].trace
        assert [bool(one.any()) for one in trace] == [False, True, False]
    with pytest.raises(KeyError), layer.modulator.given(1.0):
        raise KeyError
    assert layer.modulator.signal is None
    assert_same(layer(input), (output, last))
    assert "modulator.signal" not in layer.state_dict()


def test_the_range_of_the_signal():
    for nonlinearity, bounds in (("tanh", (-1.0, 1.0)), ("sigmoid", (0.0, 1.0))):
        modulator = Modulator(N, nonlinearity=nonlinearity)
        assert modulator.range == bounds
        signals = modulator(torch.randn(1000, N) * 100)
        assert bounds[0] <= signals.min() < bounds[0] + 0.01
        assert bounds[1] - 0.01 < signals.max() <= bounds[1]


def test_a_constant_signal_is_a_constant_rate():
    modulated, plain = PlasticRNN(I, N, "clip", modulation="simple", **FAST), PlasticRNN(I, N, "clip", eta=0.3, **FAST)
    plain.load_state_dict({n: t for n, t in modulated.state_dict().items() if n in plain.state_dict()}, strict=False)
    input = torch.randn(T, B, I)
    with modulated.modulator.given(0.3):
        assert_same(modulated(input), plain(input))


def test_retroactive_with_eta_1_is_simple_one_step_later():
    """The trace is written at a step by what was active together at the step before."""
    retroactive, simple = (
        PlasticRNN(I, N, "clip", eta=1.0, modulation=kind, bound=9.0, **FAST) for kind in ("retroactive", "simple")
    )
    input = torch.randn(1, B, I)
    first, second = (torch.tensor([value]) for value in (0.4, 0.7))
    simple.load_state_dict(retroactive.state_dict(), strict=False)
    hidden = torch.randn(B, N)
    empty = retroactive.initial_state(B)._replace(hidden=hidden)
    with retroactive.modulator.given(first):
        _, state = retroactive(input, empty)
    assert not state.trace.any()
    with retroactive.modulator.given(second):
        _, state = retroactive(input, state)
    with simple.modulator.given(second):
        _, expected = simple(input, PlasticState(hidden, torch.zeros(B, N, N)))
    torch.testing.assert_close(state.trace, expected.trace)


@KINDS
def test_copies_of_a_modulated_layer_compute_the_same(modulation):
    layer, loaded = (PlasticRNN(I, N, "clip", modulation=modulation, fan_out="neuron", **FAST) for _ in range(2))
    input = torch.randn(T, B, I)
    loaded.load_state_dict(layer.state_dict())
    for other in (loaded, copy.deepcopy(layer)):
        assert_same(other(input), layer(input))
        assert repr(other) == repr(layer)
    assert layer.double()(input.double())[1].trace.dtype == torch.float64


def test_a_seed_leads_to_the_same_weights_with_and_without_modulation():
    torch.manual_seed(3)
    plain = PlasticRNN(I, N)
    layer = PlasticRNN(I, N, modulation="retroactive")
    before = {name: part.clone() for name, part in layer.state_dict().items()}
    torch.manual_seed(3)
    PlasticRNN(I, N).reset_parameters()
    layer.reset_parameters()
    changed = {name for name, part in layer.state_dict().items() if not part.equal(before[name])}
    assert changed == set(before) - {"eta"}
    torch.manual_seed(3)
    assert PlasticRNN(I, N).w.equal(plain.w)


def test_repr_tells_of_the_modulator():
    text = repr(PlasticRNN(I, N, "clip", modulation="simple", fan_out="neuron"))
    assert "nonlinearity=tanh, rule=clip, alpha=connection, bound=1.0\n" in text
    assert "(modulator): Modulator(6, simple, fan_out=neuron, nonlinearity=tanh)" in text
    assert "alpha=connection, learn_eta=True" in repr(PlasticRNN(I, N, modulation="retroactive"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modulation": "nonsense"}, "unknown modulation 'nonsense': expected one of simple, retroactive, or None"),
        ({"modulation": "simple", "fan_out": "all"}, "unknown fan_out 'all': expected one of none, neuron"),
        (
            {"modulation": "simple", "modulator_nonlinearity": "relu"},
            "unknown modulator_nonlinearity 'relu': expected one of tanh, sigmoid",
        ),
        ({"fan_out": "neuron"}, "fan_out is 'neuron' without modulation: expected 'none', or a modulation"),
        (
            {"modulator_nonlinearity": "sigmoid"},
            "modulator_nonlinearity is 'sigmoid' without modulation: expected 'tanh', or a modulation",
        ),
        (
            {"modulation": "retroactive", "rule": "oja"},
            "the rule oja has no retroactive modulation: expected one of hebb, clip, soft_clip",
        ),
        (
            {"modulation": "retroactive", "rule": lambda trace, pre, post, eta: trace},
            "has no retroactive modulation: expected one of hebb, clip, soft_clip",
        ),
        ({"bound": -1.0}, "bound is -1.0: expected at least 0"),
    ],
)
@pytest.mark.parametrize("Layer", [PlasticRNN, PlasticRNNCell, PlasticLSTM, PlasticLSTMCell])
def test_modulation_that_cannot_be(Layer, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Layer(I, N, **options)


def test_a_state_of_another_kind_is_refused():
    plain, retroactive = PlasticRNN(I, N), PlasticRNN(I, N, modulation="retroactive")
    input = torch.zeros(T, B, I)
    says = "state is a PlasticState: expected RetroactiveState(hidden, trace, eligibility), or None"
    with pytest.raises(TypeError, match=re.escape(says)):
        retroactive(input, plain.initial_state(B))
    with pytest.raises(TypeError, match=re.escape(says)):
        retroactive.stepper(plain.initial_state(B), 3)
    with pytest.raises(TypeError, match=re.escape("state is a RetroactiveState: expected PlasticState(hidden, trace)")):
        plain(input, retroactive.initial_state(B))
    says = "state is a RetroactiveState: expected PlasticLSTMState(hidden, cell, trace), or None"  # as many parts
    with pytest.raises(TypeError, match=re.escape(says)):
        PlasticLSTM(I, N)(input, retroactive.initial_state(B))
    with pytest.raises(ValueError, match=re.escape("eligibility has shape (3, 6): expected (3, 6, 6)")):
        retroactive(input, retroactive.initial_state(B)._replace(eligibility=torch.zeros(B, N)))

"""The plastic LSTM, against its op and torch.nn.LSTM."""

import re

import pytest
import torch

from plastic_rl import LSTMCore, PlasticLSTM, PlasticLSTMCell
from plastic_rl.choices import RULES
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import PlasticLSTMState, plastic_lstm
from plastic_rl.rules import Clip

T, B, I, N = 7, 3, 4, 6  # noqa: E741
FAST = {"engine": "reference"}  # compiles nothing; tests/ops compares the engines


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def draw_state(batch=B):
    return PlasticLSTMState(torch.randn(batch, N), torch.randn(batch, N), torch.randn(batch, N, N))


def assert_same(actual, expected):
    torch.testing.assert_close(actual[0], expected[0])
    torch.testing.assert_close(tuple(actual[1]), tuple(expected[1]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("alpha", ["connection", "neuron", "shared"])
def test_the_layer_is_the_op_behind_input_weights(rule, alpha):
    lstm = PlasticLSTM(I, N, rule, alpha, eta=0.2, bound=0.5, **FAST)
    input, state, starts = torch.randn(T, B, I), draw_state(), torch.rand(T, B) < 0.2
    expected = plastic_lstm(
        input @ lstm.encode.weight.T + lstm.encode.bias, lstm.gates, lstm.w, lstm.alpha, 0.2, *state,
        rule=Clip(0.5) if rule == "clip" else rule, episode_start=starts, **FAST,
    )  # fmt: skip
    assert_same(lstm(input, state, episode_start=starts), expected)


def as_pytorchs(lstm):
    """Return the torch.nn.LSTM with the fixed weights of a plastic one."""
    core = LSTMCore(I, N)
    i, f, o = lstm.gates.chunk(3, 1)
    with torch.no_grad():
        core.layer.weight_ih_l0.copy_(lstm.encode.weight)
        core.layer.bias_ih_l0.copy_(lstm.encode.bias)
        core.layer.bias_hh_l0.zero_()
        core.layer.weight_hh_l0.copy_(torch.cat([i, f, lstm.w, o], 1).T)
    return core


def test_without_plasticity_it_is_pytorchs():
    lstm, input = PlasticLSTM(I, N, forget_bias=1.0, **FAST), torch.randn(T, B, I)
    state = draw_state()
    with torch.no_grad():
        lstm.alpha.zero_()
    expected, last = as_pytorchs(lstm)(input, (state.hidden, state.cell))
    output, (hidden, cell, _) = lstm(input, state)
    torch.testing.assert_close((output, hidden, cell), (expected, last.hidden, last.cell))


def test_plasticity_has_an_effect():
    lstm, input = PlasticLSTM(I, N, eta=0.5, **FAST), torch.randn(T, B, I)
    assert not torch.allclose(lstm(input)[0], as_pytorchs(lstm)(input)[0])


def test_the_cell_is_one_step_of_the_layer():
    lstm, cell = PlasticLSTM(I, N, eta=0.3, **FAST), PlasticLSTMCell(I, N, **FAST)
    cell.load_state_dict(lstm.state_dict())
    input, state = torch.randn(T, B, I), draw_state()
    expected, outputs = lstm(input, state), []
    for step in input:
        output, state = cell(step, state)
        outputs.append(output)
    assert_same((torch.stack(outputs), state), expected)
    alone, last = cell(input[0, 0], PlasticLSTMState(*(part[0] for part in draw_state(1))))
    assert (alone.shape, last.cell.shape, last.trace.shape) == ((N,), (N,), (N, N))


def test_no_state_is_a_state_of_zeros():
    lstm, input = PlasticLSTM(I, N, **FAST), torch.randn(T, B, I)
    assert_same(lstm(input), lstm(input, lstm.initial_state(B)))


@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched_is_a_batch_of_one(batch_first):
    lstm = PlasticLSTM(I, N, batch_first=batch_first, **FAST)
    dim = 0 if batch_first else 1
    input, state, starts = torch.randn(T, I), draw_state(1), torch.rand(T) < 0.2
    output, last = lstm(input, PlasticLSTMState(*(part[0] for part in state)), episode_start=starts)
    expected, expected_last = lstm(input.unsqueeze(dim), state, episode_start=starts.unsqueeze(dim))
    assert_same((output, last), (expected.squeeze(dim), [part[0] for part in expected_last]))


def test_initial_weights_are_as_pytorchs():
    lstm, open_lstm, core = PlasticLSTM(400, 50), PlasticLSTM(400, 50, forget_bias=1.0), LSTMCore(400, 50)
    for mine, theirs in ((lstm.encode.weight, core.layer.weight_ih_l0), (lstm.gates, core.layer.weight_hh_l0)):
        assert mine.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
    assert lstm.encode.bias.abs().max() <= 50**-0.5
    means = open_lstm.encode.bias.unflatten(0, (4, 50)).mean(1)
    torch.testing.assert_close(means.detach(), torch.tensor([0.0, 1.0, 0.0, 0.0]), atol=0.1, rtol=0)


def test_parameters():
    lstm = PlasticLSTM(I, N, **FAST)
    assert count_parameters(lstm) == 4 * N * (I + N + 1) + N * N + 1
    assert set(lstm.state_dict()) == {"encode.weight", "encode.bias", "gates", "w", "alpha", "eta"}
    lstm(torch.randn(T, B, I))[0].square().sum().backward()
    assert all(p.grad.count_nonzero() > 0 for p in lstm.parameters())
    assert count_parameters(PlasticLSTM(I, N, bias=False)) == 4 * N * (I + N) + N * N + 1
    assert {id(p) for p in lstm.recurrent_weights()} == {id(p) for p in (lstm.w, lstm.alpha, lstm.gates)}


def test_repr_tells_what_matters():
    assert repr(PlasticLSTM(I, N)) == (
        "PlasticLSTM(\n  4, 6, rule=hebb, alpha=connection, learn_eta=True\n"
        "  (encode): Linear(in_features=4, out_features=24, bias=True)\n)"
    )
    assert "forget_bias=1.0, batch_first=True" in repr(PlasticLSTM(I, N, forget_bias=1.0, batch_first=True))


@pytest.mark.parametrize("Layer", [PlasticLSTM, PlasticLSTMCell])
def test_a_layer_that_cannot_be(Layer):
    with pytest.raises(ValueError, match="input_size is 0: expected a whole number of at least 1"):
        Layer(0, N)
    with pytest.raises(ValueError, match=r"forget_bias is 1\.0 without bias: expected 0, or a bias"):
        Layer(I, N, bias=False, forget_bias=1.0)
    with pytest.raises(TypeError, match="clamp"):
        Layer(I, N)(torch.zeros(B, I), clamp=torch.zeros(B, N))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([(N,), (B, N), (B, N, N)], "hidden has shape (6,): expected (3, 6)"),
        ([(B, N), (B, 5), (B, N, N)], "cell has shape (3, 5): expected (3, 6)"),
        ([(B, N), (B, N), (N, N)], "trace has shape (6, 6): expected (3, 6, 6)"),
    ],
)
def test_a_wrong_shape_is_named(state, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        PlasticLSTM(I, N)(torch.zeros(T, B, I), PlasticLSTMState(*map(torch.zeros, state)))
    with pytest.raises(ValueError, match=re.escape("input has shape (7, 3, 5): expected (T, B, 4), or (T, 4)")):
        PlasticLSTM(I, N)(torch.zeros(T, B, 5))

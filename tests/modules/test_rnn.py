import copy
import pickle
import re

import pytest
import torch

from plastic_rl import PlasticRNN, PlasticRNNCell
from plastic_rl.choices import RULES
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import PlasticState, plastic_rnn
from plastic_rl.rules import Clip, Hebb

T, B, I, N = 7, 3, 4, 6  # noqa: E741


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def hebbian(trace, pre, post, eta):
    """A rule of the user's own, which happens to be hebb."""
    return Hebb()(trace, pre, post, eta)


def draw_state(batch: int = B) -> PlasticState:
    return PlasticState(torch.randn(batch, N), torch.randn(batch, N, N))


def assert_same(actual, expected):
    torch.testing.assert_close(actual[0], expected[0])
    torch.testing.assert_close(tuple(actual[1]), tuple(expected[1]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_layer_is_the_op_behind_input_weights(rule, nonlinearity):
    rnn = PlasticRNN(I, N, rule=rule, nonlinearity=nonlinearity, eta=0.2, bound=0.5)
    input, state = torch.randn(T, B, I), draw_state()
    clamp = torch.where(torch.rand(T, B, N) < 0.3, 1.0, torch.nan)
    starts = torch.rand(T, B) < 0.2
    u = input @ rnn.encode.weight.T + rnn.encode.bias
    expected = plastic_rnn(
        u, rnn.w, rnn.alpha, 0.2, *state,
        rule=Clip(0.5) if rule == "clip" else rule, nonlinearity=nonlinearity, clamp=clamp, episode_start=starts,
    )  # fmt: skip
    assert_same(rnn(input, state, clamp=clamp, episode_start=starts), expected)


def test_no_state_is_a_state_of_zeros():
    rnn, input = PlasticRNN(I, N), torch.randn(T, B, I)
    assert_same(rnn(input), rnn(input, PlasticState(torch.zeros(B, N), torch.zeros(B, N, N))))
    assert_same(rnn(input), rnn(input, rnn.initial_state(B)))


@pytest.mark.parametrize("alpha", ["connection", "neuron", "shared"])
def test_the_cell_is_one_step_of_the_layer(alpha):
    rnn, cell = PlasticRNN(I, N, alpha=alpha, eta=0.3), PlasticRNNCell(I, N, alpha=alpha)
    cell.load_state_dict(rnn.state_dict())
    input, state = torch.randn(T, B, I), draw_state()
    clamp = torch.where(torch.rand(T, B, N) < 0.3, 1.0, torch.nan)
    expected = rnn(input, state, clamp=clamp)
    outputs = []
    for step, held in zip(input, clamp, strict=True):
        output, state = cell(step, state, clamp=held)
        outputs.append(output)
    assert_same((torch.stack(outputs), state), expected)

    expected[0].sum().backward()
    torch.stack(outputs).sum().backward()
    for mine, theirs in zip(cell.parameters(), rnn.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_batch_first_is_the_transpose():
    rnn, batch_first = PlasticRNN(I, N), PlasticRNN(I, N, batch_first=True)
    batch_first.load_state_dict(rnn.state_dict())
    input, state = torch.randn(T, B, I), draw_state()
    clamp = torch.where(torch.rand(T, B, N) < 0.3, 1.0, torch.nan)
    starts = torch.rand(T, B) < 0.2
    output, last = rnn(input, state, clamp=clamp, episode_start=starts)
    turned = batch_first(
        input.transpose(0, 1), state, clamp=clamp.transpose(0, 1), episode_start=starts.transpose(0, 1)
    )
    assert turned[0].shape == (B, T, N)
    assert_same(turned, (output.transpose(0, 1), last))


@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched_is_a_batch_of_one(batch_first):
    rnn = PlasticRNN(I, N, batch_first=batch_first)
    dim = 0 if batch_first else 1
    input, state = torch.randn(T, I), draw_state(1)
    clamp, starts = torch.where(torch.rand(T, N) < 0.3, 1.0, torch.nan), torch.rand(T) < 0.2
    output, last = rnn(input, PlasticState(*(s[0] for s in state)), clamp=clamp, episode_start=starts)
    expected, expected_last = rnn(
        input.unsqueeze(dim), state, clamp=clamp.unsqueeze(dim), episode_start=starts.unsqueeze(dim)
    )
    assert (output.shape, last.hidden.shape, last.trace.shape) == ((T, N), (N,), (N, N))
    assert_same((output, last), (expected.squeeze(dim), [s[0] for s in expected_last]))
    assert rnn(input)[0].shape == (T, N)


def test_an_unbatched_cell():
    cell, input, state = PlasticRNNCell(I, N), torch.randn(I), draw_state(1)
    clamp = torch.full((N,), torch.nan)
    output, last = cell(input, PlasticState(*(s[0] for s in state)), clamp=clamp)
    expected, expected_last = cell(input[None], state)
    assert_same((output, last), (expected[0], [s[0] for s in expected_last]))
    assert cell(input)[0].shape == (N,)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, I * N + N + 2 * N * N + 1),
        ({"alpha": "neuron"}, I * N + N + N * N + N + 1),
        ({"alpha": "shared"}, I * N + N + N * N + 1 + 1),
        ({"learn_eta": False}, I * N + N + 2 * N * N),
        ({"bias": False}, I * N + 2 * N * N + 1),
    ],
)
def test_parameters(options, count):
    rnn = PlasticRNN(I, N, **options)
    assert count_parameters(rnn) == count
    names = {"encode.weight", "encode.bias", "w", "alpha", "eta"}
    assert set(rnn.state_dict()) == (names - {"encode.bias"} if options.get("bias") is False else names)
    rnn(torch.randn(T, B, I))[0].square().sum().backward()
    assert all(p.grad.count_nonzero() > 0 for p in rnn.parameters())


def test_eta_that_does_not_learn_is_kept_all_the_same():
    rnn = PlasticRNN(I, N, eta=0.25, learn_eta=False)
    assert "eta" not in dict(rnn.named_parameters())
    other = PlasticRNN(I, N, learn_eta=False)
    other.load_state_dict(rnn.state_dict())
    assert other.eta.item() == 0.25


def test_new_weights_leave_eta_as_it_is():
    rnn = PlasticRNN(I, N, eta=0.25)
    before = {name: tensor.clone() for name, tensor in rnn.state_dict().items()}
    rnn.reset_parameters()
    changed = {name for name, tensor in rnn.state_dict().items() if not tensor.equal(before[name])}
    assert changed == set(before) - {"eta"}
    assert rnn.w.abs().max() <= N**-0.5


@pytest.mark.parametrize(("eta", "constrained"), [(-0.5, 0.0), (0.5, 0.5), (1.5, 1.0)])
@pytest.mark.parametrize("learn_eta", [False, True])
def test_constrained_eta_lies_between_0_and_1(eta, constrained, learn_eta):
    rnn = PlasticRNN(I, N, learn_eta=learn_eta)
    with torch.no_grad():
        rnn.eta.fill_(eta)
    rnn.constrain_()
    assert rnn.eta.item() == constrained
    if eta != constrained:
        with pytest.raises(ValueError, match=rf"eta is {eta}: expected 0 to 1"):
            PlasticRNN(I, N, eta=eta)


@pytest.mark.parametrize(
    "options", [{}, {"rule": "clip", "bound": 0.5, "alpha": "neuron"}, {"rule": Clip(0.5)}, {"rule": hebbian}]
)
def test_copies_compute_the_same(tmp_path, options):
    rnn, input = PlasticRNN(I, N, **options), torch.randn(T, B, I)
    torch.save(rnn.state_dict(), tmp_path / "rnn.pt")
    loaded = PlasticRNN(I, N, **options)
    loaded.load_state_dict(torch.load(tmp_path / "rnn.pt", weights_only=True))
    for other in (loaded, copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert_same(other(input), rnn(input))
        assert repr(other) == repr(rnn)


def test_a_compiled_layer_computes_the_same():
    """The compiler, which cannot look into the kernels, is to leave them as they are."""
    rnn, input, gradients = PlasticRNN(I, N), torch.randn(T, B, I), []
    compiled = torch.compile(rnn, backend="eager")
    assert_same(compiled(input), rnn(input))
    for layer in (compiled, rnn):
        output, _ = layer(input)
        gradients.append(torch.autograd.grad(output.sum(), rnn.parameters()))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_autocast(engine):
    """The net input comes in the narrower type; the layer goes on in its own."""
    layer, input = PlasticRNN(3, 8, engine=engine), torch.randn(5, 2, 3)
    with torch.autocast("cpu"):
        outputs, state = layer(input)
    assert outputs.dtype == state.trace.dtype == torch.float32
    torch.testing.assert_close(outputs, layer(input)[0], atol=0.05, rtol=0.05)
    outputs.sum().backward()


def test_to_float64():
    rnn, input = PlasticRNN(I, N), torch.randn(T, B, I)
    output, _ = rnn(input)
    output64, state64 = rnn.to(torch.float64)(input.double())
    assert output64.dtype == state64.hidden.dtype == state64.trace.dtype == torch.float64
    assert PlasticRNN(I, N, dtype=torch.float64)(input.double())[0].dtype == torch.float64
    torch.testing.assert_close(output64.float(), output)
    assert rnn.initial_state(2).trace.dtype == torch.float64


def test_other_devices():
    """PyTorch's device without data stands for all that are not the CPU."""
    rnn = PlasticRNN(I, N, device="meta", engine="auto")
    output, state = rnn(torch.empty(T, B, I, device="meta"))
    assert output.device.type == state.trace.device.type == "meta"


def test_repr_tells_what_matters():
    assert repr(PlasticRNN(I, N)) == (
        "PlasticRNN(\n  4, 6, nonlinearity=tanh, rule=hebb, alpha=connection, learn_eta=True\n"
        "  (encode): Linear(in_features=4, out_features=6, bias=True)\n)"
    )
    text = repr(PlasticRNN(I, N, rule="clip", alpha="shared", bound=0.5, learn_eta=False, batch_first=True))
    assert "nonlinearity=tanh, rule=clip, alpha=shared, learn_eta=False, bound=0.5, batch_first=True" in text

    def mine(trace, pre, post, eta):
        return trace

    assert "rule=mine" in repr(PlasticRNNCell(I, N, rule=mine))


def test_a_rule_of_your_own():
    rnn, input = PlasticRNN(I, N), torch.randn(T, B, I)
    other = PlasticRNN(I, N, rule=hebbian)
    other.load_state_dict(rnn.state_dict())
    assert_same(other(input), rnn(input))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "nonsense"}, "unknown rule 'nonsense': expected one of hebb, oja, clip"),
        ({"alpha": "nonsense"}, "unknown alpha 'nonsense': expected one of connection, neuron, shared"),
        ({"nonlinearity": "nonsense"}, "unknown nonlinearity 'nonsense': expected one of tanh, relu"),
        ({"engine": "nonsense"}, "unknown engine 'nonsense': expected one of auto, reference, fused, traceless"),
        ({"rule": "clip", "bound": -1.0}, "bound is -1.0: expected at least 0"),
        ({"input_size": -1}, "input_size is -1: expected a whole number of at least 0"),
        ({"hidden_size": -1}, "hidden_size is -1: expected a whole number of at least 1"),
    ],
)
@pytest.mark.parametrize("layer", [PlasticRNN, PlasticRNNCell])
def test_a_layer_that_cannot_be_is_refused_when_it_is_made(layer, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        layer(**{"input_size": I, "hidden_size": N, **options})


@pytest.mark.parametrize(
    ("batch_first", "input", "options", "message"),
    [
        (False, (T, B, 5), {}, "input has shape (7, 3, 5): expected (T, B, 4), or (T, 4) unbatched"),
        (True, (B, T, 5), {}, "input has shape (3, 7, 5): expected (B, T, 4), or (T, 4) unbatched"),
        (False, (4,), {}, "input has shape (4,): expected (T, B, 4)"),
        (False, (0, B, I), {}, "input has shape (0, 3, 4): expected at least one step"),
        (False, (T, B, I), {"state": [(N,), (B, N, N)]}, "hidden has shape (6,): expected (3, 6)"),
        (False, (T, B, I), {"state": [(B, N), (N, N)]}, "trace has shape (6, 6): expected (3, 6, 6)"),
        (False, (T, I), {"state": [(B, N), (B, N, N)]}, "hidden has shape (3, 6): expected (6,)"),
        (True, (B, T, I), {"clamp": (T, B, N)}, "clamp has shape (7, 3, 6): expected (3, 7, 6)"),
        (True, (B, T, I), {"clamp": (N,)}, "clamp has shape (6,): expected (3, 7, 6)"),
        (True, (B, T, I), {"episode_start": (B,)}, "episode_start has shape (3,): expected (3, 7)"),
        (False, (T, I), {"episode_start": (T, 1)}, "episode_start has shape (7, 1): expected (7,)"),
    ],
)
def test_a_wrong_shape_is_named_in_the_callers_layout(batch_first, input, options, message):
    rnn = PlasticRNN(I, N, batch_first=batch_first)
    tensors = {name: torch.zeros(shape) for name, shape in options.items() if name != "state"}
    if "state" in options:
        tensors["state"] = PlasticState(*map(torch.zeros, options["state"]))
    with pytest.raises(ValueError, match=re.escape(message)):
        rnn(torch.zeros(input), **tensors)


def test_the_state_of_a_plain_rnn_is_refused():
    message = re.escape("state is a Tensor: expected PlasticState(hidden, trace), or None")
    with pytest.raises(TypeError, match=message):
        PlasticRNN(I, N)(torch.zeros(T, B, I), torch.zeros(1, B, N))
    with pytest.raises(TypeError, match=message):
        PlasticRNNCell(I, N)(torch.zeros(B, I), torch.zeros(B, N))


@pytest.mark.parametrize(
    ("input", "options", "message"),
    [
        ((T, B, I), {}, "input has shape (7, 3, 4): expected (B, 4) or (4,)"),
        ((B, 5), {}, "input has shape (3, 5): expected (B, 4) or (4,)"),
        ((B, I), {"clamp": (N,)}, "clamp has shape (6,): expected (3, 6)"),
    ],
)
def test_a_wrong_shape_is_named_by_the_cell(input, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        PlasticRNNCell(I, N)(torch.zeros(input), **{name: torch.zeros(shape) for name, shape in options.items()})


def test_the_engine_asked_for_is_the_one_used():
    rnn = PlasticRNN(I, N, engine="fused", dtype=torch.float16)
    with pytest.raises(
        ValueError, match=r"engine 'fused' computes in float32 and float64 and the input is torch\.float16"
    ):
        rnn(torch.zeros(T, B, I, dtype=torch.float16))
    assert PlasticRNN(I, N, dtype=torch.float16)(torch.zeros(T, B, I, dtype=torch.float16))[0].dtype == torch.float16

import copy
import re
from itertools import pairwise

import pytest
import torch

from plastic_rl import GRUCore, LSTMCore, MemorylessCore, PlasticLSTM, PlasticRNN, RNNCore, matching_hidden_size
from plastic_rl.modules import controls
from plastic_rl.modules.controls import count_parameters

T, B, I, N = 9, 3, 4, 6  # noqa: E741
CONTROLS = pytest.mark.parametrize("Core", [RNNCore, LSTMCore, GRUCore, MemorylessCore])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def draw_state(core, batch=B):
    zeros = core.initial_state(batch)
    return type(zeros)(*map(torch.randn_like, zeros))


def assert_same(actual, expected):
    torch.testing.assert_close(actual[0], expected[0])
    torch.testing.assert_close(tuple(actual[1]), tuple(expected[1]))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_is_pytorchs(nonlinearity):
    core, input = RNNCore(I, N, nonlinearity=nonlinearity), torch.randn(T, B, I)
    state = draw_state(core)
    output, hidden = core.layer(input, state.hidden[None])
    assert_same(core(input, state), (output, [hidden[0]]))
    assert core.layer.nonlinearity == nonlinearity


def test_lstm_is_pytorchs():
    core, input = LSTMCore(I, N), torch.randn(T, B, I)
    state = draw_state(core)
    output, last = core.layer(input, (state.hidden[None], state.cell[None]))
    assert_same(core(input, state), (output, [s[0] for s in last]))


def test_gru_is_pytorchs():
    core, input = GRUCore(I, N), torch.randn(T, B, I)
    state = draw_state(core)
    output, hidden = core.layer(input, state.hidden[None])
    assert_same(core(input, state), (output, [hidden[0]]))


def gradients(core, input, state):
    output, last = core(input, state)
    weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    loss = (output * weights).sum() + sum(s.square().sum() for s in last)
    return torch.autograd.grad(loss, [input, *state, *core.parameters()])


def test_a_wide_lstm_is_pytorchs_too(monkeypatch):
    core, input = LSTMCore(I, N), torch.randn(T, B, I, requires_grad=True)
    state = tuple(s.requires_grad_() for s in draw_state(core))
    narrow = core(input, state), gradients(core, input, state)
    monkeypatch.setattr("plastic_rl.modules.controls.WIDE", 1)
    assert_same(core(input, state), narrow[0])
    torch.testing.assert_close(gradients(core, input, state), narrow[1])


def test_a_clamped_rnn_has_the_gradients_of_its_equation():
    core, clamp = RNNCore(0, N).double(), torch.randn(T, B, N, dtype=torch.double)
    clamp[torch.rand(T, B, N) < 0.6] = torch.nan

    def run(hidden, weight, bias):
        parameters = {"layer.weight_hh_l0": weight, "layer.bias_hh_l0": bias}
        empty = torch.empty(T, B, 0, dtype=torch.double)
        return torch.func.functional_call(core, parameters, (empty, (hidden,)), {"clamp": clamp})[0]

    arguments = (torch.randn(B, N, dtype=torch.double, requires_grad=True), *core.parameters())
    assert torch.autograd.gradcheck(run, arguments)


def test_the_memoryless_core_answers_to_the_present_alone():
    core, input = MemorylessCore(I, N), torch.randn(T, B, I)
    output, last = core(input, draw_state(core))
    torch.testing.assert_close(output, torch.tanh(core.layer(input)))
    changed = input.clone()
    changed[:4] += 1
    assert core(changed)[0][4:].equal(output[4:])
    assert last.hidden.equal(output[-1])


@CONTROLS
def test_no_state_is_a_state_of_zeros(Core):
    core, input = Core(I, N), torch.randn(T, B, I)
    assert_same(core(input), core(input, core.initial_state(B)))
    assert all(not s.any() and s.shape == (B, N) for s in core.initial_state(B))


@CONTROLS
def test_batch_first_is_the_transpose(Core):
    core, batch_first = Core(I, N), Core(I, N, batch_first=True)
    batch_first.load_state_dict(core.state_dict())
    input, state, starts = torch.randn(T, B, I), draw_state(core), torch.rand(T, B) < 0.2
    output, last = core(input, state, episode_start=starts)
    turned = batch_first(input.transpose(0, 1), state, episode_start=starts.transpose(0, 1))
    assert_same(turned, (output.transpose(0, 1), last))


@CONTROLS
def test_unbatched_is_a_batch_of_one(Core):
    core, input, starts = Core(I, N), torch.randn(T, I), torch.rand(T) < 0.3
    state = draw_state(core, 1)
    output, last = core(input[:, None], state, episode_start=starts[:, None])
    unbatched = core(input, type(state)(*(s[0] for s in state)), episode_start=starts)
    assert_same(unbatched, (output[:, 0], [s[0] for s in last]))


@CONTROLS
def test_episodes_in_one_sequence_are_those_run_apart(Core):
    core, input = Core(I, N), torch.randn(T, B, I)
    state = draw_state(core)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 0] = starts[3, 1] = starts[4, 1] = starts[4, 2] = starts[T - 1, 2] = True
    output, last = core(input, state, episode_start=starts)
    output.square().sum().backward()
    together = [p.grad.clone() for p in core.parameters()]

    core.zero_grad()
    outputs, states = torch.zeros(T, B, N), []
    for b in range(B):
        begins = [0, *(t for t in range(1, T) if starts[t, b]), T]
        for begin, end in pairwise(begins):
            own = None if starts[begin, b] else type(state)(*(s[b : b + 1] for s in state))
            piece, ended = core(input[begin:end, b : b + 1], own)
            outputs[begin:end, b : b + 1] = piece
        states.append(ended)
    assert_same((output, last), (outputs, [torch.cat(s) for s in zip(*states, strict=True)]))
    outputs.square().sum().backward()
    torch.testing.assert_close([p.grad for p in core.parameters()], together)


@CONTROLS
def test_a_state_carried_over_is_one_long_sequence(Core):
    core, input = Core(I, N), torch.randn(T, B, I)
    first, state = core(input[:4])
    second, last = core(input[4:], state)
    assert_same((torch.cat([first, second]), last), core(input))


@pytest.mark.parametrize("case", ["clamped", "inputless", "wide"])
def test_the_first_state_is_the_callers(monkeypatch, case):
    """What becomes of it after the forward pass is no part of the gradient."""
    if case == "wide":
        monkeypatch.setattr(controls, "WIDE", 0)
        core = LSTMCore(I, N)
    else:
        core = RNNCore(0 if case == "inputless" else I, N)
    input, state = torch.randn(T, B, core.input_size), draw_state(core)
    options = {"clamp": torch.full((T, B, N), torch.nan)} if case == "clamped" else {}
    found = []
    for changed in (False, True):
        core.zero_grad()
        given = type(state)(*(part.detach().clone() for part in state))
        output, _ = core(input, given, **options)
        if changed:
            given.hidden.mul_(0.5)
        output.sum().backward()
        found.append([p.grad.clone() for p in core.parameters() if p.grad is not None])
    for kept, after in zip(*found, strict=True):
        assert kept.equal(after)


@CONTROLS
def test_cores_are_made_of_any_dtype_and_where_they_are_wanted(Core):
    assert {p.dtype for p in Core(I, N, dtype=torch.float64).parameters()} == {torch.float64}
    assert all(p.is_meta for p in Core(I, N, device="meta").parameters())


@CONTROLS
def test_copies_compute_the_same(Core):
    core, input = Core(I, N), torch.randn(T, B, I)
    loaded = Core(I, N)
    loaded.load_state_dict(core.state_dict())
    for other in (loaded, copy.deepcopy(core)):
        assert_same(other(input), core(input))
    assert core.double()(input.double())[1][0].dtype == torch.float64


@CONTROLS
@pytest.mark.parametrize(
    ("input", "options", "message"),
    [
        ((T, B, 5), {}, "input has shape (9, 3, 5): expected (T, B, 4), or (T, 4) unbatched"),
        ((T, B, I), {"state": (1, N)}, "hidden has shape (1, 6): expected (3, 6)"),
        ((T, I), {"state": (1, N)}, "hidden has shape (1, 6): expected (6,)"),
        ((T, B, I), {"episode_start": (T - 1, B)}, "episode_start has shape (8, 3): expected (9, 3)"),
        ((T, B, I), {"episode_start": (T,)}, "episode_start has shape (9,): expected (9, 3)"),
    ],
)
def test_a_wrong_shape_is_named(Core, input, options, message):
    core = Core(I, N)
    tensors = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in options.items() if name != "state"}
    if "state" in options:
        tensors["state"] = [torch.zeros(options["state"]) for _ in core.initial_state(1)]
    with pytest.raises(ValueError, match=re.escape(message)):
        core(torch.zeros(input), **tensors)


def test_a_state_of_another_kind_is_refused():
    with pytest.raises(TypeError, match=r"state is a Tensor: expected LSTMState\(hidden, cell\), or None"):
        LSTMCore(I, N)(torch.zeros(T, B, I), torch.zeros(1, B, N))


@CONTROLS
def test_episode_starts_are_booleans(Core):
    with pytest.raises(TypeError, match=r"episode_start is torch\.float32: expected torch\.bool"):
        Core(I, N)(torch.zeros(T, B, I), episode_start=torch.zeros(T, B))


@pytest.mark.parametrize("alpha", ["connection", "neuron", "shared"])
@pytest.mark.parametrize("size", [1, 2, 7, 30])
@pytest.mark.parametrize(
    "build",
    [
        lambda n: RNNCore(5, n),
        lambda n: LSTMCore(5, n),
        lambda n: GRUCore(5, n),
        lambda n: PlasticRNN(5, n),
        lambda n: PlasticRNN(5, n, modulation="retroactive", fan_out="neuron", modulator_nonlinearity="sigmoid"),
        lambda n: PlasticLSTM(5, n, modulation="simple", forget_bias=1.0),
    ],
    ids=["rnn", "lstm", "gru", "plastic", "modulated", "plastic_lstm"],
)
def test_the_matching_size_has_the_nearest_number_of_parameters(build, size, alpha):
    core = PlasticRNN(5, size, alpha=alpha)

    def distance(n):
        return abs(count_parameters(build(n)) - count_parameters(core))

    nearest = min(range(1, 60), key=distance)
    assert distance(matching_hidden_size(core, build)) == distance(nearest)


def test_a_matching_size_of_a_core_of_its_own_kind_is_its_size():
    assert matching_hidden_size(LSTMCore(15, 65), lambda n: LSTMCore(15, n)) == 65


@pytest.mark.parametrize("core", [RNNCore(I, N), LSTMCore(I, N), MemorylessCore(I, N), PlasticRNN(I, N)])
def test_states_name_their_parts_with_one_value_per_neuron(core):
    state = core.initial_state(B)
    for name, part in state._asdict().items():
        assert (name in state.per_neuron) == (part.shape == (B, N))

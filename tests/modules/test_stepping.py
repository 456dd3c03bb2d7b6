"""Acting one step at a time against whole sequences."""

import re

import pytest
import torch

from plastic_rl import GRUCore, LSTMCore, MemorylessCore, PlasticLSTM, PlasticRNN, RNNCore
from plastic_rl.choices import RULES
from plastic_rl.ops import PlasticState
from plastic_rl.rules import Hebb

T, I, N = 9, 4, 17  # noqa: E741


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def hebbian(trace, pre, post, eta):
    """A rule of the user's own, which happens to be hebb."""
    return Hebb()(trace, pre, post, eta)


CORES = {
    **{rule: lambda rule=rule: PlasticRNN(I, N, rule=rule, eta=0.3, bound=0.3) for rule in RULES},
    "relu": lambda: PlasticRNN(I, N, nonlinearity="relu"),
    "reference": lambda: PlasticRNN(I, N, engine="reference"),
    "function": lambda: PlasticRNN(I, N, rule=hebbian),
    "simple": lambda: PlasticRNN(I, N, "clip", modulation="simple", fan_out="neuron"),
    "retroactive": lambda: PlasticRNN(I, N, "clip", eta=0.3, modulation="retroactive"),
    "plastic_lstm": lambda: PlasticLSTM(I, N, "clip", eta=0.3, modulation="retroactive"),
    "rnn": lambda: RNNCore(I, N),
    "rnn_relu": lambda: RNNCore(I, N, "relu"),
    "lstm": lambda: LSTMCore(I, N),
    "gru": lambda: GRUCore(I, N),
    "memoryless": lambda: MemorylessCore(I, N),
}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", CORES)
def test_steps_are_the_sequence(name, batch):
    core = CORES[name]().double()
    input = torch.randn(T, batch, I, dtype=torch.float64)
    first = type(core.initial_state(1))(*(torch.randn_like(s) * 0.3 for s in core.initial_state(batch)))
    kept = [s.clone() for s in first]
    starts = torch.rand(T, batch) < 0.2
    starts[4, 0] = True
    with torch.no_grad():
        expected, _ = core(input, first, episode_start=starts)

    stepper = core.stepper(first, T)
    for t in range(T):
        output = stepper.step(input[t], starts[t])
        assert not output.requires_grad
        torch.testing.assert_close(output, expected[t])
        with torch.no_grad():
            _, state = core(input[: t + 1], first, episode_start=starts[: t + 1])
        torch.testing.assert_close(tuple(stepper.state), tuple(state))
    assert all(a.equal(b) for a, b in zip(first, kept, strict=True))


@pytest.mark.parametrize("change", [None, "weights", "early"])
@pytest.mark.parametrize("name", CORES)
def test_a_replay_gives_the_gradients_of_the_sequence(name, change):
    """Also where the steps' own results cannot serve, since weights have changed or steps are left to do."""
    core = CORES[name]().double()
    input, up = torch.randn(T, 3, I, dtype=torch.float64, requires_grad=True), torch.randn(T, 3, N).double()
    first = type(core.initial_state(1))(*(torch.randn_like(s) * 0.3 for s in core.initial_state(3)))
    starts = torch.rand(T, 3) < 0.2
    done = T - 2 if change == "early" else T
    stepper = core.stepper(first, T)
    for t in range(done):
        stepper.step(input[t].detach(), starts[t])
    if change == "weights":
        with torch.no_grad():
            weights = ("w", "layer.weight_hh_l0", "layer.weight")
            next(p for name, p in core.named_parameters() if name in weights).mul_(0.5)

    def gradients(outputs):
        core.zero_grad()
        input.grad = None
        (outputs * up[:done]).sum().backward()
        return [input.grad, *(p.grad for p in core.parameters())]

    expected, _ = core(input[:done], first, episode_start=starts[:done])
    replayed = stepper.replay(input[:done])
    torch.testing.assert_close(replayed, expected)
    if change != "weights":
        torch.testing.assert_close(stepper.outputs, expected.detach())
    for ours, theirs in zip(gradients(replayed), gradients(expected), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", CORES)
def test_a_part_of_the_episodes_is_replayed_as_in_the_whole(name):
    core = CORES[name]()
    input, first = torch.randn(T, 4, I), core.initial_state(4)
    stepper = core.stepper(type(first)(*(torch.randn_like(part) * 0.3 for part in first)), T)
    starts = torch.rand(T, 4) < 0.2
    for t in range(T):
        stepper.step(input[t], starts[t])
    which = torch.tensor([3, 1])
    torch.testing.assert_close(stepper.replay(input[:, which], which), stepper.outputs[:, which])


@pytest.mark.parametrize("name", CORES)
def test_a_state_taken_along_the_way_stays_as_it_was(name):
    core = CORES[name]()
    stepper = core.stepper(core.initial_state(2), 4)
    taken = []
    for _ in range(4):
        taken.append((stepper.state, [s.clone() for s in stepper.state]))
        stepper.step(torch.randn(2, I), torch.zeros(2, dtype=torch.bool))
    for state, copies in taken:
        assert all(a.equal(b) for a, b in zip(state, copies, strict=True))


@pytest.mark.parametrize("Core", [PlasticRNN, RNNCore, LSTMCore])
def test_the_order_of_a_layers_dimensions_does_not_matter(Core):
    core, batch_first = Core(I, N), Core(I, N, batch_first=True)
    batch_first.load_state_dict(core.state_dict())
    input, starts = torch.randn(2, 3, I), torch.tensor([[False] * 3, [True, False, False]])
    steppers = [c.stepper(c.initial_state(3), 2) for c in (core, batch_first)]
    for x, start in zip(input, starts, strict=True):
        torch.testing.assert_close(*(stepper.step(x, start) for stepper in steppers))


def test_a_new_stepper_goes_on_from_the_last_ones_state():
    core, input = PlasticRNN(I, N, eta=0.3), torch.randn(8, 2, I)
    no = torch.zeros(2, dtype=torch.bool)
    expected, last = core(input)
    state, outputs = core.initial_state(2), []
    for t in range(0, 8, 4):
        stepper = core.stepper(state, 4)
        outputs += [stepper.step(x, no) for x in input[t : t + 4]]
        state = stepper.state
    torch.testing.assert_close(torch.stack(outputs), expected.detach())
    torch.testing.assert_close(state.trace, last.trace.detach())


def test_the_fused_stepper_ends_after_its_steps():
    core = PlasticRNN(I, N)
    stepper = core.stepper(core.initial_state(1), 1)
    input, no = torch.zeros(1, I), torch.zeros(1, dtype=torch.bool)
    stepper.step(input, no)
    with pytest.raises(IndexError, match="made for 1 steps, and they are done"):
        stepper.step(input, no)


def test_earlier_outputs_stay_as_they_were():
    core, no = PlasticRNN(I, N), torch.zeros(2, dtype=torch.bool)
    stepper = core.stepper(core.initial_state(2), 3)
    output = stepper.step(torch.randn(2, I), no)
    kept = output.clone()
    stepper.step(torch.randn(2, I), ~no)
    stepper.step(torch.randn(2, I), no)
    assert output.equal(kept)


@pytest.mark.parametrize("name", ["hebb", "reference", "rnn", "lstm"])
def test_misuse_is_named(name):
    core = CORES[name]()
    stepper = core.stepper(core.initial_state(3), 5)
    no = torch.zeros(3, dtype=torch.bool)
    for shape in ((1, I), (3, I + 1)):
        with pytest.raises(ValueError, match=rf"input has shape {re.escape(str(shape))}: expected \(3, 4\)"):
            stepper.step(torch.zeros(shape), no)
    with pytest.raises(ValueError, match=r"episode_start has shape \(1,\): expected \(3,\)"):
        stepper.step(torch.zeros(3, I), no[:1])
    with pytest.raises(TypeError, match=r"episode_start is torch\.float32: expected torch\.bool"):
        stepper.step(torch.zeros(3, I), no.float())


@pytest.mark.parametrize("name", ["hebb", "reference", "rnn", "lstm"])
def test_starts_of_episodes_are_the_callers(name):
    core, input, starts = CORES[name](), torch.randn(T, 2, I), torch.zeros(2, dtype=torch.bool)
    stepper = core.stepper(core.initial_state(2), T)
    for t in range(T):
        stepper.step(input[t], starts.fill_(t == 2))  # the same tensor, filled again and again
    torch.testing.assert_close(stepper.replay(input), stepper.outputs)


def test_steps_are_taken_in_inference_mode():
    core, input, starts = CORES["hebb"](), torch.randn(T, 2, I), torch.zeros(2, dtype=torch.bool)
    with torch.inference_mode():
        stepper = core.stepper(core.initial_state(2), T)
        outputs = torch.stack([stepper.step(now, starts) for now in input])
        assert not stepper._fused.can_replay
    torch.testing.assert_close(outputs, core(input)[0].detach())


def test_a_state_that_does_not_fit_is_refused():
    core = PlasticRNN(I, N)
    with pytest.raises(ValueError, match="steps is 0: expected a whole number of at least 1"):
        core.stepper(core.initial_state(2), 0)
    assert core.stepper((torch.zeros(2, N), torch.zeros(2, N, N)), 3).state.hidden.shape == (2, N)
    with pytest.raises(ValueError, match=r"trace has shape \(2, 17, 17\): expected \(3, 17, 17\)"):
        core.stepper(PlasticState(torch.zeros(3, N), torch.zeros(2, N, N)), 5)

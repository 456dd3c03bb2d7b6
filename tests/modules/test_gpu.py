"""Layers on a GPU against the same layers on the CPU: outputs, states, and every gradient."""

import copy

import pytest
import torch

from plastic_rl import PlasticLinear, PlasticRNN
from plastic_rl.choices import RULES

from .test_stepping import CORES as STEPPED
from .test_stepping import I, N, T

pytestmark = pytest.mark.gpu

B = 3
CORES = STEPPED | {"shared": lambda: PlasticRNN(I, N, alpha="shared", eta=0.3)}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def results_of(layer, inputs, device, **options):
    """Outputs, last states, and gradients of the inputs and parameters, in float64."""
    layer = copy.deepcopy(layer).to(device, torch.float64)
    leaves = [x.to(device, torch.float64).requires_grad_() for x in inputs]
    output, state = layer(*leaves, **{name: x.to(device) for name, x in options.items()})
    states = [state] if torch.is_tensor(state) else list(state)
    loss = sum((x * torch.linspace(-1, 1, x.numel()).to(x).view_as(x)).sum() for x in (output, *states))
    gradients = torch.autograd.grad(loss, [*leaves, *layer.parameters()], allow_unused=True)
    assert all(x.device.type == device for x in (output, *states))
    return [None if x is None else x.detach().cpu() for x in (output, *states, *gradients)]


@pytest.mark.parametrize("options", [(), ("episode_start",), ("clamp",), ("episode_start", "clamp")], ids=str)
@pytest.mark.parametrize("name", CORES)
def test_cores(name, options):
    given = {"episode_start": torch.rand(T, B) < 0.3}
    given["clamp"] = torch.where(torch.rand(T, B, N) < 0.3, 1.0, torch.nan).double()
    if "clamp" in options and name in ("lstm", "memoryless"):
        pytest.skip("its neurons cannot be clamped")
    core, input = CORES[name](), torch.randn(T, B, I)
    given = {option: given[option] for option in options}
    torch.testing.assert_close(*(results_of(core, [input], device, **given) for device in ("cuda", "cpu")))


@pytest.mark.parametrize("alpha", ["connection", "neuron", "shared"])
@pytest.mark.parametrize("rule", RULES)
def test_a_plastic_output_layer(rule, alpha):
    layer, input = PlasticLinear(I, N, rule=rule, alpha=alpha, eta=0.3), torch.randn(T, B, I)
    clamp = torch.where(torch.rand(T, B, N) < 0.5, 1.0, torch.nan).double()
    torch.testing.assert_close(*(results_of(layer, [input], device, clamp=clamp) for device in ("cuda", "cpu")))


@pytest.mark.parametrize("name", CORES)
def test_acting_and_replay(name):
    core, input = CORES[name]().to("cuda", torch.float64), torch.randn(T, B, I, device="cuda", dtype=torch.float64)
    starts = torch.rand(T, B, device="cuda") < 0.3
    expected, _ = core(input, episode_start=starts)
    stepper = core.stepper(core.initial_state(B), T)
    acted = torch.stack([stepper.step(x, start) for x, start in zip(input, starts, strict=True)])
    torch.testing.assert_close(acted, expected.detach())
    weights = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad((outputs * weights).sum(), list(core.parameters()))
        for outputs in (stepper.replay(input), expected)
    ]
    torch.testing.assert_close(*gradients)


def test_half_the_precision_under_autocast():
    rnn, input = PlasticRNN(I, N).cuda(), torch.randn(T, B, I, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        output, state = rnn(input)
        output.float().sum().backward()
    expected, _ = rnn(input)
    torch.testing.assert_close(output.float(), expected, rtol=0, atol=0.05)
    assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in rnn.parameters())
    assert state.trace.isfinite().all()


def test_a_layer_moves_there_and_back():
    rnn, input = PlasticRNN(I, N), torch.randn(T, B, I)
    expected = rnn(input)[0]
    assert rnn.cuda()(input.cuda())[0].device.type == "cuda"
    assert rnn.cpu()(input)[0].equal(expected)
    with pytest.raises((TypeError, RuntimeError), match="device"):
        rnn.cuda()(input)

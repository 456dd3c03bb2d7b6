"""The networks of the completion tasks against the equations, written out in NumPy."""

import numpy as np
import pytest
import torch

from plastic_rl.modules.controls import count_parameters
from plastic_rl.tasks import CoreSettings, PatternCompletion
from plastic_rl.tasks.networks import completion_network

ITEMS, T, B = 4, 7, 3


@pytest.fixture
def shown():
    """Steps with all items shown, some, and none."""
    generator = torch.Generator().manual_seed(5)
    bits = torch.randint(2, (T, B, ITEMS), generator=generator) * 2.0 - 1
    bits[2] = torch.nan
    bits[4:, :, :2] = torch.nan
    return bits


def network(drive="clamp", **settings):
    torch.manual_seed(1)
    return completion_network(CoreSettings(**settings), ITEMS, drive)


def by_hand(net, shown, step):
    """A lifetime, one episode and one step at a time; ``step(x, trace)`` is the net input from the neurons."""
    size = net.core.hidden_size
    outputs = np.zeros((T, B, size))
    for b in range(B):
        x, trace = np.zeros(size), np.zeros((size, size))
        for t in range(T):
            x, trace = step(x, trace, shown[t, b].double().numpy())
            outputs[t, b] = x
    return outputs[..., :ITEMS]


@pytest.mark.parametrize("size", [None, ITEMS + 3])
@pytest.mark.parametrize("drive", ["clamp", "add"])
def test_a_plastic_network_is_equations_1_and_2(shown, drive, size):
    net = network(drive, hidden_size=size, eta=0.2, init_scale=0.5)
    w, alpha = (parameter.detach().double().numpy() for parameter in (net.core.w, net.core.alpha))
    assert len(w) == (size or ITEMS + 1)

    def step(x, trace, items):
        given = np.full(len(w), np.nan)
        given[:ITEMS] = items
        given[ITEMS] = 1.0
        u = x @ (w + alpha * trace)
        added, clamped = np.tanh(u + 20 * np.nan_to_num(given)), np.where(np.isnan(given), np.tanh(u), given)
        new = added if drive == "add" else clamped
        return new, 0.8 * trace + 0.2 * np.outer(x, new)

    output = net(shown)
    assert output.shape == (T, B, ITEMS)
    np.testing.assert_allclose(output.detach(), by_hand(net, shown, step), atol=1e-5)
    where = ~shown.isnan()
    torch.testing.assert_close(output[where], shown[where])


def test_a_clamped_rnn_is_tanh(shown):
    net = network(core="rnn", init_scale=0.5)
    w = net.core.layer.weight_hh_l0.detach().double().numpy()
    bias = net.core.layer.bias_hh_l0.detach().double().numpy()

    def step(x, trace, items):
        given = np.append(items, 1.0)
        return np.where(np.isnan(given), np.tanh(w @ x + bias), given), trace

    np.testing.assert_allclose(net(shown).detach(), by_hand(net, shown, step), atol=1e-5)


@pytest.mark.parametrize("core", ["plastic_lstm", "lstm", "gru"])
def test_a_core_with_gates_reads_zeros_where_nothing_is_shown(shown, core):
    net = network(core=core, hidden_size=3)
    output, _ = getattr(net.core, "layer", net.core)(shown.nan_to_num(0.0))
    torch.testing.assert_close(net(shown), net.readout(output))


@pytest.mark.parametrize(
    ("settings", "drive"),
    [
        ({"core": "rnn"}, "clamp"),
        ({"core": "lstm"}, "clamp"),
        ({"core": "gru"}, "clamp"),
        ({"core": "plastic_lstm", "eta": 0.1}, "clamp"),
        ({"eta": 0.1}, "clamp"),
        ({"eta": 0.1}, "add"),
        ({"eta": 0.1, "alpha": "shared"}, "clamp"),
    ],
)
def test_every_parameter_that_is_trained_has_a_gradient(shown, settings, drive):
    net = network(drive, **settings)
    net(shown).square().sum().backward()
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert trained
    for name, parameter in trained.items():
        assert parameter.grad.abs().sum() > 0, name


def test_an_added_input_is_not_trained():
    net = network("add")
    assert not any(p.requires_grad for p in net.core.encode.parameters())
    assert torch.equal(net.core.encode.weight, 20 * torch.eye(ITEMS + 1))


def test_the_paper_s_number_of_parameters():
    settings = CoreSettings(learn_eta=False)
    assert count_parameters(PatternCompletion().network(settings)) == 2_004_002
    assert count_parameters(completion_network(settings, 1024)) == 2_101_250


@pytest.mark.parametrize("core", ["plastic", "rnn"])
def test_the_scale_of_new_weights(core):
    core = completion_network(CoreSettings(core=core, init_scale=0.01), 200).core
    drawn = [core.w, core.alpha] if hasattr(core, "alpha") else [core.layer.weight_hh_l0]
    for weight in drawn:
        assert weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert abs(weight.mean().item()) < 0.001


@pytest.mark.parametrize("alpha", ["connection", "neuron", "shared"])
def test_plasticity_may_begin_above_zero(alpha):
    core = completion_network(CoreSettings(alpha=alpha, init_scale=0.0, init_alpha=0.2), 200).core
    assert (core.alpha == 0.2).all()
    assert (core.w == 0).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"core": "esn"}, "unknown core 'esn': expected one of plastic, plastic_lstm, rnn, lstm"),
        ({"hidden_size": 0}, "hidden_size is 0: expected a whole number of at least 1"),
        ({"init_scale": -1.0}, "init_scale is -1.0: expected at least 0"),
        ({"init_scale": float("nan")}, "init_scale is nan"),
        ({"hidden_size": ITEMS}, "hidden_size is 4: expected at least 5 for this task"),
        ({"core": "rnn", "hidden_size": ITEMS}, "hidden_size is 4: expected at least 5 for this task"),
        ({"core": "memoryless"}, "a core memoryless cannot complete items: expected one of plastic, plastic_lstm, rnn"),
        ({"core": "fixed"}, "a core fixed cannot complete items: expected one of plastic, plastic_lstm, rnn"),
        ({"core": "rnn", "drive": "add"}, "a core rnn cannot be driven by 'add': expected 'clamp'"),
        ({"core": "gru", "drive": "add"}, "a core gru cannot be driven by 'add': expected 'clamp'"),
        ({"core": "lstm", "drive": "add"}, "a core lstm cannot be driven by 'add': expected 'clamp'"),
        ({"drive": "push"}, "unknown drive 'push': expected one of clamp, add"),
    ],
)
def test_a_network_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        network(**settings)


def test_a_core_without_a_size_cannot_be_built():
    with pytest.raises(ValueError, match="hidden_size is None"):
        CoreSettings().build(3)
    assert CoreSettings().sized(7).hidden_size == 7
    assert CoreSettings(hidden_size=9).sized(7).hidden_size == 9

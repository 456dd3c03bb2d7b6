import pytest
import torch

from plastic_rl import PlasticRNN, RNNCore
from plastic_rl.choices import ABLATIONS
from plastic_rl.modules.ablation import ablated, plastic_layers


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.ModuleDict(
        {"first": PlasticRNN(3, 5, eta=0.3), "second": PlasticRNN(5, 4, eta=0.2, learn_eta=False)}
    )


def run(network, input):
    with torch.no_grad():
        return network["second"](network["first"](input)[0])


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_without_its_plasticity_a_network_is_its_fixed_weights(network, ablation):
    input = torch.randn(6, 2, 3)
    before, kept = run(network, input), {name: value.clone() for name, value in network.state_dict().items()}
    with ablated(network, ablation):
        output, state = run(network, input)
        x = torch.zeros(2, 5)
        layer, expected = network["first"], []
        for step in layer.encode(input):
            x = torch.tanh(step + x @ layer.w)
            expected.append(x)
        torch.testing.assert_close(layer(input)[0], torch.stack(expected))
        assert (state.trace == 0).all() == (ablation == "trace_zero")
    assert not torch.allclose(output, before[0])
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    assert torch.equal(run(network, input)[0], before[0])


def test_plasticity_comes_back_after_an_error(network):
    kept = network["first"].alpha.clone()
    with pytest.raises(KeyError), ablated(network, "alpha_zero"):
        raise KeyError
    assert torch.equal(network["first"].alpha, kept)


def test_plastic_layers_are_found_and_others_not(network):
    assert plastic_layers(network) == [network["first"], network["second"]]
    assert plastic_layers(torch.nn.Sequential(RNNCore(2, 3), torch.nn.Linear(2, 2))) == []


def test_what_cannot_be_taken_away(network):
    with pytest.raises(ValueError, match="unknown ablation 'w_zero': expected one of trace_zero, alpha_zero"):
        ablated(network, "w_zero").__enter__()
    with pytest.raises(ValueError, match="no plastic layer"):
        ablated(RNNCore(2, 3), "trace_zero").__enter__()

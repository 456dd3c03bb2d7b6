import pytest
import torch

from plastic_rl import PlasticLSTM, PlasticRNN, RNNCore
from plastic_rl.choices import ABLATIONS
from plastic_rl.modules.ablation import ablated, ablations_of, plastic_layers


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.ModuleDict(
        {"first": PlasticRNN(3, 5, eta=0.3), "second": PlasticRNN(5, 4, eta=0.2, learn_eta=False)}
    )


def run(network, input):
    with torch.no_grad():
        return network["second"](network["first"](input)[0])


@pytest.mark.parametrize("ablation", ["trace_zero", "alpha_zero"])
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


@pytest.mark.parametrize("Layer", [PlasticRNN, PlasticLSTM])
@pytest.mark.parametrize("nonlinearity", ["tanh", "sigmoid"])
@pytest.mark.parametrize("fan_out", ["none", "neuron"])
@pytest.mark.parametrize("modulation", ["simple", "retroactive"])
def test_what_is_taken_from_a_modulated_layer(Layer, modulation, fan_out, nonlinearity):
    torch.manual_seed(0)
    layer = Layer(
        3, 5, "clip", eta=0.3, modulation=modulation, fan_out=fan_out, modulator_nonlinearity=nonlinearity,
        engine="reference",
    )  # fmt: skip
    if fan_out == "neuron":
        torch.nn.init.constant_(layer.modulator.offset, 0.2)
    input, kept = torch.randn(6, 2, 3), {name: part.clone() for name, part in layer.state_dict().items()}
    normal, found = layer(input), {}
    names = ablations_of(torch.nn.Sequential(layer))
    assert names == [name for name in ABLATIONS if name != "eligibility_zero" or modulation == "retroactive"]
    for name in names:
        with ablated(layer, name):
            found[name] = layer(input)
        assert all(part.equal(kept[one]) for one, part in layer.state_dict().items())
        assert layer(input)[0].equal(normal[0])
    torch.testing.assert_close(found["trace_zero"][0], found["alpha_zero"][0])
    assert not torch.allclose(found["trace_zero"][0], normal[0])
    assert not found["trace_zero"][1].trace.any()
    assert found["alpha_zero"][1].trace.any()
    assert found["modulation_zero"][1].trace.any() == (fan_out == "neuron")
    if modulation == "retroactive":
        assert not found["eligibility_zero"][1].eligibility.any()
        assert not found["eligibility_zero"][1].trace.any()
        assert found["trace_zero"][1].eligibility.any()


def test_a_signal_that_was_given_comes_back():
    layer = PlasticRNN(3, 5, "clip", modulation="simple")
    with layer.modulator.given(0.7):
        with ablated(layer, "modulation_zero"):
            assert layer.modulator.signal == 0.0
        assert layer.modulator.signal.item() == pytest.approx(0.7)


def test_plasticity_comes_back_after_an_error(network):
    kept = network["first"].alpha.clone()
    with pytest.raises(KeyError), ablated(network, "alpha_zero"):
        raise KeyError
    assert torch.equal(network["first"].alpha, kept)


def test_plastic_layers_are_found_and_others_not(network):
    assert plastic_layers(network) == [network["first"], network["second"]]
    assert plastic_layers(torch.nn.Sequential(RNNCore(2, 3), torch.nn.Linear(2, 2))) == []
    assert ablations_of(network) == ["trace_zero", "alpha_zero"]
    assert ablations_of(RNNCore(2, 3)) == []


def test_what_cannot_be_taken_away(network):
    with pytest.raises(ValueError, match="unknown ablation 'w_zero': expected one of trace_zero, alpha_zero, mod"):
        ablated(network, "w_zero").__enter__()
    with pytest.raises(ValueError, match="no plastic layer"):
        ablated(RNNCore(2, 3), "trace_zero").__enter__()
    with pytest.raises(ValueError, match="no modulated layer: there is nothing to remove"):
        ablated(network, "modulation_zero").__enter__()
    with pytest.raises(ValueError, match="no retroactive layer: there is nothing to remove"):
        ablated(PlasticRNN(2, 3, modulation="simple"), "eligibility_zero").__enter__()

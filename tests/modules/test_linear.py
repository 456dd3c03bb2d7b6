"""PlasticLinear against the paper's equations written out, every gradient, and its parameters and mistakes."""

import itertools

import numpy as np
import pytest
import torch

from plastic_rl import PlasticLinear
from plastic_rl.choices import RULES
from plastic_rl.modules.ablation import ablated, plastic_layers
from plastic_rl.modules.controls import count_parameters

T, B, IN, OUT, Q = 6, 3, 4, 5, 2
NAMES = ("w", "alpha", "eta")


def layer_of(**settings):
    torch.manual_seed(2)
    layer = PlasticLinear(IN, OUT, **{"eta": 0.3, "dtype": torch.float64} | settings)
    with torch.no_grad():
        layer.alpha.normal_()
    return layer


def drawn(clamped="some"):
    """Inputs, queries, an initial trace, and clamps: of no output, of some steps and single outputs, of all."""
    generator = torch.Generator().manual_seed(4)
    inputs, queries, trace, clamp = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((T, B, IN), (Q, B, IN), (B, IN, OUT), (T, B, OUT))
    )
    if clamped == "none":
        return inputs, queries, trace, None
    if clamped == "some":
        clamp[1] = torch.nan
        clamp[3, :, :2] = torch.nan
        clamp[4, 1] = torch.nan
    return inputs, queries, trace, clamp


def by_hand(parameters, inputs, queries, trace, clamp, rule, activation):
    """The equations, one episode and one connection's formula at a time, in plain PyTorch operations."""
    w, alpha, eta = parameters
    f = {"softmax": lambda u: u.exp() / u.exp().sum(), "tanh": torch.tanh, "identity": lambda u: u}[activation]
    outputs, answers, traces = [], [], []
    for b in range(inputs.shape[1]):
        hebb, found = trace[b], []
        for t in range(len(inputs)):
            x = inputs[t, b]
            y = f(sum(x[i] * (w + alpha * hebb)[i] for i in range(IN)))
            if clamp is not None:
                y = torch.stack([y[j] if clamp[t, b, j].isnan() else clamp[t, b, j] for j in range(OUT)])
            product = torch.outer(x, y)
            if rule == "hebb":
                hebb = hebb - eta * hebb + eta * product
            elif rule == "oja":
                hebb = hebb + eta * product - eta * (y * y) * hebb
            elif rule == "clip":
                hebb = torch.clip(hebb + eta * product, -1, 1)
            else:
                change = eta * product
                hebb = hebb + change.clip(0) * (1 - hebb) + change.clip(max=0) * (1 + hebb)
            found.append(y)
        outputs.append(torch.stack(found))
        answers.append(torch.stack([query[b] @ (w + alpha * hebb) for query in queries]))
        traces.append(hebb)
    return torch.stack(outputs, 1), torch.stack(traces), torch.stack(answers, 1)


@pytest.mark.parametrize("alpha", ["connection", "neuron", "shared"])
@pytest.mark.parametrize(
    ("rule", "activation", "clamped"),
    list(itertools.product(RULES, ["softmax", "tanh", "identity"], ["none", "some", "all"])),
)
def test_outputs_and_every_gradient_are_those_of_the_equations(rule, activation, clamped, alpha):
    layer = layer_of(rule=rule, activation=activation, alpha=alpha)
    inputs, queries, trace, clamp = drawn(clamped)
    inputs, trace = 0.3 * inputs, 0.3 * trace  # without a squashing activation outputs grow
    results = []
    for run in ("layer", "by hand"):
        leaves = [x.detach().clone().requires_grad_() for x in (inputs, queries, trace)]
        parameters = [getattr(layer, name).detach().clone().requires_grad_() for name in NAMES]
        if run == "layer":
            parameters = [getattr(layer, name) for name in NAMES]
            output, final = layer(leaves[0], leaves[2], clamp=clamp)
            found = (output, final, layer.net_input(leaves[1], final))
        else:
            found = by_hand(parameters, leaves[0], leaves[1], leaves[2], clamp, rule, activation)
        generator = torch.Generator().manual_seed(9)
        upstream = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in found]
        # Outputs that are all clamped depend on nothing.
        of, up = zip(*((x, g) for x, g in zip(found, upstream, strict=True) if x.requires_grad), strict=True)
        gradients = torch.autograd.grad(of, [*parameters, *leaves], up)
        results.append((*found, *gradients))
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_gradcheck(rule):
    layer = layer_of(rule=rule)
    inputs, queries, trace, clamp = drawn()
    trace = 0.3 * trace

    def run(w, alpha, eta, inputs, queries, trace):
        parameters = {"w": w, "alpha": alpha, "eta": eta}
        output, final = torch.func.functional_call(layer, parameters, (inputs, trace), {"clamp": clamp})
        answers = torch.einsum("qbi,bio->qbo", queries, w + alpha * final)
        return output, final, answers

    leaves = [getattr(layer, name).detach().clone() for name in NAMES] + [0.3 * inputs, queries, trace]
    assert torch.autograd.gradcheck(run, [leaf.requires_grad_() for leaf in leaves])


def test_the_trace_begins_at_zero_and_queries_leave_it_alone():
    layer = layer_of()
    inputs, queries, _, clamp = drawn("all")
    output, trace = layer(inputs, clamp=clamp)
    assert torch.equal(output, clamp)
    again = layer(inputs, torch.zeros(B, IN, OUT, dtype=torch.float64), clamp=clamp)[1]
    assert torch.equal(trace, again)
    kept = trace.clone()
    answers = layer.net_input(queries, trace)
    assert torch.equal(trace, kept)
    for query, answer in zip(queries, answers, strict=True):
        torch.testing.assert_close(layer.net_input(query[None], trace)[0], answer)
        # A query is what a step without a clamp answers.
        torch.testing.assert_close(layer(query[None], trace)[0][0], answer.softmax(-1))


def test_a_sequence_in_two_parts_is_the_sequence_in_one():
    layer = layer_of()
    inputs, _, trace, clamp = drawn()
    whole, final = layer(inputs, trace, clamp=clamp)
    first, between = layer(inputs[:2], trace, clamp=clamp[:2])
    second, end = layer(inputs[2:], between, clamp=clamp[2:])
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, final)
    nothing, same = layer(inputs[:0], trace)
    assert nothing.shape == (0, B, OUT)
    assert torch.equal(same, trace)


def test_episodes_do_not_mix():
    layer = layer_of()
    inputs, _, trace, clamp = drawn()
    output, _ = layer(inputs, trace, clamp=clamp)
    for b in range(B):
        alone, _ = layer(inputs[:, b : b + 1], trace[b : b + 1], clamp=clamp[:, b : b + 1])
        torch.testing.assert_close(alone[:, 0], output[:, b])


def test_one_shot_recall():
    """By Oja's rule a connection to a clamped output keeps what it was shown: a query like it excites that output."""
    layer = PlasticLinear(8, 4, alpha="shared", eta=0.5)
    with torch.no_grad():
        layer.w.zero_()
    features = torch.eye(8)[:4, None]
    _, trace = layer(features, clamp=torch.eye(4)[:, None])
    np.testing.assert_allclose(trace[0, :4].detach(), 0.5 * np.eye(4))
    assert layer.net_input(features, trace)[:, 0].argmax(-1).tolist() == [0, 1, 2, 3]


def test_a_rule_of_one_s_own():
    layer = layer_of(rule=lambda trace, pre, post, eta: trace + 1)
    inputs, _, trace, _ = drawn()
    torch.testing.assert_close(layer(inputs, trace)[1], trace + T)


class Scaled(torch.nn.Module):
    """A rule that is trained."""

    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.ones(()))

    def forward(self, trace, pre, post, eta):
        return trace + self.k * eta * pre.unsqueeze(-1) * post.unsqueeze(-2)


def test_a_rule_that_is_trained_is_kept_once():
    layer = layer_of(rule=Scaled())
    assert {name for name in layer.state_dict() if "rule" in name} == {"rule.k"}
    inputs, _, trace, _ = drawn()
    layer(inputs, trace)[1].sum().backward()
    assert layer.rule.k.grad != 0


def test_labels_may_be_of_any_dtype():
    layer = PlasticLinear(IN, OUT)
    inputs, labels = torch.randn(OUT, 1, IN), torch.eye(OUT)[:, None]
    for dtype in (torch.float64, torch.int64):
        outputs, trace = layer(inputs, clamp=labels.to(dtype))
        assert outputs.dtype == trace.dtype == torch.float32
        assert trace.equal(layer(inputs, clamp=labels)[1])


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 2 * IN * OUT + 1), ({"alpha": "neuron"}, IN * OUT + OUT + 1), ({"alpha": "shared"}, IN * OUT + 2),
     ({"alpha": "shared", "learn_eta": False}, IN * OUT + 1)],
)  # fmt: skip
def test_parameters(settings, count):
    layer = PlasticLinear(IN, OUT, **settings)
    assert count_parameters(layer) == count
    assert (layer.alpha > 0).all()
    assert set(layer.state_dict()) == {"w", "alpha", "eta"}


def test_it_is_found_and_ablated_as_the_recurrent_layers_are():
    network = torch.nn.Sequential(torch.nn.Linear(3, IN), PlasticLinear(IN, OUT))
    layer = network[1]
    assert plastic_layers(network) == [layer]
    inputs, queries, _, clamp = (None if x is None else x.float() for x in drawn("all"))
    fixed = queries @ layer.w
    assert not torch.allclose(layer.net_input(queries, layer(inputs, clamp=clamp)[1]), fixed)
    for ablation in ("trace_zero", "alpha_zero"):
        with ablated(network, ablation):
            torch.testing.assert_close(layer.net_input(queries, layer(inputs, clamp=clamp)[1]), fixed)


def test_eta_is_kept_within_bounds():
    layer = PlasticLinear(IN, OUT, eta=0.5)
    for value, kept in ((1.5, 1.0), (-1.0, 0.0), (0.25, 0.25)):
        with torch.no_grad():
            layer.eta.fill_(value)
        layer.constrain_()
        assert layer.eta.item() == kept


def test_repr():
    text = repr(PlasticLinear(IN, OUT, rule="clip", alpha="shared", activation="tanh", bound=0.5, learn_eta=False))
    assert "4, 5, activation=tanh, rule=clip, alpha=shared, learn_eta=False, bound=0.5" in text


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rule": "nonsense"}, "unknown rule 'nonsense'"),
        ({"alpha": "nonsense"}, "unknown alpha 'nonsense': expected one of connection, neuron, shared"),
        ({"activation": "relu"}, "unknown activation 'relu': expected one of softmax, tanh, identity"),
        ({"rule": "clip", "bound": -1.0}, "bound is -1.0"),
        ({"in_features": 0}, "in_features is 0: expected a whole number of at least 1"),
        ({"out_features": 0}, "out_features is 0: expected a whole number of at least 1"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        PlasticLinear(**{"in_features": IN, "out_features": OUT} | settings)


def test_shapes_that_do_not_fit():
    layer, x = PlasticLinear(IN, OUT), torch.zeros(T, B, IN)
    for arguments, says in [
        ((x[0],), r"input has shape \(3, 4\): expected \(T, B, 4\)"),
        ((x[..., :2],), r"input has shape \(6, 3, 2\)"),
        ((x, torch.zeros(B, OUT, IN)), r"trace has shape \(3, 5, 4\): expected \(3, 4, 5\)"),
    ]:
        with pytest.raises(ValueError, match=says):
            layer(*arguments)
    with pytest.raises(ValueError, match=r"clamp has shape \(6, 3, 4\): expected \(6, 3, 5\)"):
        layer(x, clamp=x)
    with pytest.raises(ValueError, match=r"input has shape \(2, 2, 4\): expected \(2, 3, 4\)"):
        layer.net_input(torch.zeros(2, 2, IN), torch.zeros(B, IN, OUT))

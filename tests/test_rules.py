from functools import partial

import pytest
import torch

from plastic_rl.rules import RULE_NAMES, clip, get_rule, hebb, oja


def one(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "trace", "pre", "post", "eta", "expected"),
    [
        (hebb, 0.5, 2.0, 3.0, 0.1, 0.9 * 0.5 + 0.1 * 6),
        (hebb, 0.5, 2.0, -3.0, 0.1, 0.9 * 0.5 - 0.1 * 6),
        (hebb, 0.5, 0.0, 3.0, 0.1, 0.45),
        (hebb, 0.5, 2.0, 3.0, 0.0, 0.5),
        (hebb, 0.5, 2.0, 3.0, 1.0, 6.0),
        (oja, 0.5, 2.0, 3.0, 0.1, 0.5 + 0.1 * 3 * (2 - 3 * 0.5)),
        (oja, 0.5, 2.0, -3.0, 0.1, 0.5 - 0.1 * 3 * (2 + 3 * 0.5)),
        (oja, 0.5, 2.0, 0.0, 0.1, 0.5),
        (oja, 2.0 / 3.0, 2.0, 3.0, 0.1, 2.0 / 3.0),
        (clip, 0.25, 2.0, 3.0, 0.1, 0.25 + 0.6),
        (clip, 0.5, 2.0, 3.0, 0.1, 1.0),
        (clip, -0.5, 2.0, -3.0, 0.1, -1.0),
        (partial(clip, bound=2.0), 0.5, 2.0, 3.0, 0.1, 1.1),
        (partial(clip, bound=0.3), 0.2, 2.0, -3.0, 0.1, -0.3),
    ],
)
def test_one_connection(rule, trace, pre, post, eta, expected):
    result = rule(one(trace)[None], one(pre), one(post), eta)
    assert result.item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", RULE_NAMES)
def test_the_first_index_is_pre_and_the_second_post(name):
    trace = get_rule(name)(torch.zeros(2, 3), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0, 2.0]), 0.25)
    assert trace.tolist() == [[0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("name", RULE_NAMES)
def test_leading_dimensions_are_a_batch(name):
    rule = get_rule(name)
    trace, pre, post = torch.randn(4, 5, 2, 3), torch.randn(4, 5, 2), torch.randn(4, 5, 3)
    together = rule(trace, pre, post, 0.1)
    for i in range(4):
        for j in range(5):
            torch.testing.assert_close(together[i, j], rule(trace[i, j], pre[i, j], post[i, j], 0.1))


@pytest.mark.parametrize("name", RULE_NAMES)
def test_eta_may_be_a_tensor_that_learns(name):
    eta = torch.tensor(0.1, requires_grad=True)
    trace, pre, post = torch.full((1, 1), 0.25), torch.tensor([2.0]), torch.tensor([3.0])
    get_rule(name)(trace, pre, post, eta).backward()
    expected = {"hebb": 6 - 0.25, "oja": 3 * (2 - 0.75), "clip": 6.0}
    assert eta.grad.item() == pytest.approx(expected[name])


def test_nothing_flows_through_a_clipped_trace():
    trace = torch.tensor([[0.25, 0.9]], requires_grad=True)
    clip(trace, torch.tensor([2.0]), torch.tensor([3.0, 3.0]), 0.1).sum().backward()
    assert trace.grad.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("name", RULE_NAMES)
def test_arguments_are_left_alone(name):
    arguments = torch.randn(2, 2), torch.randn(2), torch.randn(2)
    copies = [a.clone() for a in arguments]
    get_rule(name)(*arguments, 0.1)
    for argument, copy in zip(arguments, copies, strict=True):
        assert argument.equal(copy)


def test_rules_are_found_by_name():
    assert get_rule("hebb") is hebb
    assert get_rule("oja") is oja
    clipped = get_rule("clip", bound=0.5)(torch.zeros(1, 1), torch.tensor([9.0]), torch.tensor([9.0]), 1.0)
    assert clipped.item() == 0.5


def test_a_function_is_its_own_rule():
    def mine(trace, pre, post, eta):
        return trace

    assert get_rule(mine) is mine


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown rule 'hebbian': expected one of hebb, oja, clip, or a function"):
        get_rule("hebbian")

import pytest
import torch

from plastic_rl.choices import RULES
from plastic_rl.rules import BUILT_IN, Clip, Hebb, Oja, Rule, SoftClip, get_rule, step_traces


def one(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "trace", "pre", "post", "eta", "expected"),
    [
        (Hebb(), 0.5, 2.0, 3.0, 0.1, 0.9 * 0.5 + 0.1 * 6),
        (Hebb(), 0.5, 2.0, -3.0, 0.1, 0.9 * 0.5 - 0.1 * 6),
        (Hebb(), 0.5, 0.0, 3.0, 0.1, 0.45),
        (Hebb(), 0.5, 2.0, 3.0, 0.0, 0.5),
        (Hebb(), 0.5, 2.0, 3.0, 1.0, 6.0),
        (Oja(), 0.5, 2.0, 3.0, 0.1, 0.5 + 0.1 * 3 * (2 - 3 * 0.5)),
        (Oja(), 0.5, 2.0, -3.0, 0.1, 0.5 - 0.1 * 3 * (2 + 3 * 0.5)),
        (Oja(), 0.5, 2.0, 0.0, 0.1, 0.5),
        (Oja(), 2.0 / 3.0, 2.0, 3.0, 0.1, 2.0 / 3.0),
        (Clip(), 0.25, 2.0, 3.0, 0.1, 0.25 + 0.6),
        (Clip(), 0.5, 2.0, 3.0, 0.1, 1.0),
        (Clip(), -0.5, 2.0, -3.0, 0.1, -1.0),
        (Clip(bound=2.0), 0.5, 2.0, 3.0, 0.1, 1.1),
        (Clip(0.3), 0.2, 2.0, -3.0, 0.1, -0.3),
        (SoftClip(), 0.25, 2.0, 3.0, 0.1, 0.25 + 0.6 * 0.75),
        (SoftClip(), 0.25, 2.0, -3.0, 0.1, 0.25 - 0.6 * 1.25),
        (SoftClip(), -1.0, 2.0, -3.0, 0.1, -1.0),
    ],
)
def test_one_connection(rule, trace, pre, post, eta, expected):
    result = rule(one(trace)[None], one(pre), one(post), eta)
    assert result.item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", RULES)
def test_the_first_index_is_pre_and_the_second_post(name):
    trace = get_rule(name)(torch.zeros(2, 3), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0, 2.0]), 0.25)
    assert trace.tolist() == [[0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("name", RULES)
def test_leading_dimensions_are_a_batch(name):
    rule = get_rule(name)
    trace, pre, post = torch.randn(4, 5, 2, 3), torch.randn(4, 5, 2), torch.randn(4, 5, 3)
    together = rule(trace, pre, post, 0.1)
    for i in range(4):
        for j in range(5):
            torch.testing.assert_close(together[i, j], rule(trace[i, j], pre[i, j], post[i, j], 0.1))


@pytest.mark.parametrize("name", RULES)
def test_eta_may_be_a_tensor_that_learns(name):
    eta = torch.tensor(0.1, requires_grad=True)
    trace, pre, post = torch.full((1, 1), 0.25), torch.tensor([2.0]), torch.tensor([3.0])
    get_rule(name)(trace, pre, post, eta).backward()
    expected = {"hebb": 6 - 0.25, "oja": 3 * (2 - 0.75), "clip": 6.0, "soft_clip": 6 * 0.75}
    assert eta.grad.item() == pytest.approx(expected[name])


def test_nothing_flows_through_a_clipped_trace():
    trace = torch.tensor([[0.25, 0.9]], requires_grad=True)
    Clip()(trace, torch.tensor([2.0]), torch.tensor([3.0, 3.0]), 0.1).sum().backward()
    assert trace.grad.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("name", RULES)
def test_arguments_are_left_alone(name):
    arguments = torch.randn(2, 2), torch.randn(2), torch.randn(2)
    copies = [a.clone() for a in arguments]
    get_rule(name)(*arguments, 0.1)
    for argument, copy in zip(arguments, copies, strict=True):
        assert argument.equal(copy)


def test_rules_are_found_by_name():
    assert tuple(BUILT_IN) == RULES
    assert get_rule("hebb") == Hebb()
    assert get_rule("oja") == Oja()
    assert get_rule("clip") == Clip(bound=1.0)


def test_a_rule_object_is_its_own_rule():
    rule = Clip(0.5)
    assert get_rule(rule) is rule
    assert rule(torch.zeros(1, 1), torch.tensor([9.0]), torch.tensor([9.0]), 1.0).item() == 0.5


def test_a_function_becomes_a_rule():
    def mine(trace, pre, post, eta):
        return trace - 1

    rule = get_rule(mine)
    assert rule.name == "mine"
    assert rule(torch.ones(2, 2), torch.ones(2), torch.ones(2), 0.1).equal(torch.zeros(2, 2))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_steps_the_trace_by_name(name):
    trace, pre, post = torch.randn(2, 3), torch.randn(2), torch.randn(3)
    stepped = step_traces(get_rule(name), {"trace": trace}, pre, post, 0.1)
    assert stepped.keys() == {"trace"}
    assert stepped["trace"].equal(get_rule(name)(trace, pre, post, 0.1))


def test_a_rule_that_forgets_a_trace_is_refused():
    class Forgetful(Rule):
        name, traces = "forgetful", ("trace", "eligibility")

        def step(self, traces, pre, post, eta):
            return {"trace": traces["trace"]}

    traces = dict.fromkeys(Forgetful.traces, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="the rule returned trace: expected trace, eligibility"):
        step_traces(Forgetful(), traces, torch.zeros(2), torch.zeros(2), 0.1)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown rule 'hebbian': expected one of hebb, oja, clip, soft_clip, or a function"
    ):
        get_rule("hebbian")

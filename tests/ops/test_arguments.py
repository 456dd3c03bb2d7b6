"""What plastic_rnn accepts, what it refuses, and what it says."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plastic_rl import PlasticLinear
from plastic_rl.ops import plastic_rnn, reference
from plastic_rl.ops.arguments import Arguments
from plastic_rl.rules import Clip, Hebb, Rule

T, B, N = 4, 2, 3


def arguments(dtype=torch.float64, device="cpu"):
    shapes = {"u": (T, B, N), "w": (N, N), "alpha": (N, N), "eta": (), "hidden": (B, N), "trace": (B, N, N)}
    return {name: torch.full(shape, 0.1, dtype=dtype, device=device) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("u", (B, N), "u has shape (2, 3): expected (T, B, N)"),
        ("u", (0, B, N), "u has shape (0, 2, 3): expected (T, B, N), T and N above zero"),
        ("u", (T, B, 0), "u has shape (4, 2, 0)"),
        ("w", (N, N + 1), "w has shape (3, 4): expected (3, 3), for u is (T, B, N) = (4, 2, 3)"),
        ("alpha", (N + 1,), "alpha has shape (4,): expected one that broadcasts to (3, 3)"),
        ("alpha", (B, N, N), "alpha has shape (2, 3, 3): expected one that broadcasts to (3, 3)"),
        ("eta", (N, 1), "eta has shape (3, 1): expected a scalar, (N,) for a rate of each neuron"),
        ("hidden", (N,), "hidden has shape (3,): expected (2, 3)"),
        ("hidden", (1, N), "hidden has shape (1, 3): expected (2, 3)"),
        ("trace", (N, N), "trace has shape (3, 3): expected (2, 3, 3)"),
        ("clamp", (B, N), "clamp has shape (2, 3): expected (4, 2, 3)"),
        ("episode_start", (T, 1), "episode_start has shape (4, 1): expected (4, 2)"),
    ],
)
def test_a_wrong_shape_is_named(name, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plastic_rnn(**{**arguments(), name: torch.zeros(shape, dtype=torch.float64)})


@pytest.mark.parametrize("name", ["w", "alpha", "hidden", "trace", "clamp"])
def test_a_dtype_or_device_that_differs_is_named(name):
    shape = {"clamp": (T, B, N)}.get(name) or arguments()[name].shape
    with pytest.raises(TypeError, match=rf"{name} is torch.float32 on cpu and u is torch.float64 on cpu: expected one"):
        plastic_rnn(**{**arguments(), name: torch.zeros(shape)})
    with pytest.raises(TypeError, match=rf"{name} is torch.float64 on meta and u is torch.float64 on cpu"):
        plastic_rnn(**{**arguments(), name: torch.zeros(shape, dtype=torch.float64, device="meta")})


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_numbers_that_have_no_gradient_are_refused(dtype):
    integers = {name: tensor.to(dtype) for name, tensor in arguments().items()}
    with pytest.raises(TypeError, match=f"u is {dtype}: expected a floating-point dtype"):
        plastic_rnn(**integers)


def test_episode_starts_are_booleans():
    with pytest.raises(TypeError, match=r"episode_start is torch\.float32 on cpu: expected torch\.bool on cpu"):
        plastic_rnn(**arguments(), episode_start=torch.zeros(T, B))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rule", "unknown rule 'nonsense': expected one of hebb, oja, clip, soft_clip, or a function"),
        ("nonlinearity", "unknown nonlinearity 'nonsense': expected one of tanh, relu"),
        ("engine", "unknown engine 'nonsense': expected one of auto, reference, fused, traceless"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(name, message):
    with pytest.raises(ValueError, match=message):
        plastic_rnn(**arguments(), **{name: "nonsense"})


@pytest.mark.parametrize("bound", [-1.0, float("nan")])
def test_a_bound_must_leave_room(bound):
    with pytest.raises(ValueError, match=f"bound is {bound}: expected at least 0"):
        Clip(bound)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_rule_object_brings_its_settings(engine):
    given = {**arguments(), "u": torch.full((T, B, N), 9.0, dtype=torch.float64), "eta": 1.0}
    assert plastic_rnn(**given, rule=Clip(0.3), engine=engine)[1].trace.max() == 0.3
    assert plastic_rnn(**given, rule="clip", engine=engine)[1].trace.max() == 1


class SlowHebb(Hebb):
    """A subclass of a rule that computes something else."""

    def __call__(self, trace, pre, post, eta):
        return super().__call__(trace, pre, post, eta / 2)


def test_a_subclass_of_a_rule_computes_its_own_results():
    given = {**arguments(), "alpha": torch.full((1,), 0.1, dtype=torch.float64)}
    expected = plastic_rnn(**{**given, "eta": 0.05})
    torch.testing.assert_close(plastic_rnn(**given, rule=SlowHebb()), expected)
    for engine in ("fused", "traceless"):
        with pytest.raises(ValueError, match=f"engine '{engine}' knows the rule"):
            plastic_rnn(**given, rule=SlowHebb(), engine=engine)


class Eligibility(Rule):
    """Retroactive learning with a constant modulator: the trace follows a second tensor, the eligibility."""

    name = "retroactive"
    traces = ("trace", "eligibility")

    def step(self, traces, pre, post, eta):
        return {
            "trace": traces["trace"] + 0.5 * traces["eligibility"],
            "eligibility": Hebb()(traces["eligibility"], pre, post, eta),
        }


def test_the_reference_engine_steps_all_traces_of_a_rule_by_name():
    given = arguments()
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[2, 1] = True
    traces = {"eligibility": given["trace"] * 2, "trace": given.pop("trace")}
    state = {"hidden": given.pop("hidden"), **traces}
    outputs, last = reference.sequence(Arguments(**given, state=state, rule=Eligibility(), episode_start=starts))
    given |= state
    x, trace, eligibility = given["hidden"], traces["trace"], traces["eligibility"]
    for t in range(T):
        x, trace, eligibility = (torch.where(starts[t].view(B, *[1] * (s.ndim - 1)), 0.0, s)
                                 for s in (x, trace, eligibility))  # fmt: skip
        z = given["u"][t] + torch.einsum("bi,bij->bj", x, given["w"] + given["alpha"] * trace)
        trace = trace + 0.5 * eligibility
        eligibility = 0.9 * eligibility + 0.1 * torch.einsum("bi,bj->bij", x, z.tanh())
        x = z.tanh()
        torch.testing.assert_close(outputs[t], x)
    torch.testing.assert_close((last["hidden"], last["trace"], last["eligibility"]), (x, trace, eligibility))


def test_a_rule_with_a_second_trace_is_refused_where_only_one_is_carried():
    with pytest.raises(ValueError, match=r"retroactive carries trace, eligibility: expected .* the trace only"):
        plastic_rnn(**arguments(), rule=Eligibility())
    with pytest.raises(ValueError, match="rule retroactive carries trace, eligibility"):
        PlasticLinear(3, 4, rule=Eligibility())


def decaying(trace, pre, post, eta):
    return trace * (1 - eta)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (arguments(torch.float16), "computes in float32 and float64 and the input is torch.float16"),
        (arguments(device="meta"), "runs on the CPU and the input is on meta"),
        ({"rule": decaying}, "knows the rules hebb, oja, clip, soft_clip and not a function of your own"),
    ],
    ids=["float16", "meta", "function"],
)
def test_fused_says_why_it_cannot_and_auto_falls_back(change, reason):
    given = {**arguments(), **change}
    with pytest.raises(ValueError, match=f"engine 'fused' {reason}; use engine='auto' or 'reference'"):
        plastic_rnn(**given, engine="fused")
    outputs, state = plastic_rnn(**given)
    expected, expected_state = plastic_rnn(**given, engine="reference")
    assert outputs.shape == (T, B, N)
    assert outputs.dtype == given["u"].dtype
    if outputs.device.type == "cpu":
        assert outputs.equal(expected)
        assert state.trace.equal(expected_state.trace)


def test_a_rule_of_your_own():
    given = arguments()
    given["alpha"].requires_grad_()
    outputs, state = plastic_rnn(**given, rule=decaying)
    torch.testing.assert_close(state.trace, given["trace"] * 0.9**T)
    outputs.sum().backward()
    assert given["alpha"].grad.count_nonzero() == N * N

    mine = plastic_rnn(**arguments(), rule=lambda *arguments: Hebb()(*arguments))
    torch.testing.assert_close(mine, plastic_rnn(**arguments(), rule="hebb"))


@pytest.mark.parametrize("wrong", [lambda trace, *_: trace.sum(), lambda trace, *_: trace[..., :1]])
def test_a_rule_that_returns_no_trace(wrong):
    with pytest.raises(ValueError, match=r"the rule returned a trace of shape \(.*\): expected \("):
        plastic_rnn(**arguments(), rule=wrong)
    with pytest.raises(ValueError, match=r"the rule returned a trace of shape \(.*\): expected \(2, 3, 4\)"):
        PlasticLinear(3, 4, rule=wrong)(torch.ones(5, 2, 3))


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_eta_may_be_a_number(engine):
    tensors = arguments(torch.float32)
    outputs, state = plastic_rnn(**tensors, engine=engine)
    del tensors["eta"]
    again, state_again = plastic_rnn(**tensors, eta=0.1, engine=engine)
    assert outputs.equal(again)
    assert state.trace.equal(state_again.trace)


sizes = st.integers(0, 3)
shapes = st.lists(sizes, max_size=4).map(tuple)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_shapes_either_fit_and_agree_or_are_refused(data):
    t, b, n = data.draw(st.tuples(sizes, sizes, sizes), label="T, B, N")
    fitting = {
        "u": (t, b, n),
        "w": (n, n),
        "alpha": data.draw(st.sampled_from([(n, n), (1, n), (n, 1), (n,), (1,), ()])),
        "eta": (),
        "hidden": (b, n),
        "trace": (b, n, n),
        "clamp": (t, b, n),
        "episode_start": (t, b),
    }
    odd = data.draw(st.sampled_from([None, *fitting]), label="the one of any shape")
    chosen = {**fitting, **({odd: data.draw(shapes)} if odd else {})}
    tensors = {name: torch.full(shape, 0.3, dtype=torch.float64) for name, shape in chosen.items()}
    tensors["episode_start"] = tensors["episode_start"] > 0.5

    def outcome(engine):
        try:
            return plastic_rnn(**tensors, engine=engine)
        except (ValueError, TypeError) as error:
            return type(error), str(error)

    fused, reference = outcome("fused"), outcome("reference")
    if isinstance(reference[0], type):
        assert fused == reference
    else:
        torch.testing.assert_close(fused, reference)
    if chosen == fitting and 0 not in (t, n):
        assert fused[0].shape == (t, b, n)

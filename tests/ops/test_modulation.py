"""Modulation, eligibility traces and the plastic LSTM: the engines against each other, and against theory."""

import itertools

import pytest
import torch

from plastic_rl.ops import Modulation, plastic_lstm, plastic_rnn
from plastic_rl.ops.arguments import checked
from plastic_rl.ops.cpu import autograd, blocks
from plastic_rl.ops.cpu.stepper import Stepper
from plastic_rl.rules import Clip, Retroactive

TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5}
# Rule, modulation, and whether it is an LSTM: every rule with every modulation. Each is compiled, which takes a while.
KINDS = [
    ("hebb", "simple", False),
    ("oja", "simple", True),
    ("clip", "simple", False),
    ("soft_clip", "simple", True),
    ("hebb", "retroactive", True),
    ("clip", "retroactive", False),
    ("soft_clip", "retroactive", False),
    ("clip", None, True),
]


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(str(part) for part in kind))
def kind(request):
    rule, modulation, lstm = request.param
    return {"rule": rule, "modulation": modulation, "lstm": lstm, "bound": 0.4, "clamps": not lstm, "starts": True}


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 17), (40, 5, 1), (63, 9, 17)], ids=str)
def test_engines_agree(Problem, assert_close, kind, shape):
    problem = Problem.draw(*shape, **kind)
    assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize(("modulation", "lstm"), [("simple", False), ("retroactive", False), ("retroactive", True)])
def test_engines_agree_in_float32(Problem, assert_close, modulation, lstm):
    problem = Problem.draw(40, 9, 17, rule="clip", bound=0.4, modulation=modulation, lstm=lstm, starts=True)
    expected = problem.solve("reference")
    assert_close(problem.to(torch.float32).solve("fused"), expected, TOLERANCE[torch.float32])


OPTIONS = {
    "fan_out": [False, True], "given": [False, True], "modulator": ["tanh", "sigmoid"], "clamps": [False, True],
    "starts": [False, True],
}  # fmt: skip


@pytest.mark.parametrize("values", list(itertools.product(*OPTIONS.values())), ids=str)
@pytest.mark.parametrize("modulation", ["simple", "retroactive"])
def test_engines_agree_whatever_the_options(Problem, assert_close, modulation, values):
    options = dict(zip(OPTIONS, values, strict=True))
    nonlinearity = "relu" if options["clamps"] else "tanh"
    problem = Problem.draw(
        12, 9, 7, rule="clip", bound=0.4, nonlinearity=nonlinearity, modulation=modulation, **options
    )
    assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


def test_engines_agree_whatever_the_length(Problem, assert_close, kind):
    for steps in range(1, 31):
        problem = Problem.draw(steps, 2, 5, **kind)
        assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


def test_wide_networks_in_chunks_agree(Problem, assert_close, monkeypatch, two_threads, kind):
    monkeypatch.setattr(blocks, "CHUNK", 16)
    monkeypatch.setattr(blocks, "SMALL", 0)
    for batch in (1, 5):
        problem = Problem.draw(17, batch, 60, **kind)
        assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


def test_bits_do_not_depend_on_the_number_of_threads(Problem, monkeypatch, two_threads, kind):
    monkeypatch.setattr(blocks, "SMALL", 0)
    for shape in [(20, 30, 17), (9, 1, 530)]:
        problem = Problem.draw(*shape, **kind)
        torch.set_num_threads(2)
        two = problem.solve()
        torch.set_num_threads(1)
        for name, result in problem.solve().items():
            assert result.equal(two[name]), name


def test_gradients_by_finite_differences(Problem, kind):
    problem = Problem.draw(4, 2, 3, **kind)
    names = list(problem.tensors)
    leaves = [tensor.requires_grad_() for tensor in problem.tensors.values()]
    assert torch.autograd.gradcheck(
        lambda *leaves: problem.run("fused", **dict(zip(names, leaves, strict=True))), leaves
    )


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_two_calls_that_pass_the_state_on_are_one_long_call(Problem, kind, engine):
    problem = Problem.draw(20, 3, 9, **kind)
    outputs, *last = problem.run(engine)
    in_time = {**problem.tensors, "episode_start": problem.options["episode_start"]}
    in_time = {name: tensor for name, tensor in in_time.items() if name in ("u", "clamp", "episode_start")}
    first, *state = problem.run(engine, **{name: tensor[:7] for name, tensor in in_time.items()})
    names = [name for name in ("hidden", "cell", "trace", "eligibility") if name in problem.tensors]
    carried = dict(zip(names, state, strict=True)) | {name: tensor[7:] for name, tensor in in_time.items()}
    second, *state = problem.run(engine, **carried)
    torch.testing.assert_close(torch.cat([first, second]), outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-12)


def test_no_element_is_left_unwritten(Problem, assert_close, monkeypatch, kind):
    def poisoned(*args):
        array = empty(*args)
        array.fill(float("nan"))
        return array

    empty = blocks.empty
    for module in (blocks, autograd):
        monkeypatch.setattr(module, "empty", poisoned)
    for starts in (False, True):
        problem = Problem.draw(10, 9, 17, **{**kind, "starts": starts})
        assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


def test_the_stepper_gives_the_same_bits_and_gradients(Problem, kind):
    problem = Problem.draw(10, 9, 17, **{**kind, "clamps": False})
    expected = problem.solve()
    tensors = {name: tensor.clone().requires_grad_() for name, tensor in problem.tensors.items()}
    state = {name: tensors[name] for name in ("hidden", "cell", "trace", "eligibility") if name in tensors}
    parts = {n.removeprefix("modulation_"): t for n, t in tensors.items() if n.startswith("modulation_")}
    modulation = Modulation(kind=problem.options["kind"], **parts) if parts else None
    arguments = checked(
        torch.empty_like(problem.tensors["u"]), tensors["w"], tensors["alpha"], tensors["eta"], state,
        problem.options["rule"], modulation=modulation, gates=tensors.get("gates"),
    )  # fmt: skip
    stepper = Stepper(arguments)
    for t in range(10):
        stepper.step(problem.tensors["u"][t], problem.options["episode_start"][t])
        if t == 6:
            between = {name: part.clone() for name, part in stepper.state().items()}
    assert stepper.outputs.equal(expected["outputs"])
    for name, part in stepper.state().items():
        assert part.equal(expected[f"last {name}"]), name
    _, *last = problem.run(u=problem.tensors["u"][:7], episode_start=problem.options["episode_start"][:7])
    for name, part in zip(state, last, strict=True):
        torch.testing.assert_close(between[name], part, rtol=0, atol=1e-14)
    replayed = stepper.replay(tensors["u"])
    gradients = torch.autograd.grad(replayed, tensors["w"], problem.upstream[0])
    again = {name: tensor.clone().requires_grad_() for name, tensor in problem.tensors.items()}
    torch.testing.assert_close(
        gradients, torch.autograd.grad(problem.run(**again)[0], again["w"], problem.upstream[0]), rtol=0, atol=0
    )


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_retroactive_modulation_with_eta_1_is_simple_modulation_one_step_later(engine):
    """With eta 1, the eligibility is the last step's product: M(t) writes what M one step earlier would have seen."""
    steps, batch, n = 9, 3, 5
    clamp, signal = torch.randn(steps, batch, n).double(), torch.randn(steps, batch).double() * 0.3
    common = {
        "u": torch.zeros_like(clamp), "w": torch.randn(n, n).double(), "alpha": torch.randn(n, n).double(),
        "hidden": torch.randn(batch, n).double(), "trace": torch.zeros(batch, n, n).double(), "rule": Clip(0.5),
    }  # fmt: skip
    _, retroactive = plastic_rnn(
        **common, eta=1.0, eligibility=common["trace"], clamp=clamp, engine=engine,
        modulation=Modulation(kind="retroactive", signal=signal),
    )  # fmt: skip
    common["u"] = common["u"][1:]
    _, simple = plastic_rnn(
        **common, eta=0.0, clamp=clamp[:-1], engine=engine, modulation=Modulation(signal=signal[1:])
    )
    torch.testing.assert_close(retroactive.trace, simple.trace)
    product = clamp[-2].unsqueeze(-1) * clamp[-1].unsqueeze(-2)
    torch.testing.assert_close(retroactive.eligibility, product)


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("shape", [(5,), (1,), (6, 3, 1), (6, 1, 5), (6, 3, 5), (1, 3, 1)], ids=str)
def test_eta_may_differ_between_neurons_steps_and_episodes(Problem, assert_close, engine, shape):
    problem = Problem.draw(6, 3, 5, rule="hebb", clamps=True, starts=True)
    problem.tensors["eta"] = torch.rand(shape).double()
    solution = problem.solve(engine)
    assert solution["gradient of eta"].shape == shape
    assert_close(solution, problem.solve("reference"), TOLERANCE[torch.float64])
    problem.tensors["eta"] = torch.full(shape, 0.1).double()
    alike = Problem.draw(6, 3, 5, rule="hebb", clamps=True, starts=True).run(engine)
    torch.testing.assert_close(problem.run(engine), alike)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_an_lstm_without_plasticity_is_that_of_pytorch(engine):
    steps, batch, n = 12, 3, 6
    lstm = torch.nn.LSTM(4, n).double()
    input, hidden, cell = torch.randn(steps, batch, 4).double(), *torch.randn(2, batch, n).double()
    i, f, g, o = lstm.weight_hh_l0.T.chunk(4, -1)
    outputs, state = plastic_lstm(
        input @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + lstm.bias_hh_l0, torch.cat([i, f, o], -1), g,
        torch.zeros(1).double(), 0.1, hidden, cell, torch.zeros(batch, n, n).double(), engine=engine,
    )  # fmt: skip
    expected, (last, cells) = lstm(input, (hidden[None], cell[None]))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close((state.hidden, state.cell), (last[0], cells[0]))


def test_soft_clip_stays_within_1(Problem):
    problem = Problem.draw(60, 3, 5, rule="soft_clip", eta=0.5)
    problem.tensors["trace"].clamp_(-1, 1)
    for engine in ("reference", "fused"):
        assert problem.run(engine)[2].abs().max() <= 1


@pytest.mark.parametrize("modulation", ["simple", "retroactive"])
def test_nan_stays_within_its_episode(Problem, modulation):
    problem = Problem.draw(6, 9, 17, rule="clip", modulation=modulation)
    problem.tensors["u"][2, 4, 0] = float("nan")
    solution = problem.solve()
    others = [b for b in range(9) if b != 4]
    assert solution["outputs"][:, others].isfinite().all()
    assert solution["gradient of u"][:, others].isfinite().all()
    assert solution["gradient of modulation_weight"].isnan().all()


def refusals():
    good = {"weight": torch.zeros(3), "bias": torch.tensor(0.0)}
    trace = torch.zeros(2, 3, 3)
    yield (
        "unknown",
        {"modulation": Modulation(**good, kind="late")},
        "unknown modulation 'late': expected one of",
    )
    yield "range", {"modulation": Modulation(**good, nonlinearity="relu")}, "unknown modulator's nonlinearity 'relu'"
    yield "nothing", {"modulation": Modulation()}, "modulation has no weight and bias, or these and a signal too"
    both = Modulation(**good, signal=torch.zeros(4, 2))
    yield "both", {"modulation": both}, "modulation has no weight and bias, or these and a signal too"
    yield "shape", {"modulation": Modulation(torch.zeros(4), good["bias"])}, r"modulation.weight has shape \(4,\)"
    yield "alone", {"eligibility": trace}, "eligibility is given without retroactive modulation: expected None"
    late = Modulation(**good, kind="retroactive")
    yield "missing", {"modulation": late}, r"eligibility is None: expected a tensor \(B, N, N\)"
    yield "oja", {"modulation": late, "eligibility": trace, "rule": "oja"}, "the rule oja has no retroactive"
    yield (
        "function",
        {"modulation": late, "eligibility": trace, "rule": lambda h, *_: h},
        "has no retroactive modulation",
    )
    each = {"modulation": late, "eligibility": trace, "rule": "clip", "eta": torch.rand(3)}
    yield "rates", each, r"eta has shape \(3,\): expected a scalar, the rate of the eligibility trace"
    yield "plain", {"eta": torch.rand(4, 2)}, r"eta has shape \(4, 2\): expected a scalar, \(N,\) for a rate of each"
    yield "traceless", {"modulation": Modulation(**good), "engine": "traceless"}, "no modulation; use engine='auto'"


@pytest.mark.parametrize(
    ("changes", "message"), [case[1:] for case in refusals()], ids=[case[0] for case in refusals()]
)
def test_what_does_not_fit_is_refused(changes, message):
    shapes = {"u": (4, 2, 3), "w": (3, 3), "alpha": (1,), "eta": (), "hidden": (2, 3), "trace": (2, 3, 3)}
    arguments = {name: torch.full(shape, 0.1) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        plastic_rnn(**{**arguments, **changes})


def test_retroactive_rules_are_stepped_by_name():
    rule, ones = Retroactive(Clip(1.0), 0.25), torch.ones(1, 1)
    traces = rule.step({"trace": 0 * ones, "eligibility": 0.5 * ones}, 2 * ones[0], 3 * ones[0], 0.1)
    assert traces["trace"].item() == pytest.approx(0.05)
    assert traces["eligibility"].item() == pytest.approx(0.75 * 0.5 + 0.25 * 6)

"""The fused engine against the reference, and both against numbers worked out by hand."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from plastic_rl.choices import RULES
from plastic_rl.ops import plastic_rnn
from plastic_rl.ops.cpu import autograd, blocks

# (steps, batch, neurons): one step, an odd square root, groups of episodes, padded rows and columns.
SHAPES = [
    (1, 1, 1),
    (1, 5, 17),
    (1, 30, 60),
    (40, 5, 1),
    (40, 30, 17),
    (40, 1, 60),
    (63, 1, 17),
    (63, 30, 1),
    (63, 5, 60),
    (20, 1, 300),
    (5, 5, 300),
]
# Some hundred roundings in a row, 1e-16 or 6e-8 each; and a trace in float32 may reach clip's bound a step earlier or
# later than in float64.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5}


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_three_steps_by_hand(engine):
    outputs, state = plastic_rnn(
        u=torch.tensor([[[0.0, 0.5]], [[2.0, 1.0]], [[0.0, 0.0]]]),
        w=torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
        alpha=torch.ones(1),
        eta=0.5,
        hidden=torch.tensor([[1.0, 0.0]]),
        trace=torch.zeros(1, 2, 2),
        nonlinearity="relu",
        engine=engine,
    )
    # Traces before the steps: 0, then [[0, 0.75], [0, 0]], then [[0, 0.375], [1.5, 0.75]].
    assert outputs[:, 0].tolist() == [[0.0, 1.5], [2.0, 1.0], [1.5, 3.5]]
    assert state.hidden.tolist() == [[1.5, 3.5]]
    assert state.trace.tolist() == [[[1.5, 3.6875], [1.5, 2.125]]]


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_clamped_neuron_takes_its_value_and_the_others_their_own(engine):
    clamp = torch.tensor([[[5.0, float("nan")]]])
    outputs, state = plastic_rnn(
        torch.tensor([[[1.0, 1.0]]]), torch.zeros(2, 2), torch.zeros(1), 1.0,
        torch.ones(1, 2), torch.zeros(1, 2, 2), nonlinearity="relu", clamp=clamp, engine=engine,
    )  # fmt: skip
    assert outputs.tolist() == [[[5.0, 1.0]]]
    assert state.trace.tolist() == [[[5.0, 1.0], [5.0, 1.0]]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_engines_agree(Problem, assert_close, shape, rule):
    problem = Problem.draw(*shape, rule=rule, bound=0.4, clamps=True, starts=True)
    expected = problem.solve("reference")
    for dtype, tolerance in TOLERANCE.items():
        assert_close(problem.to(dtype).solve("fused"), expected, tolerance)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("nonlinearity", "alpha", "clamps", "starts"),
    list(itertools.product(["tanh", "relu"], ["connection", "neuron", "shared"], [False, True], [False, True])),
)
def test_engines_agree_whatever_the_options(Problem, assert_close, rule, nonlinearity, alpha, clamps, starts):
    problem = Problem.draw(
        12, 9, 7, rule=rule, nonlinearity=nonlinearity, alpha=alpha, clamps=clamps, starts=starts, bound=0.4
    )
    assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(40, 5, 17), (20, 1, 300)], ids=str)
def test_a_gpu_agrees(Problem, assert_close, shape, rule):
    problem = Problem.draw(*shape, rule=rule, bound=0.4, clamps=True, starts=True)
    expected = problem.solve("reference")
    for dtype, tolerance in TOLERANCE.items():
        assert_close(problem.to(dtype, "cuda").solve("auto"), expected, tolerance)


@pytest.mark.parametrize("rule", RULES)
def test_engines_agree_whatever_the_length(Problem, assert_close, rule):
    """However the steps fall into the segments whose traces are remade, the last of them cut short or not."""
    for steps in range(1, 31):
        problem = Problem.draw(steps, 2, 5, rule=rule, bound=0.4, clamps=True, starts=True)
        assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (7, 1), (1, 7)], ids=str)
def test_alpha_broadcasts_as_in_pytorch(Problem, assert_close, shape):
    problem = Problem.draw(6, 2, 7, clamps=True)
    problem.tensors["alpha"] = torch.randn(shape, dtype=torch.float64) * 0.3
    assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("eta", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("rule", RULES)
def test_engines_agree_whatever_eta(Problem, assert_close, rule, eta):
    """Nothing divides by 1 - eta or expands in it: a large eta is as exact as a small one."""
    problem = Problem.draw(40, 3, 17, rule=rule, eta=eta, bound=0.4, clamps=True, starts=True)
    assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("rule", RULES)
def test_wide_networks_in_chunks_agree(Problem, assert_close, monkeypatch, two_threads, rule, nonlinearity):
    """Four chunks of rows, the last one not full, shared by two threads."""
    monkeypatch.setattr(blocks, "CHUNK", 16)
    monkeypatch.setattr(blocks, "SMALL", 0)
    for batch in (1, 5):
        problem = Problem.draw(17, batch, 60, rule=rule, nonlinearity=nonlinearity, bound=0.4, clamps=True, starts=True)
        assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("batch", [1, 2])
def test_wide_networks_agree(Problem, assert_close, two_threads, batch):
    problem = Problem.draw(4, batch, 530, rule="oja", clamps=True, starts=True)
    expected = problem.solve("reference")
    for dtype, tolerance in TOLERANCE.items():
        assert_close(problem.to(dtype).solve("fused"), expected, tolerance)


@pytest.mark.parametrize("rule", RULES)
def test_no_element_is_left_unwritten(Problem, assert_close, monkeypatch, rule):
    """Every buffer begins as NaN, so that one that shows in a result was read before it was written."""

    class PoisonedNumpy:
        def __getattr__(self, name):
            return getattr(numpy, name)

        @staticmethod
        def empty(*args, **kwargs):
            return poison(numpy.empty(*args, **kwargs))

        @staticmethod
        def empty_like(*args, **kwargs):
            return poison(numpy.empty_like(*args, **kwargs))

    def poison(array):
        if array.dtype.kind == "f":
            array.fill(numpy.nan)
        return array

    numpy, empty = blocks.np, blocks.empty
    for module in (blocks, autograd):
        monkeypatch.setattr(module, "empty", lambda *args: poison(empty(*args)))
        monkeypatch.setattr(module, "np", PoisonedNumpy())
    for shape in [(1, 1, 1), (10, 9, 17), (7, 1, 60)]:
        for options in itertools.product([False, True], repeat=2):
            problem = Problem.draw(*shape, rule=rule, clamps=options[0], starts=options[1])
            assert_close(problem.solve("fused"), problem.solve("reference"), TOLERANCE[torch.float64])
            with torch.no_grad():
                assert not any(result.isnan().any() for result in problem.run())


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("rule", RULES)
def test_two_calls_that_pass_the_state_on_are_one_long_call(Problem, assert_close, rule, engine):
    problem = Problem.draw(20, 3, 9, rule=rule, bound=0.4, clamps=True, starts=True)
    whole = problem.solve(engine)

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in problem.tensors.items()}
    u, clamp, starts = leaves["u"], leaves["clamp"], problem.options["episode_start"]
    first, *state = problem.run(engine, **{**leaves, "u": u[:7], "clamp": clamp[:7], "episode_start": starts[:7]})
    carried = {**leaves, "hidden": state[0], "trace": state[1]}
    second, *state = problem.run(engine, **{**carried, "u": u[7:], "clamp": clamp[7:], "episode_start": starts[7:]})
    outputs = torch.cat([first, second])
    torch.autograd.backward([outputs, *state], problem.upstream)
    parts = {"outputs": outputs, "last hidden": state[0], "last trace": state[1]}
    parts |= {f"gradient of {name}": leaf.grad for name, leaf in leaves.items()}
    assert_close(parts, whole, TOLERANCE[torch.float64])


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("rule", RULES)
def test_an_episode_starts_as_if_from_nothing(Problem, rule, engine):
    problem = Problem.draw(9, 2, 5, rule=rule)
    starts = torch.zeros(9, 2, dtype=torch.bool)
    starts[4] = True
    _, *state = problem.run(engine, episode_start=starts)
    zeros = {name: torch.zeros_like(problem.tensors[name]) for name in ("hidden", "trace")}
    _, *alone = problem.run(engine, u=problem.tensors["u"][4:], **zeros)
    torch.testing.assert_close(state, alone, rtol=0, atol=1e-14)


def test_what_came_before_an_episode_does_not_reach_it(Problem):
    """Not even as NaN: a lifetime that diverged leaves the next one alone, forward and backward."""
    problem = Problem.draw(8, 3, 5, episode_start=torch.zeros(8, 3, dtype=torch.bool))
    problem.options["episode_start"][3, 1] = True
    problem.tensors["u"][2, 1] = float("nan")
    outputs, hidden, trace = problem.run()
    assert outputs[2, 1].isnan().all()
    for clean in (outputs[3:, 1], hidden, trace, outputs[:, [0, 2]]):
        assert clean.isfinite().all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_gradients_by_finite_differences(Problem, rule, engine):
    problem = Problem.draw(4, 2, 3, rule=rule, bound=0.4, clamps=True, starts=True)
    names = list(problem.tensors)
    leaves = [tensor.requires_grad_() for tensor in problem.tensors.values()]
    assert torch.autograd.gradcheck(
        lambda *leaves: problem.run(engine, **dict(zip(names, leaves, strict=True))), leaves
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("argument", ["u", "w", "alpha", "eta", "hidden", "trace"])
def test_nan_shows_where_the_reference_has_it(Problem, argument, dtype, nonlinearity):
    problem = Problem.draw(6, 3, 17, dtype=dtype, nonlinearity=nonlinearity)
    problem.tensors[argument].view(-1)[0] = float("nan")
    expected = problem.solve("reference")
    assert expected["outputs"][-1].isnan().any()
    for name, result in problem.solve("fused").items():
        if not name.startswith("gradient"):
            assert result.isnan().equal(expected[name].isnan()), name


@pytest.mark.parametrize("rule", RULES)
def test_nan_stays_within_its_episode(Problem, rule):
    problem = Problem.draw(6, 9, 17, rule=rule)
    problem.tensors["u"][2, 4, 0] = float("nan")
    solution = problem.solve()
    others = [b for b in range(9) if b != 4]
    assert solution["outputs"][:, others].isfinite().all()
    assert solution["gradient of u"][:, others].isfinite().all()
    assert solution["gradient of trace"][others].isfinite().all()
    assert solution["gradient of w"].isnan().any()
    assert solution["gradient of eta"].isnan()


@pytest.mark.parametrize("rule", RULES)
def test_nan_gradients_show(Problem, rule):
    problem = Problem.draw(6, 2, 5, rule=rule)
    problem.upstream[0][3, 1, 2] = float("nan")
    solution = problem.solve()
    for name in ("u", "w", "alpha", "eta", "hidden", "trace"):
        assert solution[f"gradient of {name}"].isnan().any(), name


def test_float32_tanh_is_as_good_as_its_format(Problem):
    nets = torch.cat([torch.linspace(-12, 12, 100_001), torch.tensor([-1e30, -1e-30, 0.0, 1e-30, 1e30])])
    problem = Problem.draw(1, len(nets), 1, dtype=torch.float32)
    outputs, *_ = problem.run(u=nets.view(1, -1, 1), hidden=torch.zeros(len(nets), 1))
    outputs = outputs.flatten()
    torch.testing.assert_close(outputs.double(), nets.double().tanh(), rtol=8 * 2**-24, atol=0)
    assert outputs.abs().max() <= 1, "a slope of 1 - x^2 must not be negative"


@pytest.mark.parametrize("shape", [(40, 30, 60), (40, 1, 60), (9, 1, 530), (3, 30, 530)], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(Problem, monkeypatch, two_threads, shape):
    monkeypatch.setattr(blocks, "SMALL", 0)
    problem = Problem.draw(*shape, dtype=torch.float32, clamps=True, starts=True)
    two = problem.solve()
    torch.set_num_threads(1)
    one = problem.solve()
    for name, result in one.items():
        assert result.equal(two[name]), name


def test_a_thread_that_waited_for_long_goes_on_where_it_stood(two_threads):
    plan = blocks.Plan(10, 1, 600)
    calls = []

    def steps(buffer, block, at, meeting):
        calls.append((block.c0, block.c1, at))
        assert meeting.parties == 2
        return at + 4 if at < 8 else -1

    plan.run(steps)
    assert sorted(calls) == [(c0, c1, at) for c0, c1 in ((0, 1), (1, 3)) for at in (0, 4, 8)]


def test_callers_at_the_same_time_do_not_wait_for_each_other(monkeypatch):
    """Three shares of each of two callers wait for each other; two helpers are there to take them."""
    submit = ThreadPoolExecutor.submit

    def slowly(*args, **kwargs):
        future = submit(*args, **kwargs)
        time.sleep(0.05)
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", slowly)
    met = []

    def call():
        barrier = threading.Barrier(3)

        def share(first, last):
            barrier.wait(timeout=10)
            met.append(first)

        blocks.share_out(share, 3, 3)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(met) == [0, 0, 1, 1, 2, 2]


def test_an_interrupted_thread_is_not_waited_for(two_threads):
    plan = blocks.Plan(10, 1, 600)

    def steps(buffer, block, at, meeting):
        if block.c0 == 0:
            raise KeyboardInterrupt
        return -1 if meeting.counter[0] >= 10 * meeting.parties else at

    with pytest.raises(KeyboardInterrupt):
        plan.run(steps)


def test_bits_do_not_depend_on_whether_gradients_are_wanted(Problem):
    problem = Problem.draw(20, 9, 17, dtype=torch.float32, starts=True)
    solution = problem.solve()
    for name, result in zip(("outputs", "last hidden", "last trace"), problem.run(), strict=True):
        assert result.equal(solution[name]), name

"""The traceless engine against the reference."""

import itertools
import math

import pytest
import torch

from plastic_rl.ops import plastic_rnn, traceless

# (steps, batch, neurons). Activities of relu grow without bound in longer sequences.
SHAPES = [(1, 1, 1), (1, 5, 17), (20, 5, 1), (20, 5, 17), (15, 1, 60)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5}


def clamp_whole_steps(problem):
    """Clamp every neuron at steps 1, 2, 4, 5, ...; at every third, one of them or none."""
    clamp = problem.tensors["clamp"]
    whole = torch.arange(len(clamp)) % 3 != 0
    clamp[whole] = clamp[whole].nan_to_num(0.5)
    return problem


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("alpha", "nonlinearity", "clamps"), list(itertools.product(["neuron", "shared"], ["tanh", "relu"], [False, True]))
)
def test_agrees_with_the_reference(Problem, assert_close, shape, alpha, nonlinearity, clamps):
    problem = Problem.draw(*shape, alpha=alpha, nonlinearity=nonlinearity, clamps=clamps)
    expected = problem.solve("reference")
    assert all(result.isfinite().all() for result in expected.values())
    for dtype, tolerance in TOLERANCE.items():
        assert_close(problem.to(dtype).solve("traceless"), expected, tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("alpha", ["neuron", "shared"])
def test_a_gpu_agrees(Problem, assert_close, alpha):
    problem = clamp_whole_steps(Problem.draw(15, 3, 60, alpha=alpha, clamps=True))
    expected = problem.solve("reference")
    for dtype, tolerance in TOLERANCE.items():
        assert_close(problem.to(dtype, "cuda").solve("traceless"), expected, tolerance)


@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_steps_that_are_clamped_whole_agree(Problem, assert_close, steps):
    problem = clamp_whole_steps(Problem.draw(steps, 3, 9, alpha="shared", clamps=True))
    expected = problem.solve("reference")
    assert_close(problem.solve("traceless"), expected, TOLERANCE[torch.float64])

    constant = problem.tensors.pop("clamp")  # then what leads to clamped neurons only is not computed
    problem.options["clamp"] = constant
    expected.pop("gradient of clamp")
    assert_close(problem.solve("traceless"), expected, TOLERANCE[torch.float64])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (1, 7)], ids=str)
def test_alpha_broadcasts_as_in_pytorch(Problem, assert_close, shape):
    problem = Problem.draw(6, 2, 7, clamps=True)
    problem.tensors["alpha"] = torch.randn(shape, dtype=torch.float64) * 0.3
    assert_close(problem.solve("traceless"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("eta", [0.0, 0.9, 1.0])
def test_agrees_whatever_eta(Problem, assert_close, eta):
    problem = Problem.draw(20, 3, 17, alpha="shared", eta=eta, clamps=True)
    assert_close(problem.solve("traceless"), problem.solve("reference"), TOLERANCE[torch.float64])


def test_agrees_from_the_start_of_a_lifetime(Problem, assert_close):
    """A first trace of zero takes no product, but it has a gradient."""
    problem = Problem.draw(9, 2, 7, alpha="neuron")
    problem.tensors["trace"].zero_()
    assert_close(problem.solve("traceless"), problem.solve("reference"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("engine", ["reference", "fused", "traceless"])
def test_outputs_can_be_viewed_in_another_shape(Problem, engine):
    outputs = Problem.draw(9, 2, 7, alpha="shared").run(engine)[0]
    assert outputs.view(18, 7).is_contiguous()


@pytest.mark.parametrize("used", [0, 1, 2], ids=["outputs", "hidden", "trace"])
def test_results_that_the_loss_leaves_out_add_nothing(Problem, used):
    gradients = []
    for engine in ("traceless", "reference"):
        problem = Problem.draw(6, 2, 5, alpha="shared", clamps=True)
        leaves = [tensor.requires_grad_() for tensor in problem.tensors.values()]
        gradients.append(torch.autograd.grad(problem.run(engine)[used], leaves, problem.upstream[used]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("argument", ["u", "w", "alpha", "eta", "hidden", "trace", "clamp"])
def test_each_gradient_alone(Problem, argument):
    problem = clamp_whole_steps(Problem.draw(6, 2, 5, alpha="shared", clamps=True))
    expected = problem.solve("reference")[f"gradient of {argument}"]
    leaf = problem.tensors[argument].clone().requires_grad_()
    torch.autograd.backward(problem.run("traceless", **{argument: leaf}), problem.upstream)
    torch.testing.assert_close(leaf.grad, expected)


def test_gradients_by_finite_differences(Problem):
    problem = Problem.draw(4, 2, 3, alpha="neuron", clamps=True)
    leaves = [tensor.requires_grad_() for tensor in problem.tensors.values()]
    assert torch.autograd.gradcheck(
        lambda *leaves: problem.run("traceless", **dict(zip(problem.tensors, leaves, strict=True))), leaves
    )


def test_autocast_changes_nothing(Problem, assert_close):
    problem = Problem.draw(5, 2, 20, alpha="shared").to(torch.float32)
    expected = problem.solve("traceless")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(problem.solve("traceless"), expected, 0)


def test_second_derivatives_are_refused(Problem):
    problem = Problem.draw(3, 2, 5, alpha="shared")
    w = problem.tensors["w"].requires_grad_()
    (gradient,) = torch.autograd.grad(problem.run("traceless")[0].sum(), w, retain_graph=True)
    assert gradient.isfinite().all()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(problem.run("traceless")[0].sum(), w, create_graph=True)


def test_results_own_their_memory(Problem):
    outputs, hidden, _ = Problem.draw(3, 2, 5, alpha="shared").run("traceless")
    copy = outputs.clone()
    hidden.zero_()
    assert outputs.equal(copy)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rule": "oja"}, "knows the rule hebb only"),
        ({"alpha": torch.zeros(5, 5)}, "not one per connection"),
        ({"alpha": torch.zeros(5, 1)}, "not one per connection"),
        ({"episode_start": torch.zeros(3, 2, dtype=torch.bool)}, "takes no episode_start"),
    ],
)
def test_what_it_cannot_do_is_refused(Problem, changes, reason):
    problem = Problem.draw(3, 2, 5, alpha="shared", dtype=torch.float32)
    with pytest.raises(ValueError, match=f"engine 'traceless' .*{reason}.*; use engine='auto' or 'reference'"):
        problem.run("traceless", **changes)


@pytest.mark.parametrize(
    ("steps", "alpha", "clamps", "taken"),
    [(5, "shared", False, True), (5, "neuron", False, True), (5, "connection", False, False),
     (6, "shared", False, False), (15, "shared", True, True), (16, "shared", True, False)],
)  # fmt: skip
def test_auto_takes_it_where_it_is_the_fastest(Problem, monkeypatch, steps, alpha, clamps, taken):
    """With 20 neurons: for at most 5 steps that are not clamped whole, and 20 in all."""
    problem = Problem.draw(steps, 2, 20, alpha=alpha)
    if clamps:
        problem.tensors["clamp"] = torch.full((steps, 2, 20), math.nan, dtype=torch.float64)
        clamp_whole_steps(problem)
    assert took_traceless(problem, monkeypatch) == taken


@pytest.mark.parametrize(("steps", "taken"), [(20, True), (21, False)])
def test_auto_does_not_take_it_for_more_steps_than_neurons(Problem, monkeypatch, steps, taken):
    problem = Problem.draw(steps, 2, 20, alpha="shared")
    problem.tensors["clamp"] = torch.zeros(steps, 2, 20, dtype=torch.float64)
    assert took_traceless(problem, monkeypatch) == taken


def took_traceless(problem, monkeypatch):
    """Whether auto took it, for what is right."""
    calls, sequence = [], traceless.sequence
    monkeypatch.setattr(traceless, "sequence", lambda *args: calls.append(args) or sequence(*args))
    expected = problem.run("reference")
    for have, want in zip(problem.run("auto"), expected, strict=True):
        torch.testing.assert_close(have, want)
    return bool(calls)


def test_long_sequence_in_float32_agrees_to_1e_5():
    """As long and wide as the memory tasks, within rounding."""
    generator = torch.Generator().manual_seed(0)
    T, B, N = 100, 1, 401
    u, w = torch.randn(T, B, N, generator=generator), torch.randn(N, N, generator=generator) / N**0.5
    arguments = (u, w, torch.tensor([0.01]), 0.02, torch.zeros(B, N), torch.zeros(B, N, N))
    have, want = (plastic_rnn(*arguments, engine=engine) for engine in ("traceless", "reference"))
    assert (have[0] - want[0]).abs().max() < 1e-5
    assert (have[1].trace - want[1].trace).abs().max() < 1e-5

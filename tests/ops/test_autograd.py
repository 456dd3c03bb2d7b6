"""The fused engine as an autograd function: what it saves, shares and returns."""

import weakref

import pytest
import torch
from torch.autograd import forward_ad

from plastic_rl.choices import RULES

ARGUMENTS = ["u", "w", "alpha", "eta", "hidden", "trace", "clamp"]


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_each_gradient_alone(Problem, argument):
    problem = Problem.draw(6, 2, 5, clamps=True)
    expected = problem.solve("reference")[f"gradient of {argument}"]
    leaf = problem.tensors[argument].clone().requires_grad_()
    torch.autograd.backward(problem.run(**{argument: leaf}), problem.upstream)
    torch.testing.assert_close(leaf.grad, expected)


@pytest.mark.parametrize("used", [0, 1, 2], ids=["outputs", "hidden", "trace"])
@pytest.mark.parametrize("rule", RULES)
def test_results_that_the_loss_leaves_out_add_nothing(Problem, rule, used):
    gradients = []
    for engine in ("fused", "reference"):
        problem = Problem.draw(6, 2, 5, rule=rule, starts=True)
        leaves = [tensor.requires_grad_() for tensor in problem.tensors.values()]
        result, upstream = problem.run(engine)[used], problem.upstream[used]
        gradients.append(torch.autograd.grad(result, leaves, upstream))
    torch.testing.assert_close(*gradients)


def test_a_hidden_state_is_a_tensor_of_its_own(Problem):
    problem = Problem.draw(3, 2, 5)
    problem.tensors["w"].requires_grad_()
    outputs, hidden, _ = problem.run()
    outputs.sum().backward(retain_graph=True)
    hidden.detach_()[0] = 0
    outputs.sum().backward()
    assert hidden.untyped_storage().nbytes() == 2 * 5 * 8


def test_what_backward_needed_is_freed_after_it(Problem):
    problem = Problem.draw(40, 2, 64)
    problem.tensors["w"].requires_grad_()
    saved = []

    def pack(tensor):
        saved.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = problem.run()[0]
    large = [one for one in saved if one() is not None and one().numel() > 40 * 64]
    assert len(large) >= 3
    outputs.sum().backward()
    alive = [one() for one in large if one() is not None]
    assert all(any(tensor is known for known in problem.tensors.values()) or tensor is outputs for tensor in alive)


@pytest.mark.parametrize("alpha", ["connection", "shared"])
def test_transforms_of_pytorch_get_the_engine_that_they_can_see_into(Problem, alpha):
    problem = Problem.draw(6, 2, 8, alpha=alpha)
    u, w = problem.tensors["u"], problem.tensors["w"]

    def outputs(w, u=u, engine="auto"):
        return problem.run(engine, w=w, u=u)[0]

    _, expected = torch.func.jvp(lambda w: outputs(w, engine="reference"), (w,), (w,))
    assert expected.any()
    torch.testing.assert_close(torch.func.jvp(outputs, (w,), (w,))[1], expected)
    with torch.no_grad(), forward_ad.dual_level():
        found = forward_ad.unpack_dual(outputs(forward_ad.make_dual(w, w))).tangent
    torch.testing.assert_close(found, expected)
    both = torch.func.vmap(outputs)(torch.stack([w, 0 * w]))
    torch.testing.assert_close(both, torch.stack([outputs(w), outputs(0 * w)]))
    with pytest.raises(ValueError, match=r"'fused' cannot be transformed by torch.func.*use engine='auto'"):
        torch.func.vmap(lambda w: outputs(w, engine="fused"))(w[None])


def test_no_graph_without_need(Problem):
    problem = Problem.draw(3, 2, 5)
    assert not any(result.requires_grad for result in problem.run())
    problem.tensors["w"].requires_grad_()
    assert all(result.requires_grad for result in problem.run())
    with torch.no_grad():
        assert not any(result.requires_grad for result in problem.run())


def test_results_own_their_memory(Problem):
    problem = Problem.draw(3, 2, 5)
    outputs, hidden, trace = problem.run()
    copies = outputs.clone(), trace.clone()
    hidden.zero_()
    assert outputs.equal(copies[0])
    assert trace.equal(copies[1])


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("N", [5, 16])
def test_results_are_contiguous(Problem, N, graph):
    problem = Problem.draw(3, 2, N)
    problem.tensors["w"].requires_grad_(graph)
    assert [result.is_contiguous() for result in problem.run()] == [True] * 3


def test_a_graph_kept_gives_the_same_gradients_again(Problem):
    problem = Problem.draw(20, 9, 5, clamps=True, starts=True)
    leaves = [tensor.requires_grad_() for tensor in problem.tensors.values()]
    results = problem.run()
    first = torch.autograd.grad(results, leaves, problem.upstream, retain_graph=True)
    second = torch.autograd.grad(results, leaves, problem.upstream)
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))


def test_arguments_are_left_as_they_were(Problem):
    problem = Problem.draw(20, 9, 5, clamps=True, starts=True)
    copy = Problem.draw(20, 9, 5, clamps=True, starts=True)
    problem.solve()
    problem.run()
    for name, tensor in copy.tensors.items():
        torch.testing.assert_close(problem.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert problem.options["episode_start"].equal(copy.options["episode_start"])
    assert all(a.equal(b) for a, b in zip(problem.upstream, copy.upstream, strict=True))


def test_layout_in_memory_does_not_matter(Problem):
    problem = Problem.draw(6, 4, 5, clamps=True, starts=True)
    expected = problem.solve()

    def scattered(tensor):
        """The same numbers, every second one in memory, dimensions reversed."""
        reverse = tuple(reversed(range(tensor.ndim)))
        spread = tensor.permute(reverse).repeat_interleave(2, 0) if tensor.ndim else tensor.expand(2)
        return spread[::2].permute(reverse) if tensor.ndim else spread[0]

    problem.tensors = {name: scattered(tensor) for name, tensor in problem.tensors.items()}
    problem.upstream = tuple(scattered(gradient) for gradient in problem.upstream)
    problem.options["episode_start"] = scattered(problem.options["episode_start"])
    assert not problem.tensors["u"].is_contiguous()
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in problem.tensors.items()}
    results = problem.run(**leaves)
    torch.autograd.backward(results, problem.upstream)
    for name, result in zip(("outputs", "last hidden", "last trace"), results, strict=True):
        assert result.equal(expected[name]), name
    for name, leaf in leaves.items():
        assert leaf.grad.equal(expected[f"gradient of {name}"]), name


def test_broadcast_upstream_gradients_are_accepted(Problem):
    problem = Problem.draw(6, 4, 5)
    gradients = []
    for engine in ("fused", "reference"):
        u = problem.tensors["u"].clone().requires_grad_()
        problem.run(engine, u=u)[0].sum().backward()
        gradients.append(u.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("saved", ["alpha", "eta", "trace", "clamp", "episode_start"])
def test_an_argument_changed_before_backward_is_an_error(Problem, saved):
    problem = Problem.draw(6, 2, 5, clamps=True, starts=True)
    w = problem.tensors["w"].clone().requires_grad_()
    outputs, *_ = problem.run(w=w)
    {**problem.tensors, **problem.options}[saved].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_a_result_changed_before_backward_is_an_error(Problem):
    problem = Problem.draw(6, 2, 5)
    problem.tensors["w"].requires_grad_()
    outputs, _, trace = problem.run()
    outputs.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        trace.sum().backward()


def test_weights_updated_before_backward_leave_the_gradients_those_of_before(Problem):
    problem = Problem.draw(6, 2, 5)
    expected = problem.solve()["gradient of u"]
    u, w = problem.tensors["u"].clone().requires_grad_(), problem.tensors["w"].clone()
    results = problem.run(u=u, w=w)
    w.zero_()
    torch.autograd.backward(results, problem.upstream)
    torch.testing.assert_close(u.grad, expected)


def test_a_gradient_of_a_gradient_is_an_error_rather_than_missing(Problem):
    problem = Problem.draw(3, 2, 5)
    w = problem.tensors["w"].requires_grad_()
    outputs, *_ = problem.run()

    def penalty():
        (gradient,) = torch.autograd.grad(outputs.sum(), w, create_graph=True)
        (outputs.sum() + gradient.square().sum()).backward()

    with pytest.raises(RuntimeError, match=r"derivative|differentia"):
        penalty()

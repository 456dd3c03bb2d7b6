"""Steps in which every neuron is clamped: the engines pass over them, and results stay the same."""

import math

import pytest
import torch

from plastic_rl.choices import RULES
from plastic_rl.ops.cpu import autograd, blocks

# Which steps are held: none before or after them, runs of odd and even length, longer than a segment, all, none. Those
# with the same letter are held by the same values.
PATTERNS = ["#", "##", "#.", ".#", "..##..", "###.####.#", "#.#.#.##.", "....", "." * 9 + "#" * 30 + ".." + "#" * 7,
            "#" * 40, "##########..." * 4 + "...", "." + "#" * 25, "AAA", "AAAAA..AAA.", "A#AABBBBAA..BB.", "A" * 40,
            "." * 9 + "A" * 30 + ".." + "B" * 21 + "....", ("A" * 10 + "B" * 7 + "...") * 2 + "..C"]  # fmt: skip


def hold(problem, pattern):
    """Clamp all neurons where the pattern has no dot; elsewhere the clamps are as they were drawn."""
    clamp = problem.tensors["clamp"]
    for t, sign in enumerate(pattern):
        if sign != ".":
            clamp[t] = clamp[t if sign == "#" else pattern.index(sign)].nan_to_num(-0.3)
    return problem


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_held_steps_agree(Problem, assert_close, pattern, rule):
    for batch in (1, 9):
        problem = hold(Problem.draw(len(pattern), batch, 7, rule=rule, bound=0.4, clamps=True), pattern)
        expected = problem.solve("reference")
        assert_close(problem.solve(), expected, 1e-12)

        problem.options["clamp"] = problem.tensors.pop("clamp")  # a constant: then backward passes over steps too
        expected.pop("gradient of clamp")
        assert_close(problem.solve(), expected, 1e-12)
        with torch.no_grad():
            outputs, _, trace = problem.run()
        results = {"outputs": outputs, "last trace": trace}
        assert_close(results, {name: expected[name] for name in results}, 1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_held_steps_and_starts_of_episodes_agree(Problem, assert_close, rule):
    """A step at which an episode begins is not passed over."""
    pattern = "####..AAAAAAAAA.AAA###BBBBB"
    problem = hold(Problem.draw(len(pattern), 3, 7, rule=rule, bound=0.4, clamps=True, starts=True), pattern)
    expected = problem.solve("reference")
    problem.options["clamp"] = problem.tensors.pop("clamp")
    expected.pop("gradient of clamp")
    assert_close(problem.solve(), expected, 1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.9, 1.0])
def test_held_steps_agree_whatever_eta(Problem, assert_close, eta):
    problem = hold(Problem.draw(20, 3, 17, eta=eta, clamps=True), "..####AAAA..BBBBB..#")
    expected = problem.solve("reference")
    problem.options["clamp"] = problem.tensors.pop("clamp")
    expected.pop("gradient of clamp")
    assert_close(problem.solve(), expected, 1e-12)


def test_threads_that_share_a_network_agree_on_held_steps(Problem, assert_close, monkeypatch, two_threads):
    """Four chunks of rows shared by two threads, which meet: bits do not depend on how many there are."""
    monkeypatch.setattr(blocks, "CHUNK", 16)
    monkeypatch.setattr(blocks, "SMALL", 0)
    pattern = "######..AAAAA...###BBBBB.."
    problem = hold(Problem.draw(len(pattern), 1, 60, clamps=True), pattern)
    expected = problem.solve("reference")
    problem.options["clamp"] = problem.tensors.pop("clamp")
    expected.pop("gradient of clamp")
    two = problem.solve()
    assert_close(two, expected, 1e-12)
    torch.set_num_threads(1)
    for name, result in problem.solve().items():
        assert result.equal(two[name]), name


def test_no_element_is_left_unwritten(Problem, monkeypatch):
    empty = blocks.empty
    for module in (blocks, autograd):
        monkeypatch.setattr(module, "empty", lambda shape, dtype: _poisoned(empty(shape, dtype)))
    problem = hold(Problem.draw(20, 3, 17, clamps=True), "..####AAAA..BBBBB..#")
    problem.options["clamp"] = problem.tensors.pop("clamp")
    assert all(result.isfinite().all() for result in problem.solve().values())


def _poisoned(array):
    array.fill(math.nan)
    return array

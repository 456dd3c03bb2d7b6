"""The scales that all pictures of a lifetime share."""

import numpy as np
import pytest

from plastic_rl.viewing.mind import Scales, rounded_up

from .conftest import mind


def test_neurons_that_are_active_together_stand_together():
    rng = np.random.default_rng(0)
    cause, group = rng.normal(size=(200, 1)), rng.permutation([-1.0] * 10 + [1.0] * 10)
    order = Scales.of(mind(activity=np.tanh(cause * group + 0.1 * rng.normal(size=(200, 20))))).order
    assert abs(np.diff(group[order])).sum() == 2  # one border
    assert sorted(order) == list(range(20))


def test_scales_have_round_numbers_and_hold_a_lifetime():
    shown = mind()
    scales = Scales.of(shown)
    assert scales.plastic == 0.3  # the 98th of a hundred normal numbers of spread 0.1 is 0.23
    assert scales.values == (min(shown.values), max(shown.values))
    assert (scales.steps, scales.strength) == (29, 0.1)
    assert scales.eligibility is None
    assert Scales.of(mind(retroactive=True)).eligibility == 0.03
    assert Scales.of(mind(plastic=np.zeros((20, 20)))).plastic == 1.0
    assert Scales.of(mind(steps=1)).steps == 1


@pytest.mark.parametrize(
    ("number", "rounded"),
    [(34.2, 40), (1.0, 1), (1.01, 1.5), (0.0123, 0.015), (9.7, 10), (0.1, 0.1), (0.0, 1), (np.inf, 1), (1e-40, 1)],
)
def test_round_numbers(number, rounded):
    assert rounded_up(number) == rounded

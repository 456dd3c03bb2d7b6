"""Curves of numbers over a lifetime."""

import numpy as np
import pytest

from plastic_rl.envs.drawing import FLOOR, GREEN, PAPER
from plastic_rl.viewing.canvas import Canvas
from plastic_rl.viewing.charts import HEADER, LABELS, Curve, draw_curve


def plotted(curve, steps=20, size=(300, 160)):
    """Return the picture of a curve, and the part of it that has axes around it."""
    canvas = Canvas(*size, 1.0)
    draw_curve(canvas, canvas.rect(0, 0, *size), curve, steps)
    frame = canvas.frame()
    return frame, frame[HEADER:, LABELS:]


@pytest.mark.parametrize(
    ("numbers", "low", "high", "ends"),
    [
        ((0.3, 0.7), 0.0, 31.0, (0.0, 40.0)),
        ((0.3, 70.0), -0.17, 31.0, (-0.2, 80.0)),
        ((-0.3, -1.2), 0.0, 0.0, (-1.5, 1.0)),
        ((0.0,), 0.0, 0.0, (0.0, 1.0)),
    ],
)
def test_axes_end_at_round_numbers_beyond_all_values(numbers, low, high, ends):
    curve = Curve.within("NAME", "now", numbers, low, high)
    assert (curve.low, curve.high) == ends


def test_a_curve_is_where_its_numbers_are():
    heights = []
    for number in (-1.0, 0.0, 1.0):
        curve = Curve("NAME", "now", (number,) * 21, -1.0, 1.0, marks=(((10,), GREEN),))
        plot = plotted(curve)[1]
        rows, columns = np.nonzero((plot == GREEN).all(axis=2))
        assert columns.mean() == pytest.approx(plot.shape[1] / 2, abs=1)
        heights.append(rows.mean() / len(plot))
    assert heights[1] == pytest.approx(0.5, abs=0.02)
    assert 0.9 < heights[0] < 1
    assert 0 < heights[2] < 0.1


def test_the_area_to_zero_is_filled_if_asked():
    plain, filled = (plotted(Curve("", "0", (0.9,) * 21, -1.0, 1.0, filled=f))[1] for f in (False, True))
    middle = plain.shape[1] // 2, len(plain) // 4
    assert tuple(plain[middle[1], middle[0]]) == FLOOR != tuple(filled[middle[1], middle[0]])
    assert tuple(filled[3 * middle[1], middle[0]]) == FLOOR


def test_numbers_that_would_overlap_are_left_out():
    def labels(low):
        frame = plotted(Curve("", "0", (0.5,), low, 1.0))[0]
        dark = (frame[HEADER:, : LABELS - 6] != PAPER).any(axis=(1, 2))
        return int((np.diff(dark.astype(int)) == 1).sum() + dark[0])

    assert [labels(low) for low in (-1.0, -0.01, 0.0)] == [3, 2, 2]


def test_a_lifetime_longer_than_expected_is_drawn_to_its_end():
    curve = Curve("", "0", (0.5,) * 50, 0.0, 1.0, marks=(((49,), GREEN),))
    plot = plotted(curve, steps=20)[1]
    assert np.nonzero((plot == GREEN).all(axis=2))[1].mean() > 0.95 * plot.shape[1]

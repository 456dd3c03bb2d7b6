"""Matrices as pictures."""

import numpy as np
import pytest

from plastic_rl.viewing.heat import SHADES, HeatMap, colored, enlarged, heat, shrunk, whole_side


def test_colors_are_white_at_zero_and_deepen_on_both_sides():
    colors = colored(np.arange(-SHADES, SHADES + 1)).astype(int)
    assert (colors[SHADES] == 255).all()
    darkness = (255 - colors).sum(axis=1)
    assert (np.diff(darkness[SHADES:]) > 0).all()
    assert (np.diff(darkness[: SHADES + 1]) < 0).all()
    assert (colors[:SHADES, 2] > colors[:SHADES, 0]).all()  # blue below
    assert (colors[SHADES + 1 :, 0] > colors[SHADES + 1 :, 2]).all()  # red above


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(9, 9, 3, 3), (10, 7, 4, 3), (5, 400, 5, 90)])
def test_shrinking_keeps_the_mean(rows, columns, height, width):
    numbers = np.random.default_rng(0).normal(size=(rows, columns))
    small = shrunk(numbers, height, width)
    assert small.shape == (height, width)
    assert small.mean() == pytest.approx(numbers.mean(), abs=1e-6)
    if (rows, columns) == (9, 9):
        np.testing.assert_allclose(small, numbers.reshape(3, 3, 3, 3).mean(axis=(1, 3)), rtol=1e-5)


def test_enlarging_keeps_the_edges():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert (enlarged(picture, 4, 6) == picture.repeat(2, axis=0).repeat(3, axis=1)).all()


def test_a_number_near_the_border_of_two_shades_does_not_flicker():
    drawer = HeatMap(8)
    pictures = [drawer.draw(np.full((4, 4), v / SHADES)) for v in (1.0, 1.55, 1.45, 1.9, 1.55)]
    assert [tuple(p[0, 0]) for p in pictures[:3]] == [tuple(colored(np.array(1)))] * 3
    assert [tuple(p[0, 0]) for p in pictures[3:]] == [tuple(colored(np.array(2)))] * 2


def test_a_picture_without_a_past_has_the_nearest_shades():
    picture = heat(np.array([[-9.0, 0.0, 0.31, 1.0]]), 3, 8)
    assert picture.shape == (3, 8, 3)
    expected = colored(np.array([-SHADES, 0, 2, SHADES]))
    assert (picture[1, ::2] == expected).all()


@pytest.mark.parametrize(("room", "count", "side"), [(302, 100, 300), (276, 100, 276), (416, 450, 416), (416, 7, 413)])
def test_cells_have_whole_pixels_if_that_wastes_little_room(room, count, side):
    assert whole_side(room, count) == side

"""The picture of a network at work, part by part."""

from dataclasses import replace

import numpy as np
import pytest

from plastic_rl.envs import GridMaze, draw_maze
from plastic_rl.viewing.panel import SHADES, Mind, Panel, Scales, colored, enlarged, fitted, shrunk


def mind(neurons=20, steps=30, seed=0, traced=True, **changes):
    rng = np.random.default_rng(seed)
    made = Mind(
        activity=np.tanh(rng.normal(size=(steps, neurons))).astype(np.float32),
        plastic=rng.normal(scale=0.1, size=(neurons, neurons)).astype(np.float32) if traced else None,
        strengths=tuple(np.linspace(0, 0.1, steps)) if traced else (),
        values=tuple(rng.normal(size=steps)),
        actions=np.array([0.1, 0.2, 0.3, 0.4]),
        chosen=2,
        kind="moves",
        hits=(5,),
    )
    return replace(made, **changes)


def drawn(shown, scales=None, side=352):
    return Panel(scales or Scales.of(mind(shown.activity.shape[1])), side).draw(shown)


@pytest.mark.parametrize("cell", [8, 32, 44])
@pytest.mark.parametrize("neurons", [1, 7, 100, 450])
@pytest.mark.parametrize("traced", [True, False])
def test_panels_are_as_high_as_the_maze_beside_them(cell, neurons, traced):
    env = GridMaze(render_mode="rgb_array")
    env.reset(seed=0)
    picture = drawn(mind(neurons, traced=traced), side=11 * cell)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == draw_maze(env.maze_state(), cell).shape[0]
    assert 1.1 * 11 * cell < picture.shape[1] < 1.6 * 11 * cell
    assert picture.shape[1] % 2 == 0


def test_each_part_changes_the_picture_and_nothing_else_does():
    shown = mind()
    plain = drawn(shown)
    assert (drawn(shown) == plain).all()
    for change in (
        {"plastic": shown.plastic[::-1]},
        {"activity": -shown.activity},
        {"values": (*shown.values[:-1], 2.0)},
        {"strengths": (*shown.strengths[:-1], 0.01)},
        {"actions": np.array([0.7, 0.1, 0.1, 0.1])},
        {"chosen": 0},
        {"hits": (5, 9)},
        {"frozen": True},
        {"kind": "choices"},
    ):
        assert (drawn(replace(shown, **change)) != plain).any(), change


def heat(panel, picture):
    """The heat map's pixels, without the lines around them."""
    bottom = panel.margin + panel.side
    return picture[bottom - panel.map : bottom, panel.left : panel.left + panel.map]


def test_the_heat_map_grows_from_white():
    full = mind()
    panel = Panel(Scales.of(full))
    seen = []
    for share in (0.0, 0.4, 0.7, 1.0):
        picture = heat(panel, panel.draw(replace(full, plastic=share * full.plastic)))
        seen.append(float((255 - picture.astype(int)).mean()))
    assert seen[0] == 0
    assert seen == sorted(set(seen))
    assert (heat(panel, panel.draw(replace(full, plastic=0 * full.plastic))) == 255).all()


def test_the_heat_map_shows_each_connection_where_the_order_puts_it():
    scales = replace(Scales.of(mind(10)), order=np.array([3, 0, 1, 2, 4, 5, 6, 7, 8, 9]), plastic=1.0)
    plastic = np.zeros((10, 10))
    plastic[3, 9] = 1.0  # from the neuron that stands first to the one that stands last
    panel = Panel(scales)
    picture = heat(panel, panel.draw(replace(mind(10), plastic=plastic)))
    cell = panel.map // 10
    assert (picture[:cell, -cell:] == colored(np.array(SHADES))).all()
    assert (picture[cell:] == 255).all()
    assert (picture[:, :-cell] == 255).all()


def test_a_connection_near_the_border_of_two_shades_does_not_flicker():
    panel = Panel(replace(Scales.of(mind(4)), plastic=float(SHADES)))
    pictures = [heat(panel, panel.draw(mind(4, plastic=np.full((4, 4), v)))) for v in (1.0, 1.55, 1.45, 1.9, 1.55)]
    assert [tuple(p[0, 0]) for p in pictures[:3]] == [tuple(colored(np.array(1)))] * 3
    assert [tuple(p[0, 0]) for p in pictures[3:]] == [tuple(colored(np.array(2)))] * 2


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
    assert Scales.of(mind(plastic=np.zeros((20, 20)))).plastic == 1.0
    assert Scales.of(mind(steps=1)).steps == 1


def test_a_lifetime_beyond_the_scales_is_drawn_too():
    scales = Scales.of(mind(steps=5))
    long = mind(steps=300, values=tuple(np.linspace(-1e4, 1e4, 300)), strengths=(9.0,) * 300, plastic=np.ones((20, 20)))
    assert drawn(long, scales).shape == drawn(mind(steps=5), scales).shape
    drawn(replace(long, plastic=None, strengths=()), scales)


@pytest.mark.parametrize("actions", [[], [1.0], [-1.0, 1.0, 0.0], [0.1] * 30])
@pytest.mark.parametrize("kind", ["choices", "continuous"])
def test_any_number_of_actions(actions, kind):
    drawn(mind(actions=np.array(actions), chosen=None, kind=kind))


@pytest.mark.parametrize("shape", [(400, 600, 3), (210, 160, 3), (32, 900, 3), (900, 32, 3)])
def test_other_pictures_are_fitted_beside_the_panel(shape):
    picture = np.full(shape, 7, np.uint8)
    fit = fitted(picture, 458, 458)
    assert fit.shape[0] == 458
    assert fit.shape[1] <= 458
    inner = (np.abs(fit.astype(int) - 7) < 4).all(axis=2)
    rows, columns = inner.any(axis=1).sum(), inner.any(axis=0).sum()
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.1)
    assert max(rows, columns) > 400

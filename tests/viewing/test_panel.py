"""The picture of a network at work, part by part."""

from dataclasses import replace

import numpy as np
import pytest

from plastic_rl.envs import GridMaze, draw_maze
from plastic_rl.envs.drawing import GREEN, GRID, RED
from plastic_rl.viewing.heat import SHADES, colored
from plastic_rl.viewing.mind import Scales
from plastic_rl.viewing.panel import Panel

from .conftest import mind


def drawn(shown, scales=None, height=458):
    retroactive = shown.eligibility is not None
    return Panel(scales or Scales.of(mind(shown.activity.shape[1], retroactive=retroactive)), height).draw(shown)


@pytest.mark.parametrize("height", [120, 458, 630])
@pytest.mark.parametrize("neurons", [1, 7, 100, 450])
@pytest.mark.parametrize(
    ("kind", "widths"),
    [({}, (1.0, 1.4)), ({"traced": False}, (1.0, 1.4)), ({"retroactive": True}, (1.3, 1.6))],
)
def test_panels_are_as_high_as_the_picture_beside_them(height, neurons, kind, widths):
    picture = drawn(mind(neurons, **kind), height=height)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == height
    assert widths[0] < picture.shape[1] / height < widths[1]
    assert picture.shape[1] % 2 == 0


def test_the_heat_map_ends_where_the_maze_beside_it_ends():
    env = GridMaze(render_mode="rgb_array")
    env.reset(seed=0)
    maze = draw_maze(env.maze_state(), 44)
    panel = Panel(Scales.of(mind()), len(maze))
    row = maze[:, 100].astype(int).sum(axis=1)
    assert row[panel.bottom - 2] < 300 < row[panel.bottom + 1]


def test_each_part_changes_the_picture_and_nothing_else_does():
    shown = mind(retroactive=True)
    plain = drawn(shown)
    assert (drawn(shown) == plain).all()
    for change in (
        {"plastic": shown.plastic[::-1]},
        {"eligibility": shown.eligibility[::-1]},
        {"activity": -shown.activity},
        {"values": (*shown.values[:-1], 2.0)},
        {"strengths": (*shown.strengths[:-1], 0.01)},
        {"modulation": (*shown.modulation[:-1], 0.99)},
        {"modulation_range": (0.0, 1.0), "modulation": (0.5,) * 30},
        {"actions": np.array([0.7, 0.1, 0.1, 0.1])},
        {"chosen": 0},
        {"names": ()},
        {"names": ("no", "yes", "a", "b")},
        {"counts": False},
        {"signed": True},
        {"hits": (5, 9)},
        {"misses": (9,)},
        {"outcomes": ("right answer", "wrong answer")},
        {"frozen": True},
    ):
        assert (drawn(replace(shown, **change)) != plain).any(), change


def test_modulation_has_its_curve_with_and_without_eligibility():
    modulated = mind(modulation=(0.5,) * 30)
    assert (drawn(modulated) != drawn(mind())).any()
    assert drawn(modulated).shape == drawn(mind()).shape
    assert drawn(mind(retroactive=True)).shape[1] > drawn(mind()).shape[1]


def test_the_future_is_grey():
    scales = Scales.of(mind(steps=100, traced=False))
    panel = Panel(scales)
    picture = heat(panel, panel.draw(mind(steps=25, traced=False)))
    quarter = panel.map // 4
    assert (picture[:, quarter + 2 :] == GRID).all()
    assert not (picture[:, : quarter - 2] == GRID).all()


def test_marks_stand_at_the_steps_at_which_results_are_seen():
    """Green and red are nowhere else in the column of curves."""
    panel = Panel(Scales.of(mind(steps=101)))
    shown = mind(steps=101, values=(0.5,) * 101, hits=(), misses=(), outcomes=("", ""))
    for name, color in (("hits", GREEN), ("misses", RED)):
        columns = []
        for step in (0, 50, 100):
            found = (panel.draw(replace(shown, **{name: (step,)}))[:, panel.right :] == color).all(axis=2)
            columns.append(float(np.argwhere(found)[:, 1].mean()))
        assert columns[1] - columns[0] == pytest.approx(columns[2] - columns[1], abs=2)
        assert columns[2] - columns[0] > 150
        assert not (panel.draw(replace(shown, **{name: (101,)}))[:, panel.right :] == color).all(axis=2).any()


def heat(panel, picture):
    """The first heat map's pixels, without the lines around them."""
    return picture[panel.bottom - panel.map : panel.bottom, panel.left : panel.left + panel.map]


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


def test_a_lifetime_beyond_the_scales_is_drawn_too():
    scales = Scales.of(mind(steps=5))
    long = mind(steps=300, values=tuple(np.linspace(-1e4, 1e4, 300)), strengths=(9.0,) * 300, plastic=np.ones((20, 20)))
    assert drawn(long, scales).shape == drawn(mind(steps=5), scales).shape
    drawn(replace(long, plastic=None, strengths=()), scales)


@pytest.mark.parametrize("actions", [[], [1.0], [-1.0, 1.0, 0.0], [0.1] * 30])
@pytest.mark.parametrize("signed", [True, False])
def test_any_number_of_actions(actions, signed):
    drawn(mind(actions=np.array(actions), chosen=None, signed=signed, names=()))
    drawn(mind(actions=np.array(actions), chosen=None, signed=signed, names=("a very long name",) * len(actions)))

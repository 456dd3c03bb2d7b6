import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plastic_rl.envs.maze.walls import PillarLayout, RandomLayout
from plastic_rl.envs.streams import keys_from_range

odd_sizes = st.integers(2, 10).map(lambda k: 2 * k + 1)


def reachable(walls, start):
    """Return the cells that can be walked to, one at a time."""
    seen, todo = {start}, [start]
    while todo:
        row, column = todo.pop()
        for cell in ((row - 1, column), (row, column + 1), (row + 1, column), (row, column - 1)):
            if not walls[cell] and cell not in seen:
                seen.add(cell)
                todo.append(cell)
    return seen


@settings(max_examples=80, deadline=None)
@given(size=odd_sizes, openness=st.floats(0.0, 1.0), seed=st.integers(0, 2**64), count=st.integers(1, 4))
def test_every_free_cell_of_a_random_maze_can_be_reached(size, openness, seed, count):
    layout = RandomLayout(size, openness)
    mazes = layout.draw(keys_from_range(seed, count))
    assert mazes.shape == (count, size, size)
    for walls in mazes:
        assert walls[[0, -1]].all()
        assert walls[:, [0, -1]].all()
        assert not walls[1::2, 1::2].any()
        assert walls[::2, ::2].all()
        assert not walls[layout.start]
        free = {tuple(cell) for cell in np.argwhere(~walls).tolist()}
        assert len(free) == layout.free_cells
        assert reachable(walls, layout.start) == free


@settings(max_examples=20, deadline=None)
@given(size=odd_sizes)
def test_every_free_cell_among_pillars_can_be_reached(size):
    layout = PillarLayout(size)
    (walls,) = layout.draw(keys_from_range(0, 1))
    free = {tuple(cell) for cell in np.argwhere(~walls).tolist()}
    assert reachable(walls, layout.start) == free
    assert len(free) == layout.free_cells


@settings(max_examples=30, deadline=None)
@given(size=odd_sizes, seed=st.integers(0, 2**64))
def test_without_openness_the_maze_is_perfect(size, seed):
    """A connected graph of cells is a tree when it has one edge fewer than cells."""
    walls = RandomLayout(size, 0.0).draw(keys_from_range(seed, 1))[0]
    free = ~walls
    edges = (free[1:] & free[:-1]).sum() + (free[:, 1:] & free[:, :-1]).sum()
    assert edges == free.sum() - 1


def test_openness_removes_that_share_of_the_walls_left():
    # 5 x 5 rooms: 40 inner walls, 24 of them doors of the tree.
    assert [RandomLayout(11, share).free_cells for share in (0.0, 0.25, 1.0)] == [49, 53, 65]
    # All removed: pillars alone, those of the fixed layout (whose centre is a room at this size).
    open_maze = RandomLayout(11, 1.0).draw(keys_from_range(0, 1))
    assert (open_maze == PillarLayout(11).draw(keys_from_range(0, 1))).all()


def test_the_start_is_the_centre_where_that_is_a_room():
    assert [RandomLayout(size, 0.2).start for size in (5, 7, 9, 11, 13)] == [
        (1, 1),
        (3, 3),
        (3, 3),
        (5, 5),
        (5, 5),
    ]


def test_walls_vary_evenly():
    """By symmetry every outer-ring wall of the room grid is as often a door as its mirror image."""
    doors = ~RandomLayout(7, 0.0).draw(keys_from_range(0, 20_000))
    share = doors.mean(axis=0)
    for mirror in (share[::-1], share[:, ::-1], share.T):
        # Standard error below 0.0036 for each cell; the difference of two within five of its own.
        np.testing.assert_allclose(share, mirror, atol=0.025)
    walls_between = share[1:-1, 1:-1][(np.indices((5, 5)).sum(axis=0) % 2) == 1]
    assert (walls_between > 0.3).all()
    assert (walls_between < 0.9).all()
    assert len(np.unique(doors, axis=0)) > 100


@pytest.mark.parametrize("openness", [0.0, 0.3, 1.0])
def test_a_maze_depends_on_its_key_alone(openness):
    layout = RandomLayout(9, openness)
    together = layout.draw(keys_from_range(3, 6))
    for k in range(6):
        assert (layout.draw(keys_from_range(3 + k, 1))[0] == together[k]).all()

import dataclasses
import warnings

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.envs import Action, GridMaze, MazeState, RandomMaze, draw_maze, maze_text
from plastic_rl.envs.window import Window

MAZES = [GridMaze, RandomMaze]


@pytest.fixture
def state():
    env = GridMaze(size=7, render_mode="rgb_array")
    env.reset(seed=0)
    for action in (Action.UP, Action.LEFT, Action.LEFT, Action.LEFT):
        env.step(action)
    return env.maze_state()


def region(frame, state, row, column):
    """Return the pixels of one cell."""
    cell = round(484 / len(state.walls))
    margin = round(0.045 * len(state.walls) * cell)
    return frame[margin + row * cell :][:cell, margin + column * cell :][:, :cell].astype(int)


def changed_cells(state, **changes):
    """Return which cells look different once the state is changed."""
    before, after = draw_maze(state), draw_maze(dataclasses.replace(state, **changes))
    return {
        (row, column)
        for row in range(len(state.walls))
        for column in range(len(state.walls))
        if (region(before, state, row, column) != region(after, state, row, column)).any()
    }


@pytest.mark.parametrize("maze", MAZES)
@pytest.mark.parametrize("kwargs", [{}, {"size": 13}, {"size": 5, "view": 7}, {"size": 25}])
def test_frames_have_the_size_of_a_slide(maze, kwargs):
    env = maze(render_mode="rgb_array", **kwargs)
    env.reset(seed=3)
    for action in (0, 1, 2, 3, 3, 0):
        env.step(action)
    frame = env.render()
    assert frame.dtype == np.uint8
    height, width, channels = frame.shape
    assert 480 <= width <= height <= 660
    assert height % 2 == width % 2 == 0
    assert channels == 3
    assert (frame == env.render()).all()


@pytest.mark.parametrize("cell_size", [4, 16, 61])
def test_cells_have_the_size_asked_for(state, cell_size):
    frame = draw_maze(state, cell_size)
    assert 7 * cell_size < frame.shape[1] < 1.2 * 7 * cell_size + 10


def test_pictures_of_any_state_leave_the_state_alone(state):
    kept = state.walls.copy()
    draw_maze(state)
    maze_text(state)
    assert (state.walls == kept).all()
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.step = 3


def test_walls_are_dark_and_floors_are_light(state):
    bare = dataclasses.replace(state, trail=(), view=1)
    frame = draw_maze(bare)
    for (row, column), wall in np.ndenumerate(bare.walls):
        if (row, column) not in (bare.agent, bare.goal):
            middle = region(frame, bare, row, column)[20:-20, 20:-20].mean()
            assert middle < 100 if wall else middle > 225


def test_each_part_shows_where_it_belongs(state):
    assert changed_cells(state, goal=(5, 5)) == {state.goal, (5, 5)}
    view = {(state.agent[0] + r, state.agent[1] + c) for r in (-1, 0, 1) for c in (-1, 0, 1)}
    seen = changed_cells(state, view=1)
    assert seen <= view
    assert len(seen) >= 8
    path = {cell for run in state.trail for cell in run}
    shown = changed_cells(state, trail=())
    assert shown - {state.agent} == path - {state.agent}
    assert changed_cells(state, step=200, total_reward=-12.5, hits=99) == set()
    strip = slice(round(484 * 1.09), None)
    for change in ({"step": 200}, {"total_reward": 55.5}, {"hits": 7}, {"lifetime": 300}):
        other = draw_maze(dataclasses.replace(state, **change))
        assert (other[strip] != draw_maze(state)[strip]).any()


def test_the_trail_fades_and_breaks_at_a_teleport(state):
    """Between the end of one run and the start of the next nothing is drawn."""
    clear = dataclasses.replace(state, agent=(5, 5), goal=(5, 1), view=1)
    whole = changed_cells(clear, trail=(((1, 1), (1, 2), (1, 3), (1, 4), (1, 5)),)) | {(1, 5)}
    assert {(1, k) for k in range(1, 6)} <= whole
    none = dataclasses.replace(clear, trail=())
    assert changed_cells(none, trail=(((1, 1), (1, 2)), ((1, 5), (1, 4)))) == {(1, 1), (1, 2), (1, 4), (1, 5)}
    frame = draw_maze(dataclasses.replace(clear, trail=(tuple((1, k) for k in range(1, 6)),)))
    strength = [255 - region(frame, clear, 1, k)[:, :, 0].min() for k in range(1, 6)]
    assert strength == sorted(strength)
    assert strength[0] < 0.5 * strength[-1]


def test_the_trail_follows_the_agent():
    env = GridMaze(size=5, render_mode="rgb_array", lifetime=500)
    _, info = env.reset(seed=1)
    goal = tuple(info["goal"])
    path = [(2, 2)]
    runs = [path]
    rng = np.random.default_rng(0)
    for step in range(1, 200):
        before = runs[-1][-1]
        action = Action(rng.integers(4))
        move = {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1)}[action]
        hits = info["hits"]
        info = env.step(action)[4]
        place = tuple(info["position"])
        if info["hits"] > hits:
            runs[-1].append((before[0] + move[0], before[1] + move[1]))
            assert runs[-1][-1] == goal
            runs.append([place])
        else:
            runs[-1].append(place)
        # The last 40 steps; the start and the landings come on top of one cell a step.
        trail = env.maze_state().trail
        shown = [cell for run in trail for cell in run]
        expected = [cell for run in runs for cell in run]
        assert shown == expected[-len(shown) :]
        later = [list(run) for run in trail[1:]]
        assert later == runs[len(runs) - len(later) :]
        assert sum(len(run) for run in trail) - (len(trail) - 1) == (step + 1 if step <= 40 else 40)
    assert len(runs) > 5
    env.reset()
    assert env.maze_state().trail == (((2, 2),),)


def test_text_by_hand():
    state = MazeState(
        walls=GridMaze(size=5).dynamics.walls()[0],
        agent=(1, 1),
        goal=(3, 3),
        view=3,
        trail=(((2, 2), (2, 1), (1, 1)),),
        step=2,
        lifetime=250,
        total_reward=-0.1,
        hits=0,
    )
    lines = maze_text(state).splitlines()
    assert lines[:5] == ["██████████", "██@     ██", "██· ·   ██", "██    ? ██", "██████████"]
    assert lines[5].startswith("step 2/250   return -0.1   hits 0")


def test_a_return_of_nearly_nothing_has_no_sign(state):
    assert "return 0.0 " in maze_text(dataclasses.replace(state, total_reward=-1e-9))


def test_no_render_mode_says_what_to_do():
    env = GridMaze()
    env.reset()
    with pytest.warns(UserWarning, match="no render_mode was chosen: pass one of"):
        assert env.render() is None


def test_rendering_before_reset_is_a_clear_error():
    with pytest.raises(gym.error.ResetNeeded, match="before the first reset"):
        GridMaze(render_mode="rgb_array").render()


@pytest.mark.parametrize("maze", MAZES)
def test_the_window_shows_the_frame(maze, no_display):
    pygame = no_display
    env = maze(render_mode="human")
    twin = maze(render_mode="rgb_array")
    env.metadata = {**env.metadata, "render_fps": 1000}
    for each in (env, twin):
        each.reset(seed=0)
        each.step(Action.RIGHT)
    assert env.render() is None
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, twin.render())
    env.close()
    env.close()
    assert not pygame.display.get_init()
    assert not env.window_closed


def test_a_closed_window_stays_closed_and_the_lifetime_goes_on(no_display):
    pygame = no_display
    env = gym.make("plastic_rl:PlasticRL/GridMaze-v0", render_mode="human")
    env.unwrapped.metadata = {**env.unwrapped.metadata, "render_fps": 1000}
    env.reset(seed=0)
    assert not env.unwrapped.window_closed
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_UP))
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    env.step(0)
    assert env.unwrapped.window_closed
    assert not pygame.display.get_init()
    for _ in range(3):
        env.step(0)
        env.render()
    env.reset()
    assert not pygame.display.get_init()
    env.close()
    # After close() the window is a new one.
    env.reset()
    assert pygame.display.get_init()
    env.close()


def test_the_window_leaves_keys_to_the_caller(no_display):
    pygame = no_display
    env = GridMaze(render_mode="human")
    env.reset()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_UP))
    env.step(0)
    assert [event.key for event in pygame.event.get(pygame.KEYDOWN)] == [pygame.K_UP]
    env.close()


def test_the_window_names_the_keys_pressed(no_display):
    pygame = no_display
    window = Window("keys", fps=1000)
    assert window.pressed() == []
    window.show(np.zeros((20, 30, 3), dtype=np.uint8))
    for key in (pygame.K_UP, pygame.K_q):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    assert window.pressed() == ["up", "q"]
    assert window.pressed() == []
    window.close()
    assert window.pressed() == []


def test_the_window_survives_another_env_s_close(no_display):
    pygame = no_display
    env = GridMaze(render_mode="human")
    env.reset()
    pygame.quit()
    env.step(0)
    assert pygame.display.get_init()
    pygame.quit()
    env.close()
    env.close()


def test_the_window_follows_the_frame_s_size(no_display):
    pygame = no_display
    window = Window("sizes", fps=1000)
    for shape in ((20, 30, 3), (40, 50, 3)):
        window.show(np.full(shape, 99, dtype=np.uint8))
        assert pygame.display.get_surface().get_size() == shape[1::-1]
    window.close()


@pytest.mark.parametrize("driver", [None, "no such driver"])
def test_a_missing_display_is_a_clear_error(monkeypatch, driver):
    pygame = pytest.importorskip("pygame")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    if driver:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    pygame.display.quit()
    env = GridMaze(render_mode="human")
    with pytest.raises(gym.error.Error, match=r'No window can be opened.*render_mode="rgb_array"'):
        env.reset()
    env.close()
    assert not pygame.display.get_init()


def test_recording_a_video_needs_no_more_than_rgb_array():
    env = GridMaze(render_mode="rgb_array", lifetime=3)
    frames = gym.wrappers.RenderCollection(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames.reset(seed=0)
        for action in (0, 1, 2):
            frames.step(action)
        pictures = frames.render()
    assert len(pictures) == 4
    assert len({picture.tobytes() for picture in pictures}) == 4


@pytest.mark.parametrize("name", ["GridMaze", "RandomMaze"])
def test_the_trail_begins_where_a_state_was_taken_up(name):
    old, new = (
        gym.make_vec(f"PlasticRL/{name}-v0", num_envs=3, size=7, lifetime=9, render_mode="ansi") for _ in range(2)
    )
    for env in (old, new):
        env.reset(seed=0)
    for _ in range(5):
        old.step(old.action_space.sample())
    new.unwrapped.set_state(old.unwrapped.get_state())
    assert [new.unwrapped.maze_state(k).trail for k in range(3)] == [((),)] * 3
    info = new.step(new.action_space.sample())[-1]
    assert all(tuple(info["position"][k]) == new.unwrapped.maze_state(k).trail[-1][-1] for k in range(3))
    for _ in range(5):
        new.step(new.action_space.sample())
    assert all(len(sum(new.unwrapped.maze_state(k).trail, ())) >= 2 for k in range(3))

"""The windows of ``watch`` and ``play``, on SDL's stand-in for a screen: real events, nothing to see."""

from itertools import pairwise

import pytest

from plastic_rl.envs.rendering import MazeWindow

pygame = pytest.importorskip("pygame")


@pytest.fixture
def screen(here, monkeypatch):
    """Act as the person before the window: a list of the keys for each frame; then it is closed."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = []
    keys = []
    show = MazeWindow.show

    def watched(window, frame):
        window_fps, window.fps = window.fps, 1000
        show(window, frame)
        window.fps = window_fps
        shown.append((window.title, window.fps, frame.tobytes()))
        if window.closed_by_user:
            return
        if len(shown) > len(keys):
            pygame.event.post(pygame.event.Event(pygame.QUIT))
        elif key := keys[len(shown) - 1]:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(key)))

    monkeypatch.setattr(MazeWindow, "show", watched)
    yield keys, shown
    pygame.display.quit()


def pictures(shown):
    return [picture for _, _, picture in shown]


def test_watch_shows_a_step_a_frame_until_the_window_is_closed(screen, call, trained):
    keys, shown = screen
    keys += [None] * 5
    code, out, error = call("watch", trained[0])
    assert (code, error) == (0, "")
    assert "space pauses" in out
    assert len(set(pictures(shown)[:6])) == 6
    assert not pygame.display.get_init()


@pytest.mark.parametrize("key", ["q", "escape"])
def test_watch_ends_with_a_key(screen, call, trained, key):
    keys, shown = screen
    keys += [None, key, None, None]
    assert call("watch", trained[0])[0] == 0
    assert len(shown) == 2


def test_watch_pauses_steps_and_goes_on(screen, call, trained):
    keys, shown = screen
    keys += ["space", None, "right", None, "space", None]
    assert call("watch", trained[0])[0] == 0
    seen = pictures(shown)
    changed = [a != b for a, b in pairwise(seen)]
    assert changed[:6] == [False, False, True, False, True, True]
    assert "paused" in shown[1][0]
    assert "steps/s" in shown[5][0]


def test_watch_changes_its_speed_within_bounds(screen, call, trained):
    keys, shown = screen
    keys += ["+"] * 8 + ["-"] * 15
    assert call("watch", trained[0], "--fps", 10)[0] == 0
    speeds = [fps for _, fps, _ in shown]
    assert speeds[:3] == [10, 15, 22]
    assert max(speeds) == 100
    assert min(speeds) == 1


def test_watch_begins_new_lifetimes(screen, call, trained):
    keys, shown = screen
    keys += [None, "r", *[None] * 45]  # a lifetime of 20 steps, and 1.5 seconds of rest at 12 frames a second
    assert call("watch", trained[0], "--seed", 4)[0] == 0
    numbers = [int(title.split("lifetime ")[1].split(",")[0]) for title, _, _ in shown]
    assert numbers[:3] == [4, 4, 5]
    assert numbers.count(5) == 21 + 18
    assert numbers[-1] == 6


def test_watch_shows_what_is_no_maze_too(screen, call):
    words = [
        "--steps",
        "80",
        "--hidden-size",
        "8",
        "--envs",
        "2",
        "--n-steps",
        "20",
        "--eval-episodes",
        "3",
        "--threads",
        "1",
    ]
    assert call("maze", "--env", "CartPole-v1", "--out", "pole", *words)[0] == 0
    keys, shown = screen
    keys += [None] * 8
    assert call("watch", "pole")[0] == 0
    assert len(set(pictures(shown))) > 3


def test_play_moves_the_agent_and_ends_lifetimes(screen, call):
    keys, shown = screen
    keys += ["left", "up", None, "w", "q"]
    code, out, error = call("play", "--size", 7, "--lifetime", 3, "--seed", 1)
    assert (code, error) == (0, "")
    assert len(set(pictures(shown)[:3])) == 3
    assert shown[2][2] == shown[3][2]
    assert "lifetime over" in shown[4][0]
    assert "lifetime over: return" in out
    assert len(shown) == 5


def test_play_begins_anew(screen, call):
    keys, shown = screen
    keys += ["up", "r", None, "d", "space", None, None]
    assert call("play", "--lifetime", 1)[0] == 0
    titles = ["over" in title for title, _, _ in shown]
    assert titles[:7] == [False, True, False, False, True, False, False]


def test_play_hides_the_goal_unless_asked(screen, call):
    _, shown = screen
    for words in (["--show-goal"], [], ["--random-walls"]):
        assert call("play", *words)[0] == 0
    assert len(set(pictures(shown))) == 3
    assert call("play")[0] == 0
    assert len(set(pictures(shown))) == 3

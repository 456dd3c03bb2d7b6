"""The windows of ``watch`` and ``play``, on SDL's stand-in for a screen: real events, nothing to see."""

from itertools import pairwise

import gymnasium as gym
import pytest

from plastic_rl.commands import play as playing
from plastic_rl.envs.window import Window
from plastic_rl.seeds import FRESH
from plastic_rl.viewing.panel import Panel

from .conftest import SMALL

pygame = pytest.importorskip("pygame")


@pytest.fixture
def screen(here, monkeypatch):
    """Act as the person before the window: a list of the keys for each frame; then it is closed."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = []
    keys = []
    show = Window.show

    def watched(window, frame):
        window_fps, window.fps = window.fps, 1000
        show(window, frame)
        window.fps = window_fps
        shown.append((window.title, window.fps, frame.copy()))
        if window.closed_by_user:
            return
        if len(shown) > len(keys):
            pygame.event.post(pygame.event.Event(pygame.QUIT))
        elif key := keys[len(shown) - 1]:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(key)))

    monkeypatch.setattr(Window, "show", watched)
    yield keys, shown
    pygame.display.quit()


def test_a_display_that_cannot_be_reached(refused, monkeypatch, trained):
    monkeypatch.setenv("DISPLAY", ":77")
    error = refused("watch", trained[0], code=1)
    assert "no window can be opened" in error
    assert "write a GIF instead: " in error


def pictures(shown):
    return [picture.tobytes() for _, _, picture in shown]


def test_watch_shows_a_step_a_frame_until_the_window_is_closed(screen, call, trained):
    keys, shown = screen
    keys += [None] * 5
    code, out, error = call("watch", trained[0])
    assert (code, error) == (0, "")
    assert "space pauses" in out
    assert "T: freeze the trace" in out
    assert len(set(pictures(shown)[:6])) == 6
    assert not pygame.display.get_init()


def test_watch_offers_to_freeze_only_where_there_is_a_trace(screen, call):
    assert call("maze", *SMALL, "--core", "rnn", "--out", "plain")[0] == 0
    code, out, _ = call("watch", "plain")
    assert code == 0
    assert "space pauses" in out
    assert "freeze" not in out


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
    assert changed[:6] == [True, False, True, False, True, True]  # the first one says that it is paused
    assert "paused" in shown[1][0]
    assert "steps/s" in shown[5][0]


def test_watch_freezes_the_trace_and_lets_it_go_on(screen, call, trained, monkeypatch):
    minds = []
    draw = Panel.draw
    monkeypatch.setattr(Panel, "draw", lambda panel, mind: minds.append(mind) or draw(panel, mind))
    keys, shown = screen
    keys += [None, None, None, "t", None, None, None, "r", None, None, "t", None, None]
    assert call("watch", trained[0])[0] == 0
    titles = ["trace frozen" in title for title, _, _ in shown]
    # A key acts on the picture after the one at which it was pressed.
    assert titles[:13] == [False] * 4 + [True] * 7 + [False] * 2
    # A picture is drawn when the key is pressed, too; it shows the same step.
    before, frozen = minds[3], minds[4:9]
    assert (before.plastic != 0).any()
    assert not before.frozen
    assert all(mind.frozen and (mind.plastic == before.plastic).all() for mind in frozen)
    assert len(frozen[-1].values) > len(before.values)
    # A lifetime that begins frozen has nothing in its trace; set free, it learns.
    born = [mind for mind in minds[9:] if mind.frozen]
    assert born
    assert all((mind.plastic == 0).all() for mind in born)
    assert (minds[-1].plastic != 0).any()


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
    code, out, error = call("play", "--size", 7, "--lifetime", 3, "--seed", 1, "--full-view")
    assert (code, error) == (0, "")
    assert len(set(pictures(shown)[:3])) == 3
    assert pictures(shown)[2] == pictures(shown)[3]
    assert "lifetime over" in shown[4][0]
    assert "lifetime over: return" in out
    assert "the agent, in the same lifetime" not in out
    assert "there will be no comparison" in out
    assert len(shown) == 5


def test_play_begins_anew(screen, call):
    keys, shown = screen
    keys += ["up", "r", None, "d", "space", None, None]
    assert call("play", "--lifetime", 1)[0] == 0
    titles = ["over" in title for title, _, _ in shown]
    assert titles[:7] == [False, True, False, False, True, False, False]


def test_play_shows_what_the_agent_sees_unless_asked_for_more(screen, call):
    """Other goals make another picture only where they are shown: all begin in the centre of the same walls."""
    _, shown = screen
    seen, whole, goals = set(), set(), set()
    for found, words in ((seen, []), (whole, ["--full-view"]), (goals, ["--show-goal"])):
        for seed in range(4):
            before = len(shown)
            assert call("play", *words, "--seed", seed)[0] == 0
            found.add(pictures(shown)[before])
    assert (len(seen), len(whole)) == (1, 1)
    assert len(goals) > 1
    assert len(seen | whole | goals) == 2 + len(goals)


def test_play_says_when_the_goal_is_reached(screen, call, monkeypatch):
    """By the shortest way, which the test knows."""
    env = gym.make("PlasticRL/GridMaze-v0", size=5, lifetime=50)
    _, info = env.reset(seed=FRESH)
    (row, column), (top, left) = info["position"], info["goal"]
    way = ["down" if top > row else "up"] * abs(top - row) + ["right" if left > column else "left"] * abs(left - column)
    keys, shown = screen
    keys += [*way, None, "up", None]
    assert call("play", "--size", 5, "--lifetime", 50)[0] == 0
    titles = ["you reached it" in title for title, _, _ in shown]
    assert titles[: len(way) + 3] == [False] * len(way) + [True, True, False]


@pytest.mark.parametrize("words", [[], ["--random-walls"], ["--lifetime", 9, "--size", 9]])
def test_play_lets_the_agent_live_the_same_lifetime(screen, call, trained, monkeypatch, words):
    """The same goal, start and walls, and then the same places after each hit."""
    lived = []
    drive, replay = playing._drive, playing._replay

    def driven(window, env, seed, shown):
        over = drive(window, env, seed, shown)
        lived.append(env)
        return over

    def replayed(agent, env, seed):
        states = replay(agent, env, seed)
        own = playing._now(lived[-1])
        assert (states[0].walls == own.walls).all()
        assert states[0].goal == own.goal
        assert states[0].step == 0
        assert states[-1].step == states[-1].lifetime == own.step
        env.reset(seed=seed)
        lived[-1].reset(seed=seed)
        assert states[0].agent == playing._now(lived[-1]).agent
        for action in range(4):  # the streams of what happens after a hit are the same, too
            ours, theirs = (e.unwrapped.dynamics._teleport_stream.tolist() for e in (lived[-1], env))
            assert ours == theirs
            env.step(action)
        compared.append(states)
        return states

    compared = []
    monkeypatch.setattr(playing, "_drive", driven)
    monkeypatch.setattr(playing, "_replay", replayed)
    steps = 9 if "--lifetime" in words else 20
    keys, shown = screen
    keys += ["up", "left"] * (steps // 2) + ["up"] * (steps % 2) + [None] * 3 + ["r"] + ["down"] * steps + [None, "q"]
    code, out, error = call("play", trained[0], *words)
    assert (code, error) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("lifetime over: return")]
    assert len(lines) == len(compared) == 2
    assert {state[-1].lifetime for state in compared} == {steps}
    for line, states in zip(lines, compared, strict=True):
        assert f"the agent, in the same lifetime: return {states[-1].total_reward:.1f}, {states[-1].score}" in line
    # Beside each other the two are twice as wide, and the agent moves.
    wide = [picture for title, _, picture in shown if "over" in title]
    assert wide[0].shape[1] == 2 * shown[0][2].shape[1]
    assert (wide[0] != wide[1]).any()
    half = wide[0].shape[1] // 2
    assert (wide[0][:, :half] == wide[1][:, :half]).all()


def test_play_takes_the_trained_agent_of_the_package(screen, call, trained, monkeypatch):
    monkeypatch.setattr("plastic_rl.runs.finding.packaged", lambda _: trained[0])
    keys, _ = screen
    keys += ["up", None, "q"]
    code, out, _ = call("play", "--lifetime", 1)
    assert code == 0
    assert "the agent, in the same lifetime: return" in out


CUES = ("play", "--env", "PlasticRL/CueReward-v0", "--lifetime", 13)


def right_answers(env_id, **kwargs):
    """Return what to press at each step of the first lifetime that is played: None where nothing counts."""
    env = gym.make(env_id, **kwargs)
    _, info = env.reset(seed=FRESH)
    over = False
    while not over:
        yield str(info["right_action"]) if env.unwrapped.snapshot().awaits_action else "space"
        _, _, over, _, info = env.step(0)


@pytest.mark.parametrize("answers", ["01", "ny"])
def test_play_takes_answers_to_cues(screen, call, answers):
    keys, shown = screen
    keys += [answers[int(key)] if key in "01" else key for key in right_answers("PlasticRL/CueReward-v0", lifetime=13)]
    keys += [None, "q"]
    code, out, error = call(*CUES)
    assert (code, error) == (0, "")
    assert "Y: the target was shown" in out
    assert "there will be no comparison" in out
    answered = sum(key != "space" for key in keys[:13])
    assert answered
    assert f"lifetime over: return {answered:.1f}, right answers {answered} of {answered}" in out
    titles = [title for title, _, _ in shown]
    assert sum("GO: was the target shown?" in title for title in titles) == answered
    assert any("right" in title for title in titles)
    assert "over" in titles[-1]


def test_play_lets_an_agent_answer_in_the_same_lifetime(screen, call):
    words = [word for word in SMALL if word not in ("--size", "7")]
    assert call("cue-reward", *words, "--lifetime", 13, "--out", "cues")[0] == 0
    keys, shown = screen
    keys += [*right_answers("PlasticRL/CueReward-v0", lifetime=13), None, None, "q"]
    code, out, error = call("play", "cues")
    assert (code, error) == (0, "")
    assert "; the agent, in the same lifetime: return" in out
    wide = [picture for title, _, picture in shown if "over" in title]
    assert len(wide) == 3
    assert wide[0].shape[1] == 2 * shown[0][2].shape[1]
    assert (wide[0] != wide[1]).any()


def test_play_with_other_keys(screen, call):
    """Only space goes on where no answer counts, and only an answer at the go signal."""
    keys, shown = screen
    keys += ["y", "n", "1", None, "space", "space", "r", "space"]
    assert call(*CUES)[0] == 0
    seen = pictures(shown)
    assert len(set(seen[:5])) == 1
    assert len(set(seen[4:8])) == 3 + (seen[7] != seen[0])
    words = ("play", "--env", "PlasticRL/CueAction-v0")
    before = len(shown)
    keys += [None] * (before - len(keys)) + ["up", "3", "space", "space", "3", None]
    assert call(*words)[0] == 0
    seen = pictures(shown)[before:]
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] != seen[5]


def test_play_goes_on_by_itself_where_no_answer_counts(screen, call, monkeypatch):
    monkeypatch.setattr(playing, "PAUSE", 2.5 / playing.FPS)
    keys, shown = screen
    first = next(step for step, key in enumerate(right_answers("PlasticRL/CueReward-v0", lifetime=13)) if key in "01")
    keys += [None] * (3 * first + 12)
    assert call(*CUES)[0] == 0
    seen = pictures(shown)
    changed = [step for step, (a, b) in enumerate(pairwise(seen), 1) if a != b]
    assert changed == [3 * step for step in range(1, first + 1)]  # and then it waits
    assert "GO" in shown[-1][0]


def test_play_shows_of_cues_what_is_asked_for(screen, call):
    _, shown = screen
    for words in ([], ["--full-view"], ["--show-goal"]):
        assert call(*CUES, *words)[0] == 0
    assert len(set(pictures(shown))) == 3

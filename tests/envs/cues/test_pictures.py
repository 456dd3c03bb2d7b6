import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.envs import CueAction, CueReward, CueRewardVector, CueState, cue_text, draw_cues

TASKS = [CueReward, CueAction]


@pytest.fixture
def state():
    """A cue is shown, and some are not met yet."""
    return CueState(
        question="Was the target shown?",
        actions=("no", "yes"),
        codes=np.array([[1, -1, -1], [1, 1, -1], [-1, -1, -1]], dtype=np.float32),
        labels=("", "target", ""),
        cue=1,
        go=False,
        met=frozenset({0, 1}),
        trial=3,
        right=(True, False),
        answer="yes",
        told=False,
        step=14,
        lifetime=50,
        total_reward=0.0,
    )


def look_the_same(one, other, shown="everything"):
    return (draw_cues(one, shown) == draw_cues(other, shown)).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kwargs", [{}, {"cues": 32}, {"cues": 3, "bits": 32}, {"cues": 3, "bits": 7}])
def test_frames_have_the_size_of_a_slide(task, kwargs):
    env = task(render_mode="rgb_array", **kwargs)
    env.reset(seed=3)
    sizes = set()
    over = False
    while not over:
        _, _, over, _, _ = env.step(1)
        if env.dynamics.steps[0] % 9 == 0 or over:
            frame = env.render()
            sizes.add(frame.shape)
            assert frame.dtype == np.uint8
    assert (frame == env.render()).all()
    ((height, width, channels),) = sizes
    assert 480 <= width <= height <= 660
    assert height % 2 == width % 2 == 0
    assert channels == 3


def test_pictures_have_the_width_asked_for(state):
    for width in (200, 484, 900):
        for shown in ("observed", "scene", "everything"):
            frame = draw_cues(state, shown, width)
            assert width < frame.shape[1] < 1.1 * width + 2


def test_text_by_hand(state):
    lines = cue_text(state).splitlines()
    assert lines[:3] == ["  █··", "> ██·  target", "  ···"]
    assert lines[3] == "now: ██·"
    assert lines[4] == "trial 3   answers +-"
    assert lines[5].startswith("step 14/50   return 0.0   right answers 1 of 2 ")
    told = dataclasses.replace(state, cue=-1, told=True)
    assert "now: blank   answered yes: wrong" in cue_text(told)
    assert "now: GO\n" in cue_text(dataclasses.replace(state, cue=-1, go=True))
    assert "now: ██· GO\n" in cue_text(dataclasses.replace(state, go=True))
    assert "answers none yet" in cue_text(dataclasses.replace(state, right=()))


def test_each_part_is_shown(state):
    for change in (
        {"cue": 0}, {"cue": -1}, {"go": True}, {"trial": 4}, {"right": (True, True)}, {"answer": "no"},
        {"told": True}, {"step": 30}, {"lifetime": 90}, {"total_reward": 3.0}, {"labels": ("target", "", "")},
        {"question": "Which action?"},
    ):  # fmt: skip
        assert not look_the_same(state, dataclasses.replace(state, **change)), change


def test_what_is_hidden_is_shown_only_if_all_is_shown(state):
    elsewhere = dataclasses.replace(state, labels=("target", "", ""))
    other_cues = dataclasses.replace(state, codes=state.codes * [[-1], [1], [1]])
    unmet = dataclasses.replace(state, codes=state.codes * [[1], [1], [-1]])
    assert not look_the_same(state, elsewhere)
    for shown in ("observed", "scene"):
        assert look_the_same(state, elsewhere, shown)
        assert look_the_same(state, unmet, shown)
    assert look_the_same(state, other_cues, "observed")
    assert not look_the_same(state, other_cues, "scene")


def test_a_large_cue_is_dark_where_its_bits_are_one(state):
    shown = dataclasses.replace(state, codes=np.array([[1, -1, -1, 1]] * 3, dtype=np.float32), cue=0)
    card = draw_cues(shown)[40:262, 22:244].mean(axis=2)
    half = [card[:111, :111], card[:111, 111:], card[111:, :111], card[111:, 111:]]
    assert [part.mean() < 160 for part in half] == [True, False, False, True]


@pytest.mark.parametrize("task", TASKS)
def test_snapshots_tell_what_has_happened(task):
    env = task(render_mode="ansi")
    seen, info = env.reset(seed=2)
    rewards, over = [], False
    while not over:
        now = env.snapshot()
        asked = bool(seen[env.config.bits])
        assert now.awaits_action == now.go == asked
        assert (now.cue, now.trial, now.hits) == (info["cue"], info["trial"], info["hits"])
        assert now.right == tuple(reward > 0 for reward in rewards)
        assert now.told == bool(seen[env.config.bits + 3])
        assert now.total_reward == sum(rewards)
        assert ("GO" in now.prompt) == asked
        assert now.prompt in ("right", "wrong") or not now.told
        assert env.render() == now.text()
        action = int(env.np_random.integers(env.config.actions))
        seen, reward, over, _, info = env.step(action)
        if asked:
            rewards.append(reward)
            assert env.snapshot().answer == now.actions[action]
    assert len(rewards) == info["answers"]
    if task is CueReward:
        assert [label for label in now.labels if label] == ["target"]
        assert now.labels[info["target"]] == "target"
        assert env.keys()["y"] == env.keys()["1"] == 1
    else:
        assert f"action {info['right_action']}" in now.labels
        assert env.keys() == {"0": 0, "1": 1, "2": 2, "3": 3}
    assert now.met == set(range(env.config.cues))


def test_rendering_before_reset_is_a_clear_error():
    with pytest.raises(gym.error.ResetNeeded, match="before the first reset"):
        CueReward(render_mode="rgb_array").render()
    with pytest.raises(gym.error.ResetNeeded, match="before the first reset"):
        CueRewardVector(2).snapshot()


@pytest.mark.parametrize("task", TASKS)
def test_the_window_shows_the_frame(task, no_display):
    env, twin = task(render_mode="human"), task(render_mode="rgb_array")
    env.metadata = {**env.metadata, "render_fps": 1000}
    for each in (env, twin):
        each.reset(seed=0)
    for _ in range(5):
        env.step(1)
        twin.step(1)
        pixels = no_display.surfarray.array3d(no_display.display.get_surface()).transpose(1, 0, 2)
        assert (pixels == twin.render()).all()
    env.close()


def test_vector_render():
    envs = CueRewardVector(2, render_mode="ansi")
    envs.reset(seed=1)
    one = CueReward(render_mode="ansi")
    one.reset(seed=2)
    assert envs.render()[1] == one.render()
    frames = CueRewardVector(2, render_mode="rgb_array")
    frames.reset(seed=1)
    pictures = frames.render()
    assert len(pictures) == 2
    assert (pictures[0] != pictures[1]).any()

"""Lifetimes written as GIFs."""

from functools import partial

import gymnasium as gym
import pytest
from PIL import Image

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C
from plastic_rl.errors import UserError
from plastic_rl.viewing.recording import write_lifetime

pytest.importorskip("pygame")
MAZE = partial(gym.make, "PlasticRL/GridMaze-v0", size=5, lifetime=21)


def agent_of(make):
    return PlasticA2C("PlasticPolicy", make(), seed=0, policy_kwargs={"hidden_size": 8})


@pytest.mark.parametrize(("most", "frames"), [(500, 22), (22, 22), (6, 4)])
def test_a_long_lifetime_is_thinned_out(tmp_path, monkeypatch, most, frames):
    """A lifetime of 21 steps has 22 pictures; with at most 6 frames, these are 0, 8, 16 and the last one."""
    monkeypatch.setattr("plastic_rl.viewing.recording.MOST_FRAMES", most)
    path = tmp_path / "new" / "lifetime.gif"
    write_lifetime(path, agent_of(MAZE), MAZE, 5, 12)
    with Image.open(path) as gif:
        assert gif.n_frames == frames


def test_one_seed_gives_one_file(tmp_path):
    agent = agent_of(MAZE)
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_lifetime(tmp_path / name, agent, MAZE, seed, 12)
    one, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert one == same != other


def test_a_file_that_cannot_be_written_is_an_error_before_the_lifetime(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("plastic_rl.viewing.recording.rehearse", lambda *_: pytest.fail("it was played"))
    with pytest.raises(UserError, match=r"lifetime\.gif cannot be written"):
        write_lifetime(tmp_path / "file" / "lifetime.gif", agent_of(MAZE), MAZE, 0, 12)


def test_an_environment_without_pictures_is_an_error(tmp_path):
    class Blind(gym.Env):
        observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
        action_space = gym.spaces.Discrete(2)

    with pytest.raises(UserError, match="draws no pictures: it has no render mode rgb_array"):
        write_lifetime(tmp_path / "lifetime.gif", agent_of(MAZE), Blind, 0, 12)

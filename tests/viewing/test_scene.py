"""Pictures of environments with the network beside them."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch

import plastic_rl  # noqa: F401 - registers the environments
from plastic_rl.agents import PlasticA2C
from plastic_rl.viewing.lifetime import Lifetime, rehearse
from plastic_rl.viewing.scene import Scene, fitted, pictured

ENVS = {
    "PlasticRL/GridMaze-v0": {"size": 5, "lifetime": 12},
    "PlasticRL/RandomMaze-v0": {"lifetime": 12},
    "PlasticRL/CueReward-v0": {"lifetime": 12},
    "PlasticRL/CueAction-v0": {"meetings": 1},
    "CartPole-v1": {},
}
CORES = {
    "plain": {},
    "simple": {"rule": "clip", "modulation": "simple"},
    "retroactive": {"rule": "clip", "modulation": "retroactive", "modulator_nonlinearity": "sigmoid"},
    "plastic_lstm": {"core": "plastic_lstm", "rule": "clip", "modulation": "retroactive"},
    "gru": {"core": "gru"},
}


def scenes(env_id, core="plain", width=200, pause=(), **kwargs):
    """Return the pictures of a lifetime, and the environment's own at each of its steps."""
    make = partial(gym.make, env_id, **ENVS[env_id])
    agent = PlasticA2C("PlasticPolicy", make(), seed=0, policy_kwargs={"hidden_size": 10, **CORES[core]})
    with pictured(make) as env:
        scene = Scene(env, rehearse(agent, env, 3), width, **kwargs)
        torch.manual_seed(3)
        lifetime = Lifetime(agent, env, 3)
        found = []
        for step, _ in enumerate(lifetime):
            own = env.unwrapped.snapshot().picture(width=width) if hasattr(env.unwrapped, "snapshot") else None
            found.append((scene.draw(lifetime.mind, step in pause), own))
        return found


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("env_id", ENVS)
def test_every_environment_with_every_kind_of_core(env_id, core):
    pictures = scenes(env_id, core)
    assert len({picture.shape for picture, _ in pictures}) == 1
    assert all(picture.dtype == np.uint8 for picture, _ in pictures)
    assert (pictures[0][0] != pictures[-1][0]).any()
    for picture, own in pictures:
        if own is not None:  # drawn at its size, not scaled
            assert (picture[:, : own.shape[1]] == own).all()


def test_keys_and_the_badge_stand_below():
    plain = scenes("PlasticRL/GridMaze-v0")
    keyed = scenes("PlasticRL/GridMaze-v0", keys="space pauses", pause=(4,))
    height = len(plain[0][0])
    assert all((a[:height] == b).all() for (a, _), (b, _) in zip(keyed, plain, strict=True))
    below = [picture[height:] for picture, _ in keyed]
    assert len(below[0]) > 0
    assert (below[0] != below[0][0, 0]).any()
    assert [bool((one != below[0]).any()) for one in below] == [step == 4 for step in range(len(below))]


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

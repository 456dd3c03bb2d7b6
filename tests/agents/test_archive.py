import numpy as np
import pytest
from gymnasium import spaces

from plastic_rl.agents.archive import ArchiveError, space_from_json, space_to_json


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=2),
        spaces.Box(-1, 1, (3,), np.float32),
        spaces.Box(np.array([-np.inf, 0.1]), np.array([np.inf, 0.7]), dtype=np.float64),
        spaces.Box(0, 255, (2, 2), np.uint8),
        spaces.MultiDiscrete([3, 4], start=[1, 0]),
        spaces.MultiDiscrete([[2, 3], [4, 5]]),
        spaces.MultiBinary(3),
        spaces.MultiBinary([2, 3]),
    ],
    ids=str,
)
def test_spaces_survive_json(space):
    assert space_from_json(space_to_json(space)) == space


def test_a_space_too_large_for_any_agent_is_refused():
    huge = space_to_json(spaces.Box(-1, 1, (3,))) | {"shape": [1 << 13, 1 << 13]}
    with pytest.raises(ArchiveError, match="a Box of"):
        space_from_json(huge)
    for huge in (
        {"type": "MultiDiscrete", "nvec": [1 << 25], "start": [0]},
        {"type": "MultiBinary", "n": 1 << 25},
    ):
        with pytest.raises(ArchiveError, match="a Multi"):
            space_from_json(huge)


def test_a_space_that_json_cannot_describe_is_named():
    with pytest.raises(TypeError, match="Text"):
        space_to_json(spaces.Text(3))

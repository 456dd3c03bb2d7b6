"""The vector environment against the single one, and against Gymnasium's own vector environment."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from plastic_rl.envs import GridMaze, GridMazeVector, PreviousActionRewardVector, RandomMaze, RandomMazeVector

KINDS = [(GridMaze, GridMazeVector), (RandomMaze, RandomMazeVector)]
OPTIONS = [
    {"size": 7, "lifetime": 9},
    {"size": 5, "lifetime": 7, "view": 5, "goal": "periphery", "teleport": "center", "wall_penalty": 0.0},
    {"size": 9, "lifetime": 11, "view": 1, "reward": 1.0},
]
kinds = pytest.mark.parametrize(("single", "vector"), KINDS)
modes = pytest.mark.parametrize("mode", list(AutoresetMode))


def actions_for(count, steps, seed=0):
    return np.random.default_rng(seed).integers(4, size=(steps, count))


@kinds
@pytest.mark.parametrize("kwargs", OPTIONS)
@pytest.mark.parametrize("seed", [0, 123, 2**64 - 2])
def test_each_maze_is_the_single_env_of_its_seed(single, vector, kwargs, seed):
    """Over several lifetimes, one single environment at a time."""
    count, steps = 5, 40
    envs = vector(count, **kwargs)
    actions = actions_for(count, steps)
    batch = [envs.reset(seed=seed), *(envs.step(row) for row in actions)]
    assert batch[-1][4]["hits"].shape == (count,)
    for k in range(count):
        env = single(**kwargs)
        observation, info = env.reset(seed=seed + k)
        for step, (observations, *outcome, infos) in enumerate(batch):
            if step:
                observation, reward, terminated, truncated, info = env.step(actions[step - 1, k])
                assert [values[k] for values in outcome] == [reward, terminated, truncated]
                if terminated:
                    np.testing.assert_array_equal(infos["final_obs"][k], observation)
                    for key, value in info.items():
                        np.testing.assert_array_equal(infos["final_info"][key][k], value)
                    observation, info = env.reset()
            np.testing.assert_array_equal(observations[k], observation)
            for key, value in info.items():
                np.testing.assert_array_equal(infos[key][k], value)


@kinds
@modes
def test_infos_and_autoreset_are_those_of_gymnasium(single, vector, mode):
    """Everything returned equals, dtypes and info masks included, what SyncVectorEnv returns."""
    kwargs = {"size": 5, "lifetime": 4}
    native = vector(3, autoreset_mode=mode, **kwargs)
    sync = SyncVectorEnv([functools.partial(single, **kwargs)] * 3, autoreset_mode=mode)
    assert native.metadata["autoreset_mode"] is sync.metadata["autoreset_mode"] is mode
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    # Different stages: maze 1 begins anew after two steps of the others.
    assert data_equivalence(native.reset(seed=6), sync.reset(seed=6), exact=True)
    assert data_equivalence(native.step([0, 1, 2]), sync.step([0, 1, 2]), exact=True)
    one = np.array([False, True, False])
    ours = native.reset(options={"reset_mask": one})
    theirs = sync.reset(options={"reset_mask": one})
    assert_same_reset(ours, theirs, one)
    for actions in actions_for(3, 30):
        ours, theirs = native.step(actions), sync.step(actions)
        final = theirs[4].pop("final_info", None)
        our_final = ours[4].pop("final_info", None)
        assert data_equivalence(ours, theirs, exact=True)
        assert (final is None) == (our_final is None)
        if final is not None:
            assert our_final.keys() == final.keys()
            mask = theirs[4]["_final_info"]
            for key in final:
                # Gymnasium puts zeros where a maze has no final info; there the masks are False.
                np.testing.assert_array_equal(our_final[key][mask], final[key][mask])
                if key.startswith("_"):
                    np.testing.assert_array_equal(our_final[key], final[key])
        ended = ours[2]
        if mode is not AutoresetMode.NEXT_STEP and ended.any():
            # Where they begin anew by themselves, a reset of one leaves the others running.
            mask = ended.copy() if mode is AutoresetMode.DISABLED else one
            ours, theirs = (envs.reset(options={"reset_mask": mask.copy()}) for envs in (native, sync))
            assert_same_reset(ours, theirs, mask)


@kinds
def test_a_reset_in_place_of_the_autoreset(single, vector):
    """Reset by hand between a lifetime's end and the step that would reset it."""
    kwargs = {"size": 5, "lifetime": 2}
    native = vector(2, autoreset_mode="NextStep", **kwargs)
    sync = SyncVectorEnv([functools.partial(single, **kwargs)] * 2)
    for envs in (native, sync):
        envs.reset(seed=0)
        envs.step([0, 0])
        envs.step([1, 1])
    mask = np.array([True, False])
    native.reset(options={"reset_mask": mask})
    sync.reset(options={"reset_mask": mask})
    for _ in range(5):
        assert data_equivalence(native.step([3, 3]), sync.step([3, 3]), exact=True)


def assert_same_reset(ours, theirs, mask):
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1].keys() == theirs[1].keys()
    for key, value in theirs[1].items():
        np.testing.assert_array_equal(ours[1][key][mask], value[mask])


def test_same_step_is_the_default_and_names_of_modes_work():
    assert GridMazeVector().autoreset_mode is AutoresetMode.SAME_STEP
    assert GridMazeVector(autoreset_mode="NextStep").autoreset_mode is AutoresetMode.NEXT_STEP
    assert GridMazeVector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match="unknown autoreset_mode 'never': expected one of NextStep, SameStep"):
        GridMazeVector(autoreset_mode="never")


@modes
def test_gymnasium_s_wrappers_understand_it(mode):
    envs = RecordEpisodeStatistics(GridMazeVector(4, lifetime=5, autoreset_mode=mode))
    envs.reset(seed=0)
    for _ in range(5):
        *_, infos = envs.step(np.zeros(4, dtype=int))
    assert infos["episode"]["l"].tolist() == [5] * 4
    listed = DictInfoToList(GridMazeVector(2))
    _, infos = listed.reset(seed=0)
    assert [sorted(info) for info in infos] == [["goal", "hits", "position"]] * 2


def test_vector_seeds():
    def goals(seed, count=6):
        return GridMazeVector(count).reset(seed=seed)[1]["goal"].tolist()

    assert goals(5) == goals(5) == goals([5, 6, 7, 8, 9, 10])
    assert goals(5)[1:] == goals(6, 5)
    assert goals([3] * 6) == [goals(3)[0]] * 6
    assert goals(None) != goals(None)
    # A None in a list leaves that maze its stream.
    envs = GridMazeVector(2)
    envs.reset(seed=40)
    twin = GridMazeVector(2)
    twin.reset(seed=40)
    _, partly = envs.reset(seed=[7, None])
    _, later = twin.reset()
    assert partly["goal"][1].tolist() == later["goal"][1].tolist()
    assert partly["goal"][0].tolist() == goals(7)[0]


def test_mazes_beyond_the_first_reset_s_mask_have_streams_of_their_own():
    envs = GridMazeVector(4, autoreset_mode="NextStep")
    envs.reset(seed=0, options={"reset_mask": np.array([True, False, False, False])})
    goals = envs.step(np.zeros(4, dtype=int))[4]["goal"].tolist()
    assert len({tuple(goal) for goal in goals}) > 2


def test_numbers_of_numpy_are_seeds_and_lists_are_masks():
    first, second = (gym.make_vec("PlasticRL/GridMaze-v0", num_envs=2) for _ in range(2))
    assert (first.reset(seed=np.int64(5))[1]["goal"] == second.reset(seed=5)[1]["goal"]).all()
    wrapped = PreviousActionRewardVector(first)
    wrapped.reset(options={"reset_mask": [True, False]})


def test_vector_np_random_follows_gymnasium():
    envs = GridMazeVector(2)
    envs.reset(seed=3)
    assert envs.np_random_seed == 3
    state = envs.np_random.bit_generator.state
    envs.reset()
    assert envs.np_random.bit_generator.state == state
    envs.reset(seed=3)
    assert envs.np_random.bit_generator.state == state


def test_bad_vector_arguments_are_clear_errors():
    envs = GridMazeVector(3)
    with pytest.raises(ResetNeeded, match=r"reset\(\) before step"):
        envs.step([0, 0, 0])
    with pytest.raises(ResetNeeded):
        envs.maze_state()
    with pytest.raises(ValueError, match="seed has 2 seeds: expected one for each of the 3 environments"):
        envs.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="expected whole numbers of at least 0, or None"):
        envs.reset(seed=[1, 2, -3])
    with pytest.raises(gym.error.Error):
        envs.reset(seed=-1)
    with pytest.raises(ValueError, match=r"is int64 of shape \(2,\): expected booleans of shape \(3,\)"):
        envs.reset(options={"reset_mask": np.array([1, 0])})
    with pytest.raises(ValueError, match="at least one environment"):
        envs.reset(options={"reset_mask": np.zeros(3, dtype=bool)})
    envs.reset(seed=0)
    for actions, message in [
        ([0, 1], r"actions are int64 of shape \(2,\): expected whole numbers of shape \(3,\)"),
        ([0.0, 1.0, 2.0], "float64"),
        ([0, 1, 4], "an action is 4: expected a whole number from 0 to 3"),
        ([0, -1, 0], "an action is -1"),
    ]:
        with pytest.raises(InvalidAction, match=message):
            envs.step(actions)
    for wrong in (0, 2.5, "4"):
        with pytest.raises(ValueError, match=r"num_envs is .*: expected a whole number of at least 1"):
            GridMazeVector(wrong)
    with pytest.raises(ValueError, match="unknown render_mode 'human': expected one of rgb_array, ansi"):
        GridMazeVector(2, render_mode="human")


def test_without_autoreset_an_ended_maze_must_be_reset():
    envs = GridMazeVector(3, lifetime=2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.step([0, 0, 0])
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    _, _, ended, _, _ = envs.step([0, 0, 0])
    assert ended.tolist() == [True, False, True]
    with pytest.raises(ResetNeeded, match=r"in environments \[0, 2\].*reset_mask"):
        envs.step([0, 0, 0])
    envs.reset(options={"reset_mask": ended})
    envs.step([0, 0, 0])


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_what_the_vector_env_returns_is_the_caller_s_to_keep(mode):
    """Overwriting everything returned, and the actions given, changes nothing later."""
    clean, dirty = (GridMazeVector(3, lifetime=5, autoreset_mode=mode) for _ in range(2))
    clean.reset(seed=0)
    spoil(dirty.reset(seed=0))
    for actions in actions_for(3, 14):
        given = actions.copy()
        ours, theirs = clean.step(actions), dirty.step(given)
        assert data_equivalence(ours, theirs, exact=True)
        given[:] = 0
        spoil(theirs)


def spoil(returned):
    for value in returned:
        if isinstance(value, dict):
            spoil(value.values())
        elif value.dtype != object:
            value[...] = ~value if value.dtype == bool else value + 1


def test_vector_render():
    envs = GridMazeVector(2, render_mode="ansi")
    envs.reset(seed=1)
    one = GridMaze(render_mode="ansi")
    one.reset(seed=2)
    assert envs.render()[1] == one.render()
    frames = GridMazeVector(2, render_mode="rgb_array")
    frames.reset(seed=1)
    pictures = frames.render()
    assert len(pictures) == 2
    assert pictures[0].dtype == np.uint8
    assert (pictures[0] != pictures[1]).any()
    silent = GridMazeVector(2)
    silent.reset()
    with pytest.warns(UserWarning, match="no render_mode was chosen"):
        assert silent.render() is None

"""The rules of the maze, checked against a plain re-telling of them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from plastic_rl.envs import Action, GridMaze, GridMazeVector, RandomMaze, RandomMazeVector

BOTH = [GridMaze, RandomMaze]
STEPS = {Action.UP: (-1, 0), Action.RIGHT: (0, 1), Action.DOWN: (1, 0), Action.LEFT: (0, -1)}

settings_of_a_maze = st.fixed_dictionaries(
    {
        "size": st.integers(2, 8).map(lambda k: 2 * k + 1),
        "lifetime": st.integers(1, 40),
        "reward": st.floats(0.1, 100.0),
        "wall_penalty": st.floats(0.0, 5.0),
        "view": st.integers(0, 5).map(lambda k: 2 * k + 1),
        "goal": st.sampled_from(["anywhere", "periphery"]),
        "teleport": st.sampled_from(["random", "center"]),
    }
)


def view_of(walls, position, view):
    """Return what is seen from a cell, one cell at a time."""
    half = view // 2
    seen = []
    for row in range(position[0] - half, position[0] + half + 1):
        for column in range(position[1] - half, position[1] + half + 1):
            inside = 0 <= row < len(walls) and 0 <= column < len(walls)
            seen.append(float(walls[row, column]) if inside else 1.0)
    return seen


@pytest.mark.parametrize("maze", BOTH)
@settings(max_examples=60, deadline=None)
@given(kwargs=settings_of_a_maze, seed=st.integers(0, 2**70), actions=st.randoms(use_true_random=False))
def test_every_step_follows_the_rules(maze, kwargs, seed, actions):
    env = maze(**kwargs)
    observation, info = env.reset(seed=seed)
    walls, start, goal = env.maze_state().walls, tuple(info["position"]), tuple(info["goal"])
    free = {tuple(cell) for cell in np.argwhere(~walls)}
    size = kwargs["size"]
    assert start in free
    assert goal in free - {start}
    if kwargs["goal"] == "periphery":
        assert {1, size - 2} & set(goal)
    position, hits = start, 0
    expected_tail = [0.0] * 6
    for step in range(1, kwargs["lifetime"] + 2):
        expected = view_of(walls, position, kwargs["view"]) + expected_tail
        np.testing.assert_array_equal(observation, np.array(expected, dtype=np.float32))
        assert observation in env.observation_space
        assert info["hits"] == hits
        assert tuple(info["goal"]) == goal
        if step > kwargs["lifetime"]:
            break
        action = Action(actions.randrange(4))
        target = (position[0] + STEPS[action][0], position[1] + STEPS[action][1])
        reward = 0.0
        if walls[target]:
            reward, target = -kwargs["wall_penalty"], position
        observation, given_reward, terminated, truncated, info = env.step(action)
        landed = tuple(info["position"])
        if target == goal:
            reward, hits = kwargs["reward"], hits + 1
            assert landed == start if kwargs["teleport"] == "center" else landed in free - {goal}
        else:
            assert landed == target
        position = landed
        assert given_reward == reward
        assert not truncated
        assert terminated == (step == kwargs["lifetime"])
        expected_tail = [float(action == a) for a in Action] + [reward, step / kwargs["lifetime"]]
    with pytest.raises(ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("size", [5, 7, 9, 11, 13, 15])
def test_pillars_stand_at_even_cells_but_never_at_the_centre(size):
    env = GridMaze(size=size)
    _, info = env.reset(seed=0)
    for (row, column), wall in np.ndenumerate(env.maze_state().walls):
        border = row in (0, size - 1) or column in (0, size - 1)
        pillar = row % 2 == 0 and column % 2 == 0 and (row, column) != (size // 2, size // 2)
        assert wall == (border or pillar)
    assert info["position"].tolist() == [size // 2, size // 2]


def test_the_paper_s_maze_has_16_pillars():
    env = GridMaze()
    env.reset()
    assert env.maze_state().walls[1:-1, 1:-1].sum() == 16
    assert env.observation_space.shape == (15,)


@pytest.mark.parametrize("maze", [GridMazeVector, RandomMazeVector])
@pytest.mark.parametrize("goal", ["anywhere", "periphery"])
def test_goals_are_drawn_uniformly(maze, goal):
    """Chi-squared over all goal cells that are free in every layout."""
    open_everywhere = {"openness": 1.0} if maze is RandomMazeVector else {}
    envs = maze(40_000, size=7, goal=goal, **open_everywhere)
    _, infos = envs.reset(seed=11)
    cells, counts = np.unique(infos["goal"], axis=0, return_counts=True)
    # 5 x 5 cells, less 4 pillars and the start; or its ring of 16.
    assert len(cells) == (20 if goal == "anywhere" else 16)
    expected = 40_000 / len(cells)
    # Mean len(cells) - 1, standard deviation about 6: beyond 60 is no chance.
    assert ((counts - expected) ** 2 / expected).sum() < 60


def test_teleports_are_drawn_uniformly():
    """Agents to the left of their goal step on it; where they land is uniform over the other free cells."""
    envs = GridMazeVector(60_000, size=5)
    _, infos = envs.reset(seed=2)
    near = (infos["goal"] == [2, 3]).all(axis=1)
    _, rewards, _, _, after = envs.step(np.full(60_000, int(Action.RIGHT)))
    assert (rewards == np.where(near, 10.0, 0.0)).all()
    cells, counts = np.unique(after["position"][near], axis=0, return_counts=True)
    assert cells.tolist() == [[r, c] for r in (1, 2, 3) for c in (1, 2, 3) if (r, c) != (2, 3)]
    expected = near.sum() / 8
    assert ((counts - expected) ** 2 / expected).sum() < 40


def test_what_happens_in_a_lifetime_does_not_change_the_next():
    def lifetimes(wander):
        env = RandomMaze(lifetime=30)
        for lifetime in range(5):
            _, info = env.reset(seed=9 if lifetime == 0 else None)
            yield info["goal"].tolist(), env.maze_state().walls.tolist()
            for step in range(30):
                env.step(step * step % 4 if wander else Action.UP)

    assert list(lifetimes(wander=True)) == list(lifetimes(wander=False))


@pytest.mark.parametrize("maze", BOTH)
def test_lifetimes_and_seeds_differ(maze):
    env = maze(lifetime=1)
    for first in (0, None):
        drawn = {tuple(env.reset(seed=first if k == 0 else None)[1]["goal"]) for k in range(30)}
        assert len(drawn) > 10
    assert len({tuple(env.reset(seed=s)[1]["goal"]) for s in range(30)}) > 10


def test_observations_and_infos_are_fresh():
    env = GridMaze()
    first, info = env.reset(seed=0)
    kept, kept_goal = first.copy(), info["goal"].copy()
    second, _, _, _, later = env.step(Action.UP)
    second[:] = 7.0
    later["goal"][:] = -1
    later["position"][:] = -1
    assert (first == kept).all()
    third, _, _, _, last = env.step(Action.DOWN)
    assert third in env.observation_space
    assert last["goal"].tolist() == kept_goal.tolist()
    assert last["position"].tolist() == [5, 5]


def test_no_reward_is_minus_zero():
    env = GridMaze(wall_penalty=0.0)
    env.reset(seed=0)
    for _ in range(8):
        assert str(env.step(Action.UP)[1]) == "0.0"


def test_stepping_without_reset_is_a_clear_error():
    env = GridMaze(lifetime=2)
    with pytest.raises(ResetNeeded, match=r"reset\(\) before step"):
        env.step(0)
    env.reset()
    env.step(0)
    env.step(0)
    with pytest.raises(ResetNeeded, match="has ended"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        GridMaze().maze_state()


@pytest.mark.parametrize("action", [4, -1, 1.0, "up", None, np.array([1])])
def test_wrong_actions_are_refused(action):
    env = GridMaze()
    env.reset()
    with pytest.raises(InvalidAction, match="0 to 3"):
        env.step(action)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": 10}, r"size is 10: expected an odd whole number of at least 5; the nearest are 9 and 11"),
        ({"size": 3}, "size is 3: expected an odd whole number of at least 5"),
        ({"size": 11.5}, "size is 11.5: expected an odd whole number"),
        ({"size": "11"}, "size is '11': expected an odd whole number of at least 5"),
        ({"size": True}, "size is True: expected"),
        ({"size": None}, "size is None: expected"),
        ({"size": float("nan")}, "size is nan: expected"),
        ({"size": float("inf")}, "size is inf: expected"),
        ({"lifetime": 0}, "lifetime is 0: expected a whole number of at least 1"),
        ({"lifetime": -5}, "lifetime is -5: expected"),
        ({"lifetime": 2e9}, "lifetime is 2000000000: expected 1 to 1000000000"),
        ({"lifetime": True}, "lifetime is True: expected a whole number of at least 1"),
        ({"reward": 0.0}, "reward is 0.0: expected a finite number above 0"),
        ({"reward": float("nan")}, "reward is nan: expected a finite number"),
        ({"wall_penalty": -0.1}, "wall_penalty is -0.1: expected a finite number of at least 0"),
        ({"wall_penalty": float("inf")}, "wall_penalty is inf: expected a finite number"),
        ({"view": 2}, "view is 2: expected an odd whole number of at least 1; the nearest are 1 and 3"),
        ({"view": 0}, "view is 0: expected"),
        ({"goal": "center"}, "unknown goal 'center': expected one of anywhere, periphery"),
        ({"goal": ["anywhere"]}, r"unknown goal \['anywhere'\]: expected one of"),
        ({"teleport": "goal"}, "unknown teleport 'goal': expected one of random, center"),
        (
            {"render_mode": "humans"},
            "unknown render_mode 'humans': expected one of human, rgb_array, ansi",
        ),
    ],
)
@pytest.mark.parametrize("maze", BOTH)
def test_bad_parameters_name_themselves(maze, kwargs, message):
    with pytest.raises(ValueError, match=message):
        maze(**kwargs)


@pytest.mark.parametrize("openness", [-0.1, 1.1, float("nan"), "some"])
def test_bad_openness_names_itself(openness):
    with pytest.raises(ValueError, match=r"openness is .*: expected a finite number of at least 0 and at most 1"):
        RandomMaze(openness=openness)


@pytest.mark.parametrize(
    ("maze", "name", "guess"),
    [
        (GridMaze, "sise", r"did you mean size\? It has size, lifetime, .*, render_mode$"),
        (RandomMaze, "opennes", r"did you mean openness\?"),
        (GridMaze, "openness", "It has size"),
        (GridMazeVector, "banana", "It has size"),
    ],
)
def test_unknown_settings_name_the_known_ones(maze, name, guess):
    with pytest.raises(TypeError, match=f"^{maze.__name__} has no setting '{name}': {guess}"):
        maze(**{name: 1})


def test_whole_floats_and_numpy_integers_are_whole_numbers():
    env = GridMaze(size=np.int32(7), lifetime=30.0, reward=1)
    assert env.config.size == 7
    assert type(env.config.lifetime) is int
    assert type(env.config.reward) is float


def test_the_wrappers_of_make_pass_actions_of_all_kinds():
    env = gym.make("plastic_rl:PlasticRL/GridMaze-v0")
    env.reset(seed=0)
    for action in (Action.LEFT, 3, np.int64(3), np.array(3)):
        observation, reward, terminated, truncated, _ = env.step(action)
        assert type(reward) is float
        assert type(terminated) is type(truncated) is bool
        assert observation.dtype == np.float32


def test_a_digest_of_a_few_hits_counted_by_hand():
    rewards = np.array([[0, 10, -0.1, 0, 10, 10], [0, 0, 0, 0, 0, -0.1], [0, 0, 10, 0, 0, 0]])
    found = GridMaze().digest(rewards)
    assert found["share_with_a_hit"] == pytest.approx(2 / 3)
    assert found["steps_to_first_hit"] == pytest.approx((2 + 3) / 2)
    assert found["steps_between_hits"] == pytest.approx((3 + 1) / 2)


def test_without_hits_there_are_no_steps_to_them():
    found = GridMazeVector(2).digest(np.zeros((2, 5)))
    assert found == {"share_with_a_hit": 0.0, "steps_to_first_hit": None, "steps_between_hits": None}

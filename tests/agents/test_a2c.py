import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.distributions import make_proba_distribution
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import VecMonitor

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import CnnPlasticPolicy, GymnasiumVecEnv, PlasticA2C
from plastic_rl.agents.policies import squared_probabilities
from plastic_rl.errors import DivergenceError


def maze(count=4, lifetime=20, name="GridMaze", **kwargs):
    return gym.make_vec(f"PlasticRL/{name}-v0", num_envs=count, lifetime=lifetime, size=5, **kwargs)


def agent_for(env, n_steps=20, hidden_size=12, **kwargs):
    policy = {"hidden_size": hidden_size, **kwargs.pop("policy_kwargs", {})}
    return PlasticA2C("PlasticPolicy", env, n_steps=n_steps, policy_kwargs=policy, seed=0, device="cpu", **kwargs)


class Letters(gym.Env):
    """Discrete observations and actions: reward for the action that equals the observation."""

    observation_space = spaces.Discrete(3)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.shown = 0, int(self.np_random.integers(3))
        return self.shown, {}

    def step(self, action):
        reward = float(action == self.shown)
        self.t, self.shown = self.t + 1, int(self.np_random.integers(3))
        return self.shown, reward, self.t == 10, False, {}


class Odd(gym.Env):
    """Any spaces; refuses actions outside its action space."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t == 10, self.t == 7, {}


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {"rule": "hebb", "alpha": "connection"},
        {"rule": "oja", "alpha": "neuron", "nonlinearity": "relu"},
        {"rule": "clip", "alpha": "shared", "learn_eta": False},
        {"core": "rnn"},
        {"rule": "clip", "modulation": "simple", "fan_out": "neuron"},
        {"rule": "soft_clip", "modulation": "retroactive", "modulator_nonlinearity": "sigmoid", "engine": "reference"},
        {"core": "plastic_lstm", "rule": "clip", "bound": 2.0, "modulation": "retroactive", "forget_bias": 1.0},
        {"core": "lstm", "net_arch": [8]},
        {"core": "gru"},
        {"core": "memoryless"},
    ],
)
def test_every_core_trains(policy_kwargs):
    agent = agent_for(maze(), policy_kwargs=policy_kwargs)
    before = [p.clone() for p in agent.policy.parameters()]
    agent.learn(160)
    assert agent.num_timesteps == 160
    assert all(torch.isfinite(p).all() for p in agent.policy.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, agent.policy.parameters(), strict=True))


@pytest.mark.parametrize("lifetime", [20, 13, 30], ids=["as long as", "shorter than", "longer than"])
def test_replay_repeats_what_the_agent_did(lifetime):
    """Acting and replay give the same values, for lifetimes as long as, shorter and longer than a rollout."""
    agent = agent_for(maze(lifetime=lifetime))
    agent.learn(80)
    seen = []
    original = agent.train

    def again(rollout):
        with torch.no_grad():
            features = agent.policy.features(rollout.observations.flatten(0, 1)).unflatten(0, (20, 4))
            hidden, _ = agent.policy.core(features, agent._stepper._first, episode_start=rollout.episode_starts)
            return agent.policy.heads(hidden.flatten(0, 1))[1].reshape(20, 4)

    def train():
        rollout = next(agent.rollout_buffer.get())
        _, values = agent.policy.replay(rollout.observations, agent._stepper)
        acted = torch.as_tensor(agent.rollout_buffer.values.copy())
        seen.append((values.detach().reshape(20, 4), again(rollout), acted))
        original()

    agent.train = train
    agent.learn(240, reset_num_timesteps=False)
    assert len(seen) == 3
    for replayed, computed_anew, acted in seen:
        torch.testing.assert_close(replayed, acted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(computed_anew, acted, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_reference_engine():
    gradients = []
    for engine in ("fused", "reference"):
        agent = agent_for(maze(lifetime=13), policy_kwargs={"engine": "fused"})
        agent.learn(80)
        agent.collect_rollouts(agent.env, agent._init_callback(None), agent.rollout_buffer, 20)
        agent.policy.core.engine = engine
        agent.policy.optimizer.step = lambda: None
        agent.train()
        gradients.append([p.grad.clone() for p in agent.policy.parameters()])
    for fused, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, reference, rtol=1e-3, atol=1e-5)


def test_a_cut_episode_bootstraps_and_a_finished_one_does_not(target_env):
    agent = agent_for(gym.vector.SyncVectorEnv([target_env] * 2, autoreset_mode=AutoresetMode.SAME_STEP), n_steps=10)
    agent.learn(20)
    state = agent.policy.core.initial_state(2)
    hidden = state._replace(hidden=state.hidden + 0.5)

    class Stepper:
        state = hidden

    last = np.ones((2, 2), np.float32)
    infos = [{"terminal_observation": last[0], "TimeLimit.truncated": True}, {"terminal_observation": last[1]}]
    agent._core_state = state
    rewards = agent._with_bootstrap(np.zeros(2, np.float32), infos, Stepper())
    one = type(hidden)(*(s[:1] for s in hidden))
    expected = agent.gamma * agent._value(last[:1], one, np.zeros(1, bool)).item()
    assert rewards[0] == pytest.approx(expected)
    assert expected != 0
    assert rewards[1] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: "CartPole-v1",
        lambda: gym.make("CartPole-v1"),
        lambda: make_vec_env("CartPole-v1", 2),
        lambda: gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
        lambda: gym.vector.SyncVectorEnv([Letters] * 2, autoreset_mode=AutoresetMode.DISABLED),
        lambda: gym.vector.SyncVectorEnv([Letters] * 2, autoreset_mode=AutoresetMode.SAME_STEP),
        lambda: maze(name="RandomMaze"),
    ],
)
def test_every_kind_of_environment_is_accepted(make):
    agent = agent_for(make(), n_steps=16).learn(64)
    assert agent.num_timesteps >= 64


@pytest.mark.parametrize(
    ("observation_space", "action_space"),
    [
        (spaces.Discrete(3, start=5), spaces.Discrete(2, start=1)),
        (spaces.Discrete(3, start=-1), spaces.Discrete(2, start=-4)),
        (spaces.Box(-1, 1, (2, 3), np.float64), spaces.Box(-2, 3, (2, 2), np.float32)),
        (spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Box(-1, 1, (1, 3), np.float32)),
        (spaces.Box(-1, 1, (), np.float32), spaces.Box(-1, 1, (), np.float32)),
        (spaces.MultiDiscrete([3, 4]), spaces.Discrete(2)),
        (spaces.MultiDiscrete([6, 6], start=[1, -1]), spaces.MultiDiscrete([8, 2], start=[-3, 1])),
        (spaces.MultiDiscrete([[3, 4], [2, 2]], start=[[0, 1], [2, 3]]), spaces.MultiBinary(3)),
        (spaces.MultiBinary(3), spaces.MultiDiscrete([2])),
        (spaces.MultiBinary((2, 3)), spaces.Discrete(2)),
    ],
    ids=str,
)
def test_every_supported_space_is_accepted(observation_space, action_space, tmp_path):
    env = Odd(observation_space, action_space)
    agent = agent_for(env, n_steps=16).learn(64)
    env.reset()
    env.step(agent.predict(env.observation_space.sample())[0])
    batch = np.stack([env.observation_space.sample() for _ in range(5)])
    actions, state = agent.predict(batch)
    assert all(action in action_space for action in np.asarray(actions, action_space.dtype))
    values, decided = agent.policy.look(state)
    assert (len(values), len(decided)) == (5, 5)
    agent.save(tmp_path / "agent")
    assert PlasticA2C.load(tmp_path / "agent", env).learn(16).action_space == action_space


@pytest.mark.parametrize("core", ["plastic", "lstm", "memoryless"])
def test_several_numbers_are_observed_and_chosen_at_once(core):
    """Chance: 1/3 and 1/2 of 10. Ceiling: 10 each. Learned: more than 9 each, wherever they are counted from."""

    class Copy(gym.Env):
        observation_space = spaces.MultiDiscrete([[3], [2]], start=[[5], [-1]])
        action_space = spaces.MultiDiscrete([3, 2], start=[2, 7])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t, self.shown = 0, self.np_random.integers([3, 2])
            return self.shown[:, None] + [[5], [-1]], {}

        def step(self, action):
            reward = float((action - [2, 7] == self.shown).sum())
            self.t += 1
            self.shown = self.np_random.integers([3, 2])
            return self.shown[:, None] + [[5], [-1]], reward, self.t == 10, False, {}

    env = gym.vector.SyncVectorEnv([Copy] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    settings = {"learning_rate": 1e-2, "gamma": 0.0, "normalize_advantage": True, "policy_kwargs": {"core": core}}
    agent = agent_for(env, n_steps=10, **settings).learn(16_000)
    mean, _ = evaluate_policy(agent, Copy(), 20, warn=False)
    assert mean > 18


def test_switches_are_learned():
    """Chance: 15 of 30. Ceiling: 30. Learned: more than 27."""

    class Switches(gym.Env):
        observation_space, action_space = spaces.MultiBinary((3, 1)), spaces.MultiBinary(3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t, self.shown = 0, self.np_random.integers(2, size=(3, 1)).astype(np.int8)
            return self.shown, {}

        def step(self, action):
            reward = float((action == self.shown[:, 0]).sum())
            self.t += 1
            self.shown = self.np_random.integers(2, size=(3, 1)).astype(np.int8)
            return self.shown, reward, self.t == 10, False, {}

    env = gym.vector.SyncVectorEnv([Switches] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = agent_for(env, n_steps=10, learning_rate=1e-2, gamma=0.0, normalize_advantage=True).learn(16_000)
    mean, _ = evaluate_policy(agent, Switches(), 20, warn=False)
    assert mean > 27


@pytest.mark.parametrize("kind", ["categorical", "several", "binary", "normal"])
def test_the_penalty_is_the_sum_of_squared_probabilities(kind):
    space = {"categorical": spaces.Discrete(3), "several": spaces.MultiDiscrete([3, 2]),
             "binary": spaces.MultiBinary(2), "normal": spaces.Box(-1, 1, (2,))}[kind]  # fmt: skip
    distribution = make_proba_distribution(space)
    if kind == "normal":
        assert squared_probabilities(distribution.proba_distribution(torch.zeros(1, 2), torch.zeros(1, 2))) is None
        return
    logits = {"categorical": [0.5, 0.25, 0.25], "several": [0.5, 0.25, 0.25, 0.9, 0.1], "binary": [3.0, 1.0]}[kind]
    found = squared_probabilities(distribution.proba_distribution(torch.tensor([logits]).log()))
    expected = {"categorical": 0.375, "several": 0.375 + 0.82, "binary": 0.625 + 0.5}[kind]
    assert found.item() == pytest.approx(expected)


TEXT = spaces.Text(5)


@pytest.mark.parametrize(
    ("space", "advice"),
    [
        (TEXT, "TransformObservation can turn it into a Box"),
        (spaces.Sequence(spaces.Discrete(3)), "TransformObservation can turn it into a Box"),
        (spaces.OneOf([spaces.Discrete(2)]), "TransformObservation can turn it into a Box"),
        (spaces.Graph(spaces.Discrete(2), None), "TransformObservation can turn it into a Box"),
        (spaces.Dict(image=spaces.Box(0, 1, (2,)), mission=TEXT),
         "leave mission out with gymnasium.wrappers.FilterObservation; then gymnasium.wrappers.FlattenObservation"),
        (spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2))), "gymnasium.wrappers.FlattenObservation makes it a Box"),
        (spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]), "gymnasium.wrappers.FlattenObservation makes it"),
        (spaces.Tuple([TEXT]), "TransformObservation can turn it into a Box"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_observations_of_another_kind_are_named_with_advice(space, advice):
    with pytest.raises(
        TypeError, match=f"observations of a kind that is not supported: {type(space).__name__}.*{advice}"
    ):
        agent_for(Odd(space, spaces.Discrete(2)))


def test_the_advice_for_a_mission_works():
    env = Odd(spaces.Dict(image=spaces.Box(0, 1, (2,)), mission=TEXT), spaces.Discrete(2))
    env = gym.wrappers.FlattenObservation(gym.wrappers.FilterObservation(env, ["image"]))
    assert agent_for(env, n_steps=16).learn(32).observation_space.shape == (2,)


@pytest.mark.parametrize("core", ["plastic", "lstm"])
def test_images_are_seen_by_convolutions_or_flattened_with_a_word(core, tmp_path):
    env = Odd(spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Discrete(2))
    settings = {"n_steps": 16, "seed": 0, "device": "cpu", "policy_kwargs": {"hidden_size": 12, "core": core}}
    agent = PlasticA2C("CnnPlasticPolicy", env, **settings).learn(32)
    assert type(agent.policy.features_extractor) is NatureCNN
    agent.save(tmp_path / "agent")
    loaded = PlasticA2C.load(tmp_path / "agent", env, device="cpu").learn(16)
    assert type(loaded.policy) is CnnPlasticPolicy
    loaded.predict(env.observation_space.sample())
    with pytest.warns(UserWarning, match="images are flattened.*CnnPlasticPolicy sees them by a convolutional network"):
        PlasticA2C("PlasticPolicy", env, **settings)


def test_arguments_that_cannot_work_are_refused_with_the_reason():
    space = spaces.Dict(a=spaces.Box(0, 1, (2,)))
    with pytest.raises(TypeError, match=r"observations of a kind that is not supported: Dict\('a'.*FlattenObservation"):
        agent_for(Odd(space, spaces.Discrete(2)))
    with pytest.raises(TypeError, match="env is None"):
        agent_for(None)
    for name, value in (("n_steps", 0), ("gamma", 1.1), ("gae_lambda", -1), ("max_grad_norm", 0)):
        with pytest.raises(ValueError, match=f"{name} is {value}: expected"):
            agent_for(maze(), **{"n_steps": 20, name: value})
    with pytest.raises(ValueError, match="share_features_extractor"):
        agent_for(maze(), policy_kwargs={"share_features_extractor": False})
    with pytest.raises(ValueError, match=r"obs, info = env.reset\(\)"):
        agent_for(maze()).predict(maze().reset())


def test_the_optimizer_is_adam_as_in_the_paper_unless_another_is_asked_for():
    def options(**kwargs):
        return agent_for(maze(), policy_kwargs=kwargs).policy.optimizer.defaults

    assert options()["eps"] == 1e-4
    assert options(optimizer_kwargs={"eps": 1e-3})["eps"] == 1e-3
    assert options(optimizer_kwargs={"weight_decay": 0.1})["eps"] == 1e-4
    assert "eps" not in options(optimizer_class=torch.optim.SGD)


def test_mazes_that_do_not_restart_train_alike():
    agents = [
        agent_for(maze(lifetime=13, autoreset_mode=mode)).learn(160)
        for mode in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)
    ]
    weights = [agent.policy.state_dict() for agent in agents]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("action_space", "says"),
    [
        (
            spaces.MultiDiscrete([[2, 2]]),
            r"MultiDiscrete\(\[\[2 2\]\]\) has more than one dimension; gymnasium",
        ),
        (spaces.MultiBinary((3, 2)), r"MultiBinary\(\(3, 2\)\) has more than one dimension"),
        (spaces.Text(3), r"actions of a kind that is not supported: Text.*TransformAction"),
    ],
    ids=["MultiDiscrete", "MultiBinary", "Text"],
)
def test_unsupported_actions_are_named(action_space, says):
    env = Letters()
    env.action_space = action_space
    with pytest.raises((AssertionError, TypeError), match=says):
        agent_for(env)


def test_callbacks_of_stable_baselines_work(tmp_path):
    checkpoints = CheckpointCallback(20, tmp_path / "kept")
    evaluation = EvalCallback(GymnasiumVecEnv(maze()), eval_freq=20, n_eval_episodes=4, verbose=0, warn=False)
    agent = agent_for(maze()).learn(160, [checkpoints, evaluation])
    files = sorted((tmp_path / "kept").iterdir())
    assert len(files) == 2
    assert np.isfinite(evaluation.best_mean_reward)
    weights = PlasticA2C.load(files[0]).policy.state_dict()
    assert weights.keys() == agent.policy.state_dict().keys()


def test_training_continues_after_a_callback_stopped_it_in_the_middle():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 27

    agent = agent_for(maze())
    agent.learn(400, Stop())
    assert agent.num_timesteps == 27 * 4
    agent.learn(80, reset_num_timesteps=False)
    assert agent.num_timesteps == 27 * 4 + 80


def test_a_callback_that_stops_as_a_lifetime_ends_leaves_the_start_of_the_next():
    class Stop(BaseCallback):
        def _on_step(self):
            return not self.locals["dones"].any()

    agent = agent_for(maze())
    agent.learn(400, Stop())
    assert agent._last_episode_starts.all()
    seen = []

    class See(BaseCallback):
        def _on_step(self):
            seen.append((self.locals["features"].numpy().copy(), self.locals["starts"].clone()))
            return True

    agent.learn(80, See(), reset_num_timesteps=False)
    features, starts = seen[0]
    assert starts.all()
    assert (features[:, -1] == 0).all()  # nothing of the lifetime has passed


def test_advantages_of_a_single_step_are_not_normalized():
    agent = agent_for(maze(1), n_steps=1, normalize_advantage=True).learn(3)
    assert all(parameter.isfinite().all() for parameter in agent.policy.parameters())


def test_evaluate_policy_and_predict():
    agent = agent_for(maze()).learn(80)
    _, lengths = evaluate_policy(agent, GymnasiumVecEnv(maze()), 6, return_episode_rewards=True, warn=False)
    assert lengths == [20] * 6
    batch = maze().reset(seed=0)[0]
    actions, state = agent.predict(batch, deterministic=True)
    again, _ = agent.predict(batch, None, np.ones(4, bool), deterministic=True)
    assert (actions == again).all()
    fresh, _ = agent.predict(batch, state, np.ones(4, bool), deterministic=True)
    assert (actions == fresh).all()
    single, _ = agent.predict(batch[0])
    assert np.shape(single) == ()
    assert (state.hidden.shape, state.trace.shape) == ((4, 12), (4, 12, 12))
    actions_from_plain_tuple, _ = agent.predict(batch, tuple(state), deterministic=True)
    assert (actions_from_plain_tuple == agent.predict(batch, state, deterministic=True)[0]).all()


def test_divergence_is_an_error_and_leaves_the_weights():
    agent = agent_for(maze()).learn(80)
    before = {k: v.clone() for k, v in agent.policy.state_dict().items()}
    agent.rollout_buffer.compute_returns_and_advantage = lambda *a, **k: agent.rollout_buffer.advantages.fill(np.nan)
    with pytest.raises(DivergenceError, match="step 160"):
        agent.learn(80, reset_num_timesteps=False)
    assert all(torch.equal(v, before[k]) for k, v in agent.policy.state_dict().items())


def test_a_continuous_target_is_hit(target_env):
    """Chance: about -0.9 a step (uniform actions). Ceiling: 0. Learned: better than -0.35."""
    env = gym.vector.SyncVectorEnv([target_env] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = agent_for(env, n_steps=10, learning_rate=3e-3, normalize_advantage=True, vf_coef=0.5, max_grad_norm=0.5)
    agent.learn(24_000)
    mean, _ = evaluate_policy(agent, target_env(), 10, warn=False)
    assert mean / 10 > -0.35


def test_discrete_observations_are_learned():
    """Chance: 3.3 of 10. Ceiling: 10. Learned: more than 9."""
    env = gym.vector.SyncVectorEnv([Letters] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = agent_for(env, n_steps=10, learning_rate=1e-2, normalize_advantage=True).learn(16_000)
    mean, _ = evaluate_policy(agent, Letters(), 20, warn=False)
    assert mean > 9


@pytest.mark.slow
def test_cartpole_is_solved():
    """Chance: about 20. Ceiling, and what counts as solved: 500, and 475. Tried with five seeds: 130 to 240 k steps."""
    agent = PlasticA2C(
        "PlasticPolicy",
        gym.make_vec("CartPole-v1", num_envs=8, vectorization_mode="sync"),
        n_steps=8,
        learning_rate=lambda remaining: 2e-3 * remaining,
        gamma=0.98,
        gae_lambda=0.95,
        vf_coef=0.02,  # values are near 50: a larger weight would drown the policy's gradient
        squared_prob_coef=0.0,
        max_grad_norm=0.5,
        normalize_advantage=True,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden_size": 64, "optimizer_kwargs": {"eps": 1e-8}},
    )
    tested = VecMonitor(GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=10, vectorization_mode="sync")))
    tested.seed(1000)
    solved = EvalCallback(
        tested,
        callback_on_new_best=StopTrainingOnRewardThreshold(475, verbose=0),
        eval_freq=2000,
        n_eval_episodes=20,
        verbose=0,
    )
    agent.learn(400_000, callback=solved)
    assert solved.best_mean_reward >= 475
    tested.seed(2000)
    mean, _ = evaluate_policy(agent, tested, 30, deterministic=True)
    assert mean >= 450  # other episodes than those it was chosen by

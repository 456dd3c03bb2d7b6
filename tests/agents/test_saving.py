import inspect
import io
import json
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import GymnasiumVecEnv, PlasticA2C, PlasticPolicy
from plastic_rl.agents.archive import ArchiveError
from plastic_rl.agents.saving import NOT_SAVED
from plastic_rl.settings import MazeRun


def maze(name="GridMaze"):
    return gym.make_vec(f"PlasticRL/{name}-v0", num_envs=3, lifetime=13, size=5)


def new_agent(name="GridMaze", **policy_kwargs):
    kwargs = {"hidden_size": 8, **policy_kwargs}
    return PlasticA2C("PlasticPolicy", maze(name), n_steps=10, seed=0, device="cpu", policy_kwargs=kwargs)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("agent") / "agent.zip"
    new_agent().learn(60).save(path, include=["run"])
    return path.read_bytes()


KINDS = pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"core": "rnn"},
        {"core": "lstm"},
        {"core": "gru"},
        {"rule": "oja", "alpha": "shared"},
        {"rule": "clip", "modulation": "simple", "fan_out": "neuron"},
        {"rule": "clip", "modulation": "retroactive", "modulator_nonlinearity": "sigmoid"},
        {"core": "plastic_lstm", "rule": "clip", "modulation": "retroactive"},
    ],
)


@KINDS
def test_a_saved_agent_acts_the_same(kwargs, tmp_path):
    agent = new_agent(**kwargs).learn(60)
    agent.save(tmp_path / "agent")
    loaded = PlasticA2C.load(tmp_path / "agent")
    observations = maze().reset(seed=1)[0]
    first, second = (a.predict(observations, deterministic=True) for a in (agent, loaded))
    assert (first[0] == second[0]).all()
    for a, b in zip(first[1], second[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.num_timesteps == 60


@KINDS
def test_a_continuation_of_every_core_is_exact(kwargs, tmp_path):
    check_continuation(tmp_path, **kwargs)


@pytest.mark.parametrize("name", ["GridMaze", "RandomMaze"])
def test_a_continuation_is_exact(name, tmp_path):
    check_continuation(tmp_path, name)


def check_continuation(tmp_path, name="GridMaze", **kwargs):
    """Rollouts have 10 steps and lifetimes 13, so that training stops within lifetimes."""
    straight = new_agent(name, **kwargs).learn(240)
    new_agent(name, **kwargs).learn(120).save(tmp_path / "half.zip", include=["run"])
    resumed = PlasticA2C.load(tmp_path / "half.zip", env=maze(name), resume=True, device="cpu")
    resumed.learn(120, reset_num_timesteps=False)
    assert resumed.num_timesteps == straight.num_timesteps
    for (key, a), b in zip(straight.policy.state_dict().items(), resumed.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    # The first lifetime to end after the stop is logged as a whole.
    assert [info["l"] for info in resumed.ep_info_buffer] == [13] * len(resumed.ep_info_buffer) != []
    assert resumed.ep_info_buffer[0]["r"] in [info["r"] for info in straight.ep_info_buffer]


class Keep(BaseCallback):
    """Saves the agent in the middle of a rollout."""

    def __init__(self, path, at):
        super().__init__()
        self.path, self.at = path, at

    def _on_step(self):
        if self.n_calls == self.at:
            self.model.save(self.path, include=["run"])
            self.kept = self.model._acting.state, self.training_env.env_method("get_state", indices=0)[0]
        return True


def test_everything_that_a_callback_saves_is_of_one_moment(tmp_path):
    agent, keep = new_agent(), Keep(tmp_path / "kept.zip", 17)
    agent.learn(120, keep)
    resumed = PlasticA2C.load(tmp_path / "kept.zip", env=maze(), resume=True, device="cpu")
    core, mazes = keep.kept
    for kept, taken_up in zip(core, resumed._core_state, strict=True):
        assert torch.equal(kept, taken_up)
    assert core.trace.any()
    for name, array in resumed.env.env_method("get_state", indices=0)[0].items():
        np.testing.assert_array_equal(array, mazes[name])
    np.testing.assert_array_equal(resumed._last_obs, resumed.env.get_attr("dynamics", 0)[0].observe())


def test_an_interrupted_agent_continues_where_it_was():
    class Interrupt(BaseCallback):
        def _on_step(self):
            if self.n_calls == 17:
                raise KeyboardInterrupt
            return True

    agent = new_agent()
    with pytest.raises(KeyboardInterrupt):
        agent.learn(120, Interrupt())
    assert (agent._last_obs == agent.env.get_attr("dynamics", 0)[0].observe()).all()
    torch.testing.assert_close(agent._core_state.hidden, agent._stepper.outputs[6])


@pytest.mark.parametrize("norm_obs", [False, True])
def test_a_continuation_with_normalization_is_exact(norm_obs, tmp_path):
    def new_env():
        return VecNormalize(GymnasiumVecEnv(maze()), norm_obs=norm_obs)

    def new():
        return PlasticA2C("PlasticPolicy", new_env(), 1e-2, n_steps=10, seed=0, policy_kwargs={"hidden_size": 8})

    straight = new().learn(240)
    new().learn(120).save(tmp_path / "half.zip", include=["run"])
    resumed = PlasticA2C.load(tmp_path / "half.zip", env=new_env(), resume=True)
    resumed.learn(120, reset_num_timesteps=False)
    for (key, a), b in zip(straight.policy.state_dict().items(), resumed.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    with pytest.raises(ArchiveError, match="VecNormalize"):
        PlasticA2C.load(tmp_path / "half.zip", env=maze(), resume=True)


def test_episodes_of_environments_that_cannot_be_put_back_start_again(tmp_path):
    agent = PlasticA2C("PlasticPolicy", "CartPole-v1", n_steps=10, policy_kwargs={"hidden_size": 8}).learn(30)
    assert not agent.keeps_episodes
    agent.save(tmp_path / "agent", include=["run"])
    resumed = PlasticA2C.load(tmp_path / "agent", env=gym.make("CartPole-v1"), resume=True)
    assert resumed.learn(30, reset_num_timesteps=False).num_timesteps == 60


def test_an_environment_whose_wrapper_has_a_memory_cannot_be_put_back():
    env = VecFrameStack(GymnasiumVecEnv(maze()), 2)
    assert not PlasticA2C("PlasticPolicy", env, n_steps=10, policy_kwargs={"hidden_size": 8}).keeps_episodes
    assert new_agent().keeps_episodes


def test_training_does_not_resume_in_mazes_of_another_size(saved):
    for size, lifetime in ((7, 13), (5, 14)):
        other = gym.make_vec("PlasticRL/GridMaze-v0", num_envs=3, lifetime=lifetime, size=size)
        with pytest.raises(ArchiveError, match="size, view and lifetime"):
            PlasticA2C.load(io.BytesIO(saved), env=other, resume=True)


def test_files_can_be_open_ones(saved):
    copy = io.BytesIO()
    PlasticA2C.load(io.BytesIO(saved)).save(copy)
    assert PlasticA2C.load(io.BytesIO(copy.getvalue())).num_timesteps == 60


def with_members(saved, **changes):
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved)) as old, zipfile.ZipFile(content, "w") as new:
        members = {name: old.read(name) for name in old.namelist()} | changes
        for name, data in members.items():
            if data is not None:
                new.writestr(name, data)
    return content.getvalue()


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_hostile_and_damaged_files_are_refused_and_run_nothing(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = tmp_path / "ran"
    pickled = pickle.dumps(Payload(trap))
    torch_pickled = io.BytesIO()
    torch.save(Payload(trap), torch_pickled)
    cases = {
        "empty": b"",
        "text": b"not an agent",
        "pickle": pickled,
        "truncated": saved[: len(saved) // 2],
        "extra member": with_members(saved, **{"more.txt": b"x"}),
        "path that climbs out": with_members(saved, **{"../evil": b"x"}),
        "missing member": with_members(saved, **{"config.json": None}),
        "not JSON": with_members(saved, **{"config.json": b"{"}),
        "JSON of something else": with_members(saved, **{"config.json": b"[1]"}),
        "another format": with_members(saved, **{"config.json": b"{}"}),
        "weights that are a pickle": with_members(saved, **{"policy.safetensors": pickled}),
        "training that is a pickle": with_members(saved, **{"training.pt": pickled}),
        "training that is a torch pickle": with_members(saved, **{"training.pt": torch_pickled.getvalue()}),
    }
    listing = sorted(tmp_path.iterdir())
    for name, content in cases.items():
        with pytest.raises(ArchiveError):
            PlasticA2C.load(io.BytesIO(content))
        assert sorted(tmp_path.iterdir()) == listing, name
    assert pickle.loads(pickled)  # the trap does work where it is run
    assert trap.exists()


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("policy_kwargs", {"hidden_size": -1}),
        ("policy_kwargs", {"core": "nonsense"}),
        ("policy_kwargs", {"optimizer_class": "nonsense"}),
        ("policy_kwargs", {"activation_fn": {"class": "nonsense"}}),
        ("policy_kwargs", {"activation_fn": {"class": ["Tanh"]}}),
        ("policy_kwargs", {"optimizer_class": {"class": "Tanh"}}),
        ("policy_kwargs", {"features_extractor_class": {"class": "Adam"}}),
        ("settings", {"n_steps": 0}),
        ("settings", {"learning_rate": -1}),
        ("settings", {"seed": "nonsense"}),
        (None, {"num_timesteps": float("inf")}),
        (None, {"num_timesteps": "nonsense"}),
        (None, {"action_space": None}),
        (None, {"observation_space": {"type": "Dict"}}),
    ],
)
def test_impossible_settings_are_refused(saved, part, changes):
    with zipfile.ZipFile(io.BytesIO(saved)) as old:
        config = json.loads(old.read("config.json"))
    (config[part] if part else config).update(changes)
    with pytest.raises(ArchiveError):
        PlasticA2C.load(io.BytesIO(with_members(saved, **{"config.json": json.dumps(config)})))


def test_weights_of_another_architecture_are_refused(saved, tmp_path):
    new_agent(hidden_size=9).save(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "other.zip") as other:
        weights = other.read("policy.safetensors")
    with pytest.raises(ArchiveError, match="do not fit"):
        PlasticA2C.load(io.BytesIO(with_members(saved, **{"policy.safetensors": weights})))


def test_an_environment_with_other_spaces_is_refused(saved):
    with pytest.raises(ValueError, match=r"[Ss]pace"):
        PlasticA2C.load(io.BytesIO(saved), env=gym.make("CartPole-v1"))


class Own(PlasticPolicy):
    """A policy that a user wrote."""


def test_an_agent_with_a_users_policy_is_loaded_with_its_class(tmp_path):
    agent = PlasticA2C(Own, maze(), n_steps=10, seed=0, device="cpu", policy_kwargs={"hidden_size": 8})
    agent.save(tmp_path / "own")
    assert isinstance(PlasticA2C.load(tmp_path / "own", policy=Own).policy, Own)
    with pytest.raises(ArchiveError, match="its policy is of the class Own: give that class as policy"):
        PlasticA2C.load(tmp_path / "own")


class Extracted(PlasticPolicy):
    """A policy with a features extractor of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, features_extractor_class=Extractor, **kwargs)


class Extractor(BaseFeaturesExtractor):
    """A features extractor with weights."""

    def __init__(self, space):
        super().__init__(space, 6)
        self.layer = torch.nn.Linear(space.shape[0], 6)

    def forward(self, observations):
        return self.layer(observations)


def test_the_weights_of_a_features_extractor_are_kept(tmp_path):
    agent = PlasticA2C(Extracted, maze(), n_steps=10, seed=0, device="cpu", policy_kwargs={"hidden_size": 8}).learn(60)
    agent.save(tmp_path / "agent")
    loaded = PlasticA2C.load(tmp_path / "agent", env=maze(), policy=Extracted).policy
    assert torch.equal(loaded.features_extractor.layer.weight, agent.policy.features_extractor.layer.weight)


def test_a_warning_before_training_names_settings_that_cannot_be_saved():
    with pytest.warns(UserWarning, match="features_extractor_class in .* cannot be saved: .*subclass of PlasticPolicy"):
        agent = new_agent(features_extractor_class=Extractor)
    with pytest.raises(TypeError, match="subclass of PlasticPolicy"):
        agent.save(io.BytesIO())


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {"net_arch": [16], "activation_fn": torch.nn.ReLU},
        {"net_arch": {"pi": (9,), "vf": np.array([7])}, "activation_fn": torch.nn.SiLU},
        {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"eps": np.float32(1e-3)}},
        {"features_extractor_class": FlattenExtractor},
        {"hidden_size": np.int64(8), "eta": np.float32(0.25), "learn_eta": np.bool_(False)},
        {"hidden_size": 8.0},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_the_usual_settings_of_policies_are_saved(policy_kwargs, tmp_path):
    agent = new_agent(**policy_kwargs).learn(30)
    agent.save(tmp_path / "agent")
    loaded = PlasticA2C.load(tmp_path / "agent", device="cpu")
    assert repr(loaded.policy) == repr(agent.policy)
    assert type(loaded.policy.optimizer) is type(agent.policy.optimizer)
    for found, kept in zip(loaded.policy.parameters(), agent.policy.parameters(), strict=True):
        assert torch.equal(found, kept)


def test_numbers_of_numpy_are_saved_like_numbers(tmp_path):
    settings = {"n_steps": np.int64(10), "gamma": np.float32(0.5), "vf_coef": np.array(0.25), "seed": np.int32(3)}
    PlasticA2C("PlasticPolicy", maze(), policy_kwargs={"hidden_size": 8}, **settings).save(tmp_path / "agent")
    loaded = PlasticA2C.load(tmp_path / "agent")
    assert [(getattr(loaded, name), type(getattr(loaded, name))) for name in settings] == [
        (10, int), (0.5, float), (0.25, float), (3, int)
    ]  # fmt: skip


def test_keywords_of_stable_baselines_are_taken(saved, capsys):
    def load(**kwargs):
        return PlasticA2C.load(io.BytesIO(saved), **kwargs)

    load(custom_objects=None, print_system_info=False, force_reset=True)
    assert not capsys.readouterr().out
    load(print_system_info=True)
    assert "Stable-Baselines3" in capsys.readouterr().out
    replaced = load(custom_objects={"learning_rate": 0.5, "gamma": 0.25, "clip_range": lambda left: 0.0})
    assert (replaced.lr_schedule(1), replaced.gamma) == (0.5, 0.25)
    assert load(custom_objects={"lr_schedule": lambda left: 0.125}).lr_schedule(1) == 0.125
    assert load(custom_objects={"gamma": 0.25}, gamma=0.75).gamma == 0.75
    with pytest.raises(TypeError, match="force_reset is False: episodes go on with resume=True"):
        load(force_reset=False)


def test_a_warning_tells_of_a_learning_rate_that_a_schedule_brought_to_0(tmp_path):
    agent = PlasticA2C("PlasticPolicy", maze(), lambda left: 1e-3 * left, n_steps=10, policy_kwargs={"hidden_size": 8})
    agent.learn(60).save(tmp_path / "agent")
    with pytest.warns(UserWarning, match="learning rate was 0"):
        PlasticA2C.load(tmp_path / "agent", env=maze())
    assert PlasticA2C.load(tmp_path / "agent", env=maze(), learning_rate=1e-3).lr_schedule(1) == 1e-3


def test_parameters_are_set_from_a_file(saved, tmp_path):
    (tmp_path / "agent.zip").write_bytes(saved)
    (tmp_path / "agent").mkdir()
    agent, expected = new_agent(), PlasticA2C.load(tmp_path / "agent")
    agent.set_parameters(tmp_path / "agent", device="cpu")
    agent.set_parameters(agent.get_parameters())
    for found, kept in zip(agent.policy.parameters(), expected.policy.parameters(), strict=True):
        assert torch.equal(found, kept)
    assert agent.policy.optimizer.state_dict()["state"].keys() == expected.policy.optimizer.state_dict()["state"].keys()


def test_every_constructor_argument_is_saved_or_known_not_to_be():
    given_to_load = {"policy", "env", "device"}
    arguments = set(inspect.signature(PlasticA2C).parameters) - given_to_load - {"policy_kwargs", "_init_setup_model"}
    assert arguments == {*PlasticA2C.saved_settings, "learning_rate", *NOT_SAVED}
    assert set(MazeRun().agent_settings()) == set(PlasticA2C.saved_settings)


def test_settings_that_load_cannot_replace_are_named(saved):
    for name in ("learning_rat", "policy_kwargs", "env_kwargs"):
        with pytest.raises(TypeError, match=name):
            PlasticA2C.load(io.BytesIO(saved), **{name: {}})
    with pytest.raises(ArchiveError, match=r"with n_steps as given, .* expected a whole number of at least 1"):
        PlasticA2C.load(io.BytesIO(saved), n_steps=0)


def test_zip_is_not_added_to_a_path_with_another_ending(saved, tmp_path):
    (tmp_path / "step_1.zip").write_bytes(saved)
    with pytest.raises(FileNotFoundError, match=r"step_1\.5"):
        PlasticA2C.load(tmp_path / "step_1.5")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused(saved, tmp_path, method):
    with zipfile.ZipFile(io.BytesIO(saved)) as old, zipfile.ZipFile(tmp_path / "new.zip", "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ArchiveError, match="is compressed"):
        PlasticA2C.load(tmp_path / "new.zip")


def test_resuming_without_an_env_or_a_run_state_is_refused(saved, tmp_path):
    with pytest.raises(ArchiveError, match="give an env"):
        PlasticA2C.load(io.BytesIO(saved), resume=True)
    with pytest.raises(FileNotFoundError):
        PlasticA2C.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="has no env"):
        PlasticA2C.load(io.BytesIO(saved)).save(tmp_path / "agent", include=["run"])


@pytest.mark.gpu
def test_a_continuation_on_a_gpu_continues_its_random_numbers(tmp_path):
    def new():
        return PlasticA2C("PlasticPolicy", maze(), n_steps=10, seed=0, policy_kwargs={"hidden_size": 8}, device="cuda")

    straight = new().learn(240)
    new().learn(120).save(tmp_path / "half.zip", include=["run"])
    resumed = PlasticA2C.load(tmp_path / "half.zip", env=maze(), resume=True, device="cuda")
    resumed.learn(120, reset_num_timesteps=False)
    assert (resumed.rollout_buffer.actions == straight.rollout_buffer.actions).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(saved, place, value):
    content = bytearray(saved)
    content[int(place * len(content))] = value
    try:
        agent = PlasticA2C.load(io.BytesIO(bytes(content)))
    except ArchiveError:
        return
    assert agent.policy.core.hidden_size == 8

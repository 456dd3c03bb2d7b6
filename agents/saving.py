"""Saving and loading agents, and continuing their training exactly, for any on-policy algorithm."""

import pathlib
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import check_for_correct_spaces, get_system_info
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize, VecTransposeImage, unwrap_vec_wrapper
from torch import Tensor

from plastic_rl.agents import archive
from plastic_rl.agents.vec_env import EpisodeMonitor, GymnasiumVecEnv
from plastic_rl.envs.protocols import Resumable

# Constructor arguments that an agent's file does not keep, but that ``load`` takes.
NOT_SAVED = ("stats_window_size", "tensorboard_log", "verbose")
# What settings or weights that do not fit each other raise while an agent is made of them.
MISFITS = (KeyError, TypeError, AttributeError, IndexError, RuntimeError, AssertionError, ValueError, OverflowError)

Self = TypeVar("Self", bound="SavedAgent")


class SavedAgent(OnPolicyAlgorithm):
    """An on-policy algorithm whose agents are saved in a format that is read without running code.

    It replaces Stable-Baselines3's ``save``, ``load`` and ``set_parameters``, which unpickle.

    Attributes:
        FORMAT: names the algorithm and the version of its format in every file. Each algorithm sets its own.
        saved_settings: the constructor's arguments that are saved, beside the learning rate and ``policy_kwargs``;
            each is an attribute of the agent. An algorithm with settings of its own adds them.
    """

    FORMAT: ClassVar[str]
    saved_settings: ClassVar[tuple[str, ...]]

    def _setup_model(self) -> None:
        super()._setup_model()
        try:
            self.describe()
        except TypeError as error:  # better known before training than after it
            warnings.warn(str(error), stacklevel=4)

    @property
    def keeps_episodes(self) -> bool:
        """Whether a continuation can put the environment back into the middle of its episodes.

        It can if the environment is a Gymnasium ``VectorEnv`` that is ``plastic_rl.envs.protocols.Resumable``, such as
        the mazes (``gym.make_vec``), and no wrapper around it has a memory of its own.
        """
        env: Any = self.env
        while type(env) in (EpisodeMonitor, VecMonitor, VecNormalize, VecTransposeImage):  # their memory is saved too
            env = env.venv
        return isinstance(env, GymnasiumVecEnv) and isinstance(env.env.unwrapped, Resumable)

    def save(  # type: ignore[override]
        self,
        path: archive.File,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save settings, weights and the optimizer's state, in a file that can be loaded without running code.

        A learning rate schedule is a function, of which only the present value is saved: pass ``learning_rate`` to
        ``load`` to continue with a schedule. ``tensorboard_log`` and ``verbose`` are not saved.

        Args:
            path: a path (".zip" is added if it has no ending) or a file opened for writing bytes.
            exclude: not supported: the content of the file is fixed.
            include: ``["run"]`` adds what a continuation needs: the random state, the environment, the state of the
                core, and the statistics of ``VecMonitor`` and ``VecNormalize``. Where :attr:`keeps_episodes` is true
                the continuation is exact, except for the steps of a rollout during which a callback saves; elsewhere
                episodes start again.

        Raises:
            TypeError: JSON cannot describe a space or a policy setting.
            ValueError: exclude or include ask for anything else, or there is no environment whose state can be saved.
        """
        include = set(include or ())
        if exclude or include - {"run"}:
            raise ValueError('exclude must be left out, and include may be ["run"] only')
        if isinstance(path, (str, pathlib.Path)) and not pathlib.Path(path).suffix:
            path = pathlib.Path(path).with_suffix(".zip")
        archive.write(path, self.to_archive("run" in include))

    def set_parameters(
        self, load_path_or_dict: archive.File | dict[str, Any], exact_match: bool = True, device: Any = "auto"
    ) -> None:
        """Take weights and the optimizer's state from a file that ``save`` wrote, or from ``get_parameters``.

        Raises:
            plastic_rl.agents.archive.ArchiveError: the file is damaged, hostile or of another kind.
            ValueError: the parameters are of another agent, and ``exact_match`` is true.
        """
        given: Any = load_path_or_dict
        if not isinstance(given, dict):
            saved = archive.read(_existing(given))
            given = {"policy": saved.weights, "policy.optimizer": saved.training.get("optimizer")}
        super().set_parameters(given, exact_match, device)

    def to_archive(self, run: bool = False) -> archive.Archive:
        """Return the content of the file that ``save`` writes; ``run`` stands for ``include=["run"]``."""
        training: dict[str, Any] = {"optimizer": self.policy.optimizer.state_dict()}
        if run:
            if self.env is None:
                raise ValueError('this agent has no env, whose state include=["run"] would save: leave it out')
            training["run"] = self._run_state()
        return archive.Archive(self.describe(), self.policy.state_dict(), training)

    def describe(self) -> dict[str, Any]:
        """Return all settings in the types of JSON; of a schedule, the present value.

        Raises:
            TypeError: JSON cannot describe a space or a policy setting.
        """
        settings = {name: self._present(getattr(self, name)) for name in self.saved_settings}
        settings["learning_rate"] = self._present(self.lr_schedule)
        return {
            "format": self.FORMAT,
            "policy": self.policy_class.__name__,
            "policy_kwargs": {name: _described(name, value) for name, value in self.policy_kwargs.items()},
            "observation_space": archive.space_to_json(self.observation_space),
            "action_space": archive.space_to_json(self.action_space),
            "settings": {name: archive.setting_to_json(value) for name, value in settings.items()},
            "num_timesteps": self.num_timesteps,
            "n_updates": self._n_updates,
        }

    @classmethod
    def load(  # type: ignore[override]
        cls: type[Self],
        path: archive.File,
        env: GymEnv | gym.vector.VectorEnv | None = None,
        device: torch.device | str = "auto",
        resume: bool = False,
        policy: type[BasePolicy] | None = None,
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Load an agent that ``save`` wrote. This runs no code from the file.

        Args:
            path: a path (".zip" is added if it has no ending and there is no such file) or a file opened for reading
                bytes.
            env: the environment to continue training in; not needed to ``predict``.
            device: the device of the network.
            resume: continue where an agent saved with ``include=["run"]`` stopped; needs env. See ``save``.
            policy: the class of the agent's policy, if it is a subclass of ``PlasticPolicy``.
            custom_objects: settings that replace the saved ones, as in kwargs. As in Stable-Baselines3, names that the
                file does not hold have no effect, and ``lr_schedule`` stands for ``learning_rate``.
            print_system_info: print the versions of this system's software.
            force_reset: episodes begin anew, which they always do but with ``resume``.
            kwargs: settings that replace the saved ones, for example ``learning_rate``.

        Raises:
            TypeError: a setting in kwargs is unknown, or would change the network; or force_reset is False without
                resume.
            plastic_rl.agents.archive.ArchiveError: the file is damaged, hostile or of another kind, or its weights
                do not fit its settings.
            ValueError: the environment's spaces are not the agent's.
        """
        if not (force_reset or resume):
            raise TypeError(
                'force_reset is False: episodes go on with resume=True, from a file saved with include=["run"]'
            )
        if print_system_info:
            get_system_info()
        replaced = dict(custom_objects or {})
        replaced.setdefault("learning_rate", replaced.pop("lr_schedule", None))
        names = {*cls.saved_settings, "learning_rate"}
        kwargs = {name: value for name, value in replaced.items() if name in names and value is not None} | kwargs
        return cls.from_archive(archive.read(_existing(path)), env, device, resume, policy, **kwargs)

    @classmethod
    def from_archive(
        cls: type[Self],
        saved: archive.Archive,
        env: GymEnv | gym.vector.VectorEnv | None = None,
        device: torch.device | str = "auto",
        resume: bool = False,
        policy: type[BasePolicy] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return the agent that an archive holds. Arguments and errors are those of ``load``."""
        agent = cls.from_description(saved.config, saved.weights, env, device, policy, **kwargs)
        try:
            agent.policy.optimizer.load_state_dict(saved.training["optimizer"])
            if resume:
                if env is None or "run" not in saved.training:
                    raise archive.ArchiveError('to resume, give an env, and a file saved with include=["run"]')
                agent._set_run_state(saved.training["run"])
        except archive.ArchiveError:
            raise
        except MISFITS as error:
            raise archive.ArchiveError(f"the state of training does not fit the agent: {error}") from error
        return agent

    @classmethod
    def from_description(
        cls: type[Self],
        description: dict[str, Any],
        weights: dict[str, Tensor],
        env: GymEnv | gym.vector.VectorEnv | None = None,
        device: torch.device | str = "auto",
        policy: type[BasePolicy] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return an agent with the settings that ``describe`` returned and these weights.

        Arguments and errors are those of ``load``.
        """
        names = (*cls.saved_settings, "learning_rate")
        if unknown := kwargs.keys() - {*names, *NOT_SAVED}:
            raise TypeError(f"an agent cannot be loaded with another {', '.join(sorted(unknown))}")
        if description.get("format") != cls.FORMAT:
            found = description.get("format")
            raise archive.ArchiveError(f"not a description of a {cls.__name__} agent: format {found!r}")
        observations, actions = (
            archive.space_from_json(description.get(name)) for name in ("observation_space", "action_space")
        )
        wrapped = None
        if env is not None:
            wrapped = cls._wrap_env(env)  # type: ignore[arg-type]
            check_for_correct_spaces(wrapped, observations, actions)
        try:
            settings = {name: description["settings"][name] for name in names} | kwargs
            if env is not None and settings["learning_rate"] == 0:
                warnings.warn(
                    "the learning rate was 0 when this agent was saved, as at the end of a schedule: it will learn "
                    "nothing unless load is given a learning_rate",
                    stacklevel=3,
                )
            policy = policy or cls._policy_of(description["policy"])
            make: Any = cls  # the constructor of the algorithm at hand, which mypy takes for OnPolicyAlgorithm's
            agent = make(policy, None, device=device, _init_setup_model=False, **settings)
            agent.policy_kwargs = archive.setting_from_json(description["policy_kwargs"])
            agent.observation_space, agent.action_space = observations, actions
            agent.n_envs = 1
            if wrapped is not None:
                agent.n_envs = wrapped.num_envs
                agent.set_env(wrapped)
            agent._setup_model()
            agent.policy.load_state_dict(weights)
            agent.num_timesteps, agent._n_updates = int(description["num_timesteps"]), int(description["n_updates"])
        except MISFITS as error:
            given = f", with {', '.join(sorted(kwargs))} as given," if kwargs else ""
            what = f"the agent's settings{given} and weights do not fit each other"
            raise archive.ArchiveError(f"{what}: {error}") from error
        return agent

    @classmethod
    def _policy_of(cls, name: str) -> Any:
        if name not in cls.policy_aliases:
            raise ValueError(f"its policy is of the class {name}: give that class as policy")
        return cls.policy_aliases[name]

    def _present(self, setting: Any) -> Any:
        """Return the present value of a setting that may be a schedule."""
        return float(setting(self._current_progress_remaining)) if callable(setting) else setting

    def _memory(self) -> list[Tensor]:
        """Return the tensors that an algorithm carries from one rollout to the next, beside the environment's."""
        return []

    def _set_memory(self, tensors: list[Tensor]) -> None:
        """Take up the tensors that ``_memory`` returned."""

    def _run_state(self) -> dict[str, Any]:
        """Return everything that training depends on beside weights and optimizer, as tensors and numbers."""
        assert self.env is not None
        state: dict[str, Any] = {"torch_rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        if self._vec_normalize_env is not None:
            state["normalize"] = {
                name: [
                    torch.as_tensor(number, dtype=torch.float64)
                    for number in (moments.mean, moments.var, moments.count)
                ]
                for name, moments in _moments(self._vec_normalize_env).items()
            }
            state["discounted"] = torch.as_tensor(self._vec_normalize_env.returns)
        if self.keeps_episodes and self._last_obs is not None:
            state["core"] = self._memory()
            state["observations"] = torch.as_tensor(self._last_obs)
            state["episode_starts"] = torch.as_tensor(self._last_episode_starts)
            arrays = self.env.env_method("get_state", indices=0)[0]
            # Some of the PyTorch versions that read this file have no tensors of unsigned 64-bit numbers.
            state["env"] = {name: torch.from_numpy(_as_signed(array)) for name, array in arrays.items()}
            if (monitor := unwrap_vec_wrapper(self.env, VecMonitor)) is not None:
                state["returns"] = torch.as_tensor(monitor.episode_returns)
                state["lengths"] = torch.as_tensor(monitor.episode_lengths)
        return state

    def _set_run_state(self, state: dict[str, Any]) -> None:
        """Continue from the state that ``_run_state`` returned."""
        torch.set_rng_state(state["torch_rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        normalized = self._vec_normalize_env
        if (normalized is None) != ("normalize" not in state):
            raise ValueError("only one of the two environments, this one and that of training, is in a VecNormalize")
        if normalized is not None:
            for name, moments in _moments(normalized).items():
                mean, var, count = state["normalize"][name]
                moments.mean, moments.var, moments.count = mean.numpy(), var.numpy(), count.item()
            normalized.returns = state["discounted"].numpy()
        if "env" in state:
            self._set_episodes(state)

    def _set_episodes(self, state: dict[str, Any]) -> None:
        """Put environment, monitor and core back into the middle of the episodes of a run state."""
        assert self.env is not None
        self._set_memory(state["core"])
        self._last_obs = state["observations"].numpy()
        self._last_episode_starts = state["episode_starts"].numpy()
        current = self.env.env_method("get_state", indices=0)[0]
        arrays = {name: array.numpy() for name, array in state["env"].items()}
        for name, array in arrays.items():
            if name in current and array.dtype.kind == "i":
                arrays[name] = array.view(current[name].dtype)  # undoes _as_signed
        self.env.env_method("set_state", arrays, indices=0)
        if (monitor := unwrap_vec_wrapper(self.env, VecMonitor)) is not None and "returns" in state:
            monitor.episode_returns[:] = state["returns"].numpy()
            monitor.episode_lengths[:] = state["lengths"].numpy()


def _described(name: str, value: Any) -> Any:
    """Return one of ``policy_kwargs`` in the types of JSON."""
    try:
        return archive.setting_to_json(value)
    except TypeError as error:
        raise TypeError(
            f"{name} in this agent's policy_kwargs cannot be saved: {error}; set it in a subclass of PlasticPolicy, "
            "and give that class as policy, also to load"
        ) from error


def _existing(path: archive.File) -> archive.File:
    """Return the file that is meant: with ".zip" added, if the path has no ending and there is no such file."""
    if isinstance(path, (str, pathlib.Path)) and not (pathlib.Path(path).is_file() or pathlib.Path(path).suffix):
        return pathlib.Path(path).with_suffix(".zip")
    return path


def _moments(env: VecNormalize) -> dict[str, Any]:
    """Return the running means and variances that a VecNormalize scales by, by name."""
    return {name: getattr(env, name) for name in (("obs_rms", "ret_rms") if env.norm_obs else ("ret_rms",))}


def _as_signed(array: np.ndarray) -> np.ndarray:
    return array.view(np.int64) if array.dtype == np.uint64 else array

"""Proximal policy optimization, trained through whole lifetimes."""

from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
import torch
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor
from torch.nn import functional as F

from plastic_rl.agents.policies import PlasticPolicy
from plastic_rl.agents.recurrent import RecurrentAgent, Replay
from plastic_rl.checks import check_at_least, whole_number


class PlasticPPO(RecurrentAgent):
    """PPO (Schulman et al. 2017) whose gradient flows through the steps of a lifetime, including its plasticity.

    Several epochs of gradient steps per rollout, on a loss that gives no reason to move action probabilities beyond a
    clip range. A minibatch is a part of the environments, each with all its steps in time order: the core runs from its
    state at the rollout's start once more, with the present weights.

    The defaults are those of Stable-Baselines3's PPO, with the rollouts of sb3-contrib's RecurrentPPO.

    Args:
        policy, env, gamma, gae_lambda, ent_coef, squared_prob_coef, vf_coef, max_grad_norm: as for
            :class:`RecurrentAgent`.
        learning_rate: of Adam; a number, or a function of the remaining progress (from 1 to 0).
        n_steps: steps per environment and rollout.
        batch_size: steps in a minibatch, a multiple of ``n_steps``, as environments are not cut in time; None: all.
        n_epochs: how often each rollout is gone through.
        clip_range: how far action probabilities may move: from 1 - clip_range to 1 + clip_range times their values when
            the agent acted. A number, or a function of the remaining progress.
        clip_range_vf: how far values may move; depends on their scale. A number, a function, or None: any distance.
        normalize_advantage: whether to scale the advantages of each minibatch to mean 0 and standard deviation 1.
        target_kl: the epochs end when the policy has moved by 1.5 times this Kullback-Leibler divergence; None: never.
        kwargs: the other arguments of :class:`RecurrentAgent`.

    Raises:
        TypeError, ValueError: as for :class:`RecurrentAgent`.

    Example:
        >>> import gymnasium as gym
        >>> import plastic_rl
        >>> from plastic_rl.agents import PlasticPPO
        >>> env = gym.make_vec("PlasticRL/GridMaze-v0", num_envs=4, lifetime=20)
        >>> agent = PlasticPPO("PlasticPolicy", env, n_steps=20, batch_size=40, policy_kwargs=dict(hidden_size=16))
        >>> agent = agent.learn(total_timesteps=160)
        >>> agent.num_timesteps
        160
    """

    FORMAT = "plastic-rl PlasticPPO 1"
    saved_settings: ClassVar[tuple[str, ...]] = (
        *RecurrentAgent.saved_settings, "batch_size", "n_epochs", "clip_range", "clip_range_vf", "target_kl",
    )  # fmt: skip

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | gym.vector.VectorEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int | None = None,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        squared_prob_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
        **kwargs: Any,
    ) -> None:
        n_steps, n_epochs = whole_number("n_steps", n_steps, 1), whole_number("n_epochs", n_epochs, 1)
        batch_size = None if batch_size is None else whole_number("batch_size", batch_size, 1)
        if batch_size is not None and batch_size % n_steps:
            raise ValueError(
                f"batch_size is {batch_size}: expected a multiple of n_steps, which is {n_steps}, since a minibatch "
                "has environments with all their steps"
            )
        for name, value in {"clip_range": clip_range, "clip_range_vf": clip_range_vf, "target_kl": target_kl}.items():
            if not (value is None or callable(value)):
                check_at_least(name, value, 0)
        self.batch_size, self.n_epochs, self.target_kl = batch_size, n_epochs, target_kl
        self.clip_range, self.clip_range_vf = clip_range, clip_range_vf
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            squared_prob_coef=squared_prob_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            normalize_advantage=normalize_advantage,
            **kwargs,
        )

    def train(self) -> None:
        """Make the gradient steps of all epochs on the recorded rollout.

        Raises:
            DivergenceError: the loss or the gradient is not finite; the weights are as they were before that step.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip, clip_values = self._present(self.clip_range), self._present(self.clip_range_vf)
        self.logger.record("train/clip_range", clip)
        acted = self.log_probs()
        valued = torch.as_tensor(self.rollout_buffer.values, device=self.device)
        for which in self._minibatches():
            replay = self.replay_rollout(which)
            if not replay.lived.any():
                continue
            change = replay.distribution.log_prob(replay.actions) - acted[:, which].flatten()[replay.lived]
            ratio = change.exp()
            with torch.no_grad():
                divergence = (ratio - 1 - change).mean().item()  # Schulman's estimate, http://joschu.net/blog/kl-approx
                self.logger.record("train/approx_kl", divergence)
                self.logger.record("train/clip_fraction", ((ratio - 1).abs() > clip).float().mean().item())
            if self.target_kl is not None and divergence > 1.5 * self.target_kl:
                break
            clipped = ratio.clamp(1 - clip, 1 + clip)
            policy_loss = -torch.min(replay.advantages * ratio, replay.advantages * clipped).mean()
            before = valued[:, which].flatten()[replay.lived]
            self.descend(policy_loss, replay, self._value_loss(replay, before, clip_values))

    def _minibatches(self) -> Iterator[Tensor]:
        """Yield the numbers of the environments of each minibatch: in every epoch all of them, in another order."""
        size = self.n_envs if self.batch_size is None else self.batch_size // self.n_steps
        for _ in range(self.n_epochs):
            if size >= self.n_envs:
                yield torch.arange(self.n_envs)
            else:
                yield from torch.randperm(self.n_envs).split(size)

    def _value_loss(self, replay: Replay, valued: Tensor, clip: float | None) -> Tensor:
        """Return the squared error of the values, which may be no further than ``clip`` from those of acting."""
        values = replay.values
        if clip is not None:
            values = valued + (values - valued).clamp(-clip, clip)
        return F.mse_loss(values, replay.returns)

"""Advantage actor-critic, trained through whole lifetimes."""

from plastic_rl.agents.recurrent import RecurrentAgent


class PlasticA2C(RecurrentAgent):
    """A2C (Mnih et al. 2016) whose gradient flows through the steps of a lifetime, including its plasticity.

    One gradient step per rollout. Arguments, defaults and everything else are those of :class:`RecurrentAgent`.

    Example:
        >>> import gymnasium as gym
        >>> import plastic_rl
        >>> from plastic_rl.agents import PlasticA2C
        >>> env = gym.make_vec("PlasticRL/GridMaze-v0", num_envs=4, lifetime=20)
        >>> agent = PlasticA2C("PlasticPolicy", env, n_steps=20, policy_kwargs=dict(core="plastic", hidden_size=16))
        >>> agent = agent.learn(total_timesteps=160)
        >>> agent.num_timesteps
        160
    """

    FORMAT = "plastic-rl PlasticA2C 1"

    def train(self) -> None:
        """Make one gradient step on the recorded rollout.

        Raises:
            DivergenceError: the loss or the gradient is not finite; the weights are as they were before.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        replay = self.replay_rollout()
        if not replay.lived.any():
            return
        policy_loss = -(replay.advantages * replay.distribution.log_prob(replay.actions)).mean()
        self.descend(policy_loss, replay)

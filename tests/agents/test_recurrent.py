"""A second algorithm on the same rollouts: it adds its loss, its settings and its format, and nothing else."""

from typing import Any

import gymnasium as gym
import pytest
import torch

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C, PlasticPPO, RecurrentAgent
from plastic_rl.agents.archive import ArchiveError


class Proximal(RecurrentAgent):
    """Several gradient steps per rollout, on a loss whose probability ratios are clipped."""

    FORMAT = "test Proximal 1"
    saved_settings = (*RecurrentAgent.saved_settings, "clip_range", "epochs")

    def __init__(self, policy, env, learning_rate=1e-2, clip_range=0.2, epochs=3, **kwargs: Any):
        self.clip_range, self.epochs = clip_range, epochs
        super().__init__(policy, env, learning_rate, **kwargs)

    def train(self):
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        before = None
        for _ in range(self.epochs):
            replay = self.replay_rollout()
            logs = replay.distribution.log_prob(replay.actions)
            before = logs.detach() if before is None else before
            ratio = (logs - before).exp()
            clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
            gain = torch.min(replay.advantages * ratio, replay.advantages * clipped)
            self.descend(-gain.mean(), replay)


def maze():
    return gym.make_vec("PlasticRL/GridMaze-v0", num_envs=3, lifetime=13, size=5)


def new_agent(core="plastic"):
    kwargs = {"core": core, "hidden_size": 8}
    return Proximal("PlasticPolicy", maze(), epochs=2, n_steps=10, seed=0, device="cpu", policy_kwargs=kwargs)


@pytest.mark.parametrize("core", ["plastic", "lstm"])
def test_a_second_algorithm_trains_and_continues_exactly(core, tmp_path):
    straight = new_agent(core).learn(240)
    new_agent(core).learn(120).save(tmp_path / "half.zip", include=["run"])
    resumed = Proximal.load(tmp_path / "half.zip", env=maze(), resume=True, device="cpu")
    assert (resumed.epochs, resumed.clip_range, resumed.n_steps) == (2, 0.2, 10)
    resumed.learn(120, reset_num_timesteps=False)
    assert (resumed.num_timesteps, resumed._n_updates) == (straight.num_timesteps, straight._n_updates) == (240, 16)
    untrained = new_agent(core).policy.state_dict()
    weights = resumed.policy.state_dict()
    for name, weight in straight.policy.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert any(not torch.equal(weight, untrained[name]) for name, weight in weights.items())


def test_each_gradient_step_replays_with_the_weights_of_the_step_before():
    agent = new_agent().learn(30)
    first, second = agent.replay_rollout(), agent.replay_rollout()
    assert torch.equal(first.values, second.values)
    agent.descend(-(first.advantages * first.distribution.log_prob(first.actions)).mean(), first)
    assert not torch.equal(agent.replay_rollout().values, first.values)


def test_an_agent_of_another_algorithm_is_refused(tmp_path):
    new_agent().save(tmp_path / "agent")
    with pytest.raises(ArchiveError, match="not a description of a PlasticA2C agent: format 'test Proximal 1'"):
        PlasticA2C.load(tmp_path / "agent")


def test_the_settings_of_a_second_algorithm_can_be_replaced_on_loading(tmp_path):
    new_agent().save(tmp_path / "agent")
    assert Proximal.load(tmp_path / "agent", epochs=5).epochs == 5
    with pytest.raises(TypeError, match="another squared_prob_coeff"):
        Proximal.load(tmp_path / "agent", squared_prob_coeff=0.0)


@pytest.mark.parametrize("Agent", [PlasticA2C, PlasticPPO])
def test_a_schedule_that_falls_to_zero_does_not_fall_below(Agent, tmp_path):
    """The last rollout goes on to step 90, beyond the 70 that were asked for."""
    rates = []
    agent = Agent("PlasticPolicy", maze(), lambda left: 1e-2 * left, 10, policy_kwargs={"hidden_size": 8}, seed=0)
    train = agent.train
    agent.train = lambda: [train(), rates.append(agent.policy.optimizer.param_groups[0]["lr"])]
    agent.learn(70)
    assert rates == pytest.approx([1e-2 * 40 / 70, 1e-2 * 10 / 70, 0.0])
    agent.save(tmp_path / "agent")
    assert Agent.load(tmp_path / "agent").lr_schedule(1.0) == 0.0

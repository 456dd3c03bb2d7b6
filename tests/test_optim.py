import math

import gymnasium as gym
import pytest
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import plastic_rl  # noqa: F401 - registers the mazes
from plastic_rl.agents import PlasticA2C, PlasticPolicy
from plastic_rl.errors import DivergenceError
from plastic_rl.modules import PlasticLinear, PlasticRNN, PlasticRNNCell
from plastic_rl.optim import gradient_step


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.ModuleList([PlasticRNN(3, 4, eta=0.9), nn.Linear(4, 4), PlasticLinear(4, 2, eta=0.1)])


def flat(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def step(network, loss, rate=1.0, limit=None):
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    return gradient_step(network, optimizer, loss, limit, "episode 7")


@pytest.mark.parametrize("limit", [None, math.inf, 1e9, 0.25])
def test_the_step_is_along_the_gradient_clipped_to_a_norm(network, limit):
    before = flat(network)
    norm = step(network, sum(p.square().sum() for p in network.parameters()), rate=1e-3, limit=limit)
    gradient = 2 * before
    assert norm == pytest.approx(gradient.norm().item())
    scale = min(1.0, (limit or math.inf) / norm)
    torch.testing.assert_close(flat(network), before - 1e-3 * scale * gradient)


def test_gradients_of_an_earlier_step_and_frozen_parameters_do_not_count(network):
    network[1].requires_grad_(False)
    network[0].w.grad = torch.full_like(network[0].w, 100.0)
    trained = [p for p in network.parameters() if p.requires_grad]
    norm = step(network, sum(p.sum() for p in trained), rate=1e-3)
    assert norm == pytest.approx(math.sqrt(sum(p.numel() for p in trained)))


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda p: p.sum() * math.nan, "loss is nan"),
        (lambda p: (p.sum() + 1).exp() + 1e38 * 1e38, "loss is inf"),
        (lambda p: (p * 0).abs().sqrt().sum(), "gradient norm is nan"),
        (lambda p: 1e30 * (p * 1e30).clamp(0, 1).sum(), "gradient norm is inf"),
    ],
    ids=["loss nan", "loss inf", "gradient nan", "gradient inf"],
)
def test_what_is_not_finite_is_an_error_and_leaves_the_weights(network, loss, what):
    with torch.no_grad():
        network[1].bias.copy_(torch.tensor([1e-31, -0.1, 0.3, 0.0]))
    before = flat(network)
    with pytest.raises(DivergenceError, match=f"training diverged at episode 7: the {what}; try a smaller learning"):
        step(network, loss(network[1].bias), limit=1.0)
    assert torch.equal(flat(network), before)


def test_an_optimizer_that_cannot_compute_a_step_is_an_error(network):
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)

    def fail():
        raise RuntimeError("value cannot be converted to type float without overflow")

    optimizer.step = fail
    with pytest.raises(DivergenceError, match="training diverged at episode 7: value cannot be converted"):
        gradient_step(network, optimizer, network[1].bias.sum(), None, "episode 7")


def test_eta_of_every_plastic_layer_stays_within_0_and_1(network):
    first, _, last = network
    step(network, last.eta.sum() - first.eta.sum(), rate=5.0)
    assert (first.eta.item(), last.eta.item()) == (1.0, 0.0)


class PlasticFeatures(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 6)
        self.cell = PlasticRNNCell(space.shape[0], 6)

    def forward(self, observations):
        return self.cell(observations)[0]


class Policy(PlasticPolicy):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, features_extractor_class=PlasticFeatures, **kwargs)


@pytest.mark.parametrize("core", ["plastic", "lstm"])
def test_plastic_layers_before_the_core_of_an_agent_are_constrained_too(core):
    env = gym.make_vec("PlasticRL/GridMaze-v0", num_envs=2, lifetime=10, size=5)
    agent = PlasticA2C(Policy, env, n_steps=10, device="cpu", policy_kwargs={"core": core, "hidden_size": 4})
    eta = agent.policy.features_extractor.cell.eta
    with torch.no_grad():
        eta.fill_(1.5)
    agent.learn(20)
    assert eta.item() == 1.0

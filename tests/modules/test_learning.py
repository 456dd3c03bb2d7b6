"""One-shot recall: what only a network with plastic connections can do.

Two random patterns of bits are shown, all neurons clamped, with all neurons clamped to zero after each, so that no
activity outlives them. Then half the bits of one of them are clamped, and after one more step the network must
output the other half. These bits are independent of those given: a network without plasticity is right half of the
time, whatever its weights. The ceiling is to be always right.
"""

import pytest
import torch

from plastic_rl import PlasticRNN

BITS, EPISODES, TEST_EPISODES = 20, 40, 1000
CHANCE, CEILING = 0.5, 1.0


def draw(episodes: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clamps ``(T, B, BITS)``, and what is asked for: the second half of the bits."""
    patterns = torch.randint(0, 2, (2, episodes, BITS), generator=generator) * 2.0 - 1.0
    blank = torch.zeros(1, episodes, BITS)
    asked = torch.where(torch.rand(episodes, 1, generator=generator) < 0.5, patterns[0], patterns[1])
    question = asked.clone()
    question[:, BITS // 2 :] = torch.nan
    shown = [step for pattern in patterns for step in (pattern.expand(2, -1, -1), blank)]
    return torch.cat([*shown, question.expand(2, -1, -1)]), asked[:, BITS // 2 :]


def recall(rnn: PlasticRNN, clamps: torch.Tensor) -> torch.Tensor:
    outputs, _ = rnn(torch.zeros(*clamps.shape[:2], 1), clamp=clamps)
    return outputs[-1, :, BITS // 2 :]


def train_and_test(rnn: PlasticRNN, updates: int = 150) -> float:
    """Return the share of bits recalled in fresh episodes."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([p for p in rnn.parameters() if p.requires_grad], lr=0.01)
    for _ in range(updates):
        clamps, wanted = draw(EPISODES, generator)
        loss = (recall(rnn, clamps) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rnn.constrain_()
    with torch.no_grad():
        clamps, wanted = draw(TEST_EPISODES, generator)
        return (recall(rnn, clamps).sign() == wanted).float().mean().item()


@pytest.mark.parametrize("rule", ["hebb", "oja", "clip"])
def test_a_plastic_network_learns_to_remember(rule):
    torch.manual_seed(0)
    accuracy = train_and_test(PlasticRNN(1, BITS, rule=rule, eta=0.1))
    assert 0.95 < accuracy <= CEILING


def test_the_same_network_without_plasticity_stays_at_chance():
    torch.manual_seed(0)
    rnn = PlasticRNN(1, BITS, eta=0.1)
    torch.nn.init.zeros_(rnn.alpha).requires_grad_(False)
    standard_error = 0.5 / (TEST_EPISODES * BITS / 2) ** 0.5
    assert train_and_test(rnn) == pytest.approx(CHANCE, abs=5 * standard_error)

"""Few-shot classification: what episodes are made of, the network against plain PyTorch, and that it is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from plastic_rl.data import Characters, SplitCharacters, glyph_characters, split_characters
from plastic_rl.evaluation.networks import assess
from plastic_rl.evaluation.networks import testing as under_test
from plastic_rl.modules.ablation import ablated
from plastic_rl.modules.controls import count_parameters
from plastic_rl.tasks import CoreSettings, FewShotClassification, FewShotNetwork, FewShotSettings
from plastic_rl.training.trainer import Trainer

SIZE, DRAWINGS = 31, 6
PAPER = CoreSettings(rule="oja", alpha="shared")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def marked(part, alphabets=(4, 3, 6)):
    """Characters whose first pixels, at the upper left, tell which character and drawing they are."""
    names = [f"{part}/A{a}/c{k}" for a, count in enumerate(alphabets) for k in range(count)]
    images = np.zeros((len(names), DRAWINGS, SIZE, SIZE), np.uint8)
    images[:, :, 0, 0] = 10 + np.arange(len(names))[:, None]
    images[:, :, 0, 1] = 100 + np.arange(DRAWINGS)
    return Characters(images, np.array(names))


PARTS = SplitCharacters(*(marked(part) for part in ("training", "validation", "test")))


def task_of(part="training", within=False, **settings):
    return FewShotClassification(PARTS, FewShotSettings(**settings), part, within)


def read(images):
    """Character, drawing and quarter turns of marked images ``(M, B, size, size)``, ``(M, B)`` each."""
    found = []
    for image in (images * 255).round().long().flatten(0, 1):
        turned = [image.rot90(-k, (0, 1)) for k in range(4)]
        turns = next(k for k, one in enumerate(turned) if one[0, 0] and one[0, 1])
        found.append([turned[turns][0, 0] - 10, turned[turns][0, 1] - 100, turns])
    return torch.tensor(found).view(*images.shape[:2], 3).unbind(-1)


@pytest.mark.parametrize(("shot", "queries", "presentations"), [(1, 1, 1), (2, 5, 1), (1, 7, 3), (2, 1, 2)])
def test_what_an_episode_is_made_of(shot, queries, presentations):
    way, b = 5, 40
    episodes = task_of(way=way, shot=shot, queries=queries, presentations=presentations).sample(b, generator())
    assert episodes.support.shape == (way * shot, b, SIZE, SIZE)
    assert episodes.query.shape == (queries, b, SIZE, SIZE)
    assert episodes.target.shape == (b, queries)
    assert episodes.order.shape == (presentations * way * shot, b)
    shown, asked = read(episodes.support), read(episodes.query)
    for k in range(b):
        by_label = {}
        for label, character, drawing, turns in zip(episodes.label[:, k].tolist(), *(x[:, k].tolist() for x in shown),
                                                    strict=True):  # fmt: skip
            by_label.setdefault(label, []).append((character, turns, drawing))
        assert set(by_label) == set(range(way))
        classes = {label: {(c, r) for c, r, _ in found} for label, found in by_label.items()}
        assert all(len(found) == 1 for found in classes.values())  # one character, turned in one way
        assert len({c for found in classes.values() for c, _ in found}) == way  # all different
        used = {label: [d for _, _, d in found] for label, found in by_label.items()}
        for target, character, drawing, turns in zip(episodes.target[k].tolist(), *(x[:, k].tolist() for x in asked),
                                                     strict=True):  # fmt: skip
            assert classes[target] == {(character, turns)}  # the query is of the class that is its target
            used[target].append(drawing)
        assert all(len(set(found)) == len(found) for found in used.values())  # no drawing twice
        counts = torch.bincount(episodes.target[k], minlength=way)
        assert counts.max() - counts.min() <= 1  # spread evenly
        for cycle in episodes.order[:, k].view(presentations, -1):
            assert sorted(cycle.tolist()) == list(range(way * shot))


def test_everything_is_drawn_at_random_and_evenly():
    episodes = task_of(way=3, queries=1).sample(3000, generator(1))
    characters, drawings, turns = read(episodes.support)
    for found, kinds in ((characters, 13), (drawings, DRAWINGS), (turns, 4), (episodes.target, 3)):
        shares = torch.bincount(found.flatten(), minlength=kinds) / found.numel()
        torch.testing.assert_close(shares, torch.full((kinds,), 1 / kinds), atol=0.02, rtol=0)
    assert (episodes.order.float().mean(1) - 1).abs().max() < 0.06
    turned = turns.float() - turns.float().mean()
    assert abs((turned[0] * turned[1]).mean()) < 0.1  # classes are turned each by itself


def test_samples_repeat():
    one, same, other = (task_of(distortion=0.1).sample(4, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.support, other.support)


@pytest.mark.parametrize(
    ("rotation", "part", "turned"),
    [("episode", "test", True), ("training", "training", True), ("training", "test", False), ("class", "test", True)],
)
def test_rotations(rotation, part, turned):
    turns = read(task_of(part, rotation=rotation).sample(200, generator()).support)[2]
    assert (turns.unique().tolist() == [0, 1, 2, 3]) == turned
    assert turned or not turns.any()


def test_turned_characters_as_classes_are_told_apart():
    characters, _, turns = read(task_of(way=13, rotation="class").sample(300, generator()).support)
    classes = characters * 4 + turns
    assert all(len(column.unique()) == 13 for column in classes.T)
    assert any(len(column.unique()) < 13 for column in characters.T)
    assert len(classes.unique()) == 4 * 13


def test_parts_do_not_mix():
    task = task_of(queries=2)
    assert task.images is not task.held_out().images
    for other, part in ((task, "training"), (task.validation(), "validation"), (task.held_out(), "test")):
        expected = torch.from_numpy(getattr(PARTS, part).images)
        assert torch.equal(other.images, expected)
        assert other.part == part


def test_within_one_alphabet():
    task = FewShotClassification(PARTS, FewShotSettings(way=4), "test", within_alphabet=True)
    characters = read(task.sample(400, generator()).support)[0]
    alphabets = (characters >= 4).long() + (characters >= 7)
    assert (alphabets == alphabets[0]).all()
    assert set(alphabets[0].tolist()) == {0, 2}  # the second one has too few characters
    assert all(len(column.unique()) == 4 for column in characters.T)
    mixed = read(task_of("test", way=4).sample(100, generator()).support)[0]
    assert ((mixed >= 7).any(0) & (mixed < 4).any(0)).any()


def test_tests_of_a_task():
    assert set(task_of().tests()) == {""}
    tests = FewShotClassification(PARTS, FewShotSettings(way=3), test_within=True).tests()
    assert {name: (one.part, one.within_alphabet) for name, one in tests.items()} == {
        "": ("test", False), "within_alphabet": ("test", True),
    }  # fmt: skip


def test_more_classes_in_training_than_in_tests():
    task = task_of(way=3, queries=3, training_way=6)
    assert (task.way, task.queries, task.held_out().way, task.held_out().queries) == (6, 6, 3, 3)
    assert task.levels == {"chance": 1 / 6}
    network = task.network(PAPER)
    for one, way in ((task, 6), (task.held_out(), 3), (task.validation(), 3)):
        episodes = one.sample(4, generator())
        prediction = one.run(network, episodes)
        assert prediction.shape == (4, way, way)
        assert int(episodes.target.max()) == way - 1


def test_distortions_are_for_training_only():
    """A square in the middle; distorted by so little, it stays near, but is no longer made of its own pixels."""
    images = np.zeros((6, DRAWINGS, SIZE, SIZE), np.uint8)
    images[:, :, 8:20, 10:22] = 255
    characters = Characters(images, np.array([f"x/A/c{k}" for k in range(6)]))
    task = FewShotClassification(SplitCharacters(*[characters] * 3), FewShotSettings(distortion=0.1))
    assert set(task.held_out().sample(9, generator()).support.unique().tolist()) == {0, 1}
    drawn = task.sample(300, generator()).support
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert len(drawn.unique()) > 100
    assert drawn.mean().item() == pytest.approx(144 / SIZE**2, rel=0.1)


def test_the_paper_s_network_has_111746_parameters():
    task = FewShotClassification(PARTS)
    network = task.network(PAPER)
    assert count_parameters(network) == 111_746
    assert {name: parameter.numel() for name, parameter in network.output.named_parameters()} == {
        "w": 320, "alpha": 1, "eta": 1,
    }  # fmt: skip
    assert count_parameters(task.network(CoreSettings("fixed"))) == 111_744
    tuned = FewShotSettings(training_way=13, activation="relu", batch_norm=True)
    assert count_parameters(FewShotNetwork(PAPER, replace(tuned, training_way=20), SIZE)) == 112_962 < 113_000


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("unit_features", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_network_against_plain_pytorch(activation, batch_norm, unit_features):
    """One episode at a time, one image at a time, with Oja's rule written out; every gradient, in float64."""
    settings = FewShotSettings(way=3, shot=2, queries=2, presentations=2, width=8, activation=activation,
                               batch_norm=batch_norm, unit_features=unit_features)  # fmt: skip
    task = FewShotClassification(PARTS, settings)
    torch.manual_seed(0)
    network = task.network(replace(PAPER, eta=0.3)).double().eval()
    for layer in network.convolutions:
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    episodes = task.sample(3, generator())
    images = [torch.rand_like(episodes.support, dtype=torch.float64), torch.rand_like(episodes.query).double()]
    episodes = episodes._replace(support=images[0], query=images[1])

    def embed(image):
        x = image[None, None]
        for layer in network.convolutions:
            if isinstance(layer, torch.nn.Conv2d):
                x = F.conv2d(x, layer.weight, layer.bias, stride=2)
            elif isinstance(layer, torch.nn.BatchNorm2d):
                mean, var = (y[:, None, None] for y in (layer.running_mean, layer.running_var))
                scale, shift = (y[:, None, None] for y in (layer.weight, layer.bias))
                x = (x - mean) / (var + layer.eps).sqrt() * scale + shift
            elif not isinstance(layer, torch.nn.Flatten | torch.nn.Identity):
                x = x.tanh() if activation == "tanh" else x.clamp(min=0)
        x = x.flatten()
        return x / x.norm() * len(x) ** 0.5 if unit_features else x

    def by_hand():
        w, alpha, eta = network.output.w, network.output.alpha, network.output.eta
        answers = []
        for b in range(3):
            trace = torch.zeros_like(w)
            for t in episodes.order[:, b].tolist():
                x, y = embed(episodes.support[t, b]), torch.eye(3, dtype=w.dtype)[episodes.label[t, b]]
                trace = trace + eta * y * (x[:, None] - y * trace)
            answers.append(torch.stack([embed(query[b]) @ (w + alpha * trace) for query in episodes.query]))
        return torch.stack(answers)

    parameters = list(network.parameters())
    found, expected = task.run(network, episodes), by_hand()
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(task.loss(p, episodes), parameters) for p in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_the_order_of_queries_does_not_matter_to_answers():
    task = task_of(queries=6)
    network = task.network(PAPER).eval()
    episodes = task.sample(3, generator())
    whole = task.run(network, episodes)
    for q in range(6):
        alone = task.run(network, episodes._replace(query=episodes.query[q : q + 1]))
        torch.testing.assert_close(alone[:, 0], whole[:, q])


def test_in_tests_episodes_do_not_know_of_each_other():
    """Batch normalization must not tell anything of the other images of a batch."""
    task = task_of(batch_norm=True, activation="relu", queries=3)
    network = task.network(PAPER)
    episodes = task.sample(8, generator())
    task.run(network.train(), episodes)
    with under_test(network):
        whole = task.run(network, episodes)
        alone = task.run(network, type(episodes)(*(x[:, :1] for x in episodes[:4]), episodes.target[:1]))
    torch.testing.assert_close(alone[0], whole[0])


def test_loss_and_metrics():
    task = task_of(queries=2)
    episodes = task.sample(3, generator())
    logits = F.one_hot(episodes.target, 5) * 100.0
    assert task.loss(logits, episodes).item() == pytest.approx(0, abs=1e-6)
    assert task.metrics(logits, episodes)["accuracy"].tolist() == [1, 1, 1]
    logits[0, 0] = logits[0, 0].roll(1)
    assert task.metrics(logits, episodes)["accuracy"].tolist() == [0.5, 1, 1]
    assert task.loss(torch.zeros(3, 2, 5), episodes).item() == pytest.approx(np.log(5))


@pytest.mark.parametrize(
    ("support", "label", "says"),
    [
        (torch.zeros(5, 2, 28, 28), None, r"support is torch.float32 \(5, 2, 28, 28\): expected floating point"),
        (torch.zeros(5, 2, 31, 31, dtype=torch.uint8), None, "support is torch.uint8"),
        (torch.zeros(5, 31, 31), None, r"support is torch.float32 \(5, 31, 31\)"),
        (None, torch.full((5, 2), 100), "labels are from 100 to 100: expected from 0 to 4"),
        (None, torch.full((5, 2), -1), "labels are from -1 to -1: expected from 0 to 4"),
    ],
)
def test_images_and_labels_that_a_network_cannot_take(support, label, says):
    network = FewShotNetwork(CoreSettings(rule="oja", alpha="shared"), FewShotSettings(width=4), 31)
    images = torch.zeros(5, 2, 31, 31)
    label = torch.arange(5)[:, None].expand(5, 2) if label is None else label
    with pytest.raises(ValueError, match=says):
        network(images if support is None else support, label, images)


def test_digest():
    task = task_of()
    found = task.digest({"accuracy": torch.tensor([1.0, 1, 0, 1, 0.5])})
    assert found["accuracy_mean"] == pytest.approx(0.7)
    assert found["accuracy_ci95"] == pytest.approx(1.96 * np.std([1, 1, 0, 1, 0.5], ddof=1) / 5**0.5)
    assert found["accuracy_median"] == 1
    assert task.digest({"accuracy": torch.tensor([0.8, 1.0])})["accuracy_median"] == pytest.approx(0.9)
    assert task.digest({"accuracy": torch.tensor([1.0])}) == {"accuracy_mean": 1, "accuracy_median": 1}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"way": 1}, "way is 1: expected at least 2"),
        ({"shot": 0}, "shot is 0"),
        ({"presentations": 0}, "presentations is 0"),
        ({"queries": 0}, "queries is 0"),
        ({"training_way": 4}, "training_way is 4: expected at least 5"),
        ({"distortion": -1.0}, "distortion is -1.0"),
        ({"width": 0}, "width is 0"),
        ({"rotation": "upside down"}, "unknown rotation 'upside down': expected one of episode, training, class"),
        ({"activation": "sine"}, "unknown activation 'sine'"),
        ({"way": 14}, "there are 13 classes for training: expected at least 14, the way"),
        ({"shot": 6}, "there are 6 drawings of a character: expected at least 7"),
        ({"queries": 26}, "there are 6 drawings of a character: expected at least 7"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        task_of(**settings)


def test_networks_that_cannot_be():
    with pytest.raises(ValueError, match="image_size is 30: expected at least 31, for 4 convolutions"):
        FewShotNetwork(PAPER, FewShotSettings(), 30)
    for core in ("rnn", "lstm"):
        with pytest.raises(ValueError, match=f"a core {core} cannot classify characters: expected one of plastic, fix"):
            task_of().network(CoreSettings(core=core))
    for settings in (CoreSettings(hidden_size=7), CoreSettings(init_alpha=3.0), CoreSettings(modulation="simple")):
        with pytest.raises(ValueError, match="no use for hidden_size, init_alpha and modulation"):
            task_of().network(settings)


@pytest.mark.parametrize(("way", "shot", "accuracy"), [(5, 1, 0.8), (20, 1, 1.0), (3, 2, 0.0)])
def test_pictures(tmp_path, way, shot, accuracy):
    task = FewShotClassification(
        SplitCharacters(*[marked("x", (30,))] * 3), FewShotSettings(way=way, shot=shot, queries=2), source="marks"
    )
    episodes = task.sample(30, generator())
    right = torch.rand(episodes.target.shape, generator=generator()) < accuracy
    logits = F.one_hot((episodes.target + ~right) % way, way) * 3.0
    task.draw(tmp_path / "episodes.png", logits, episodes)
    with Image.open(tmp_path / "episodes.png") as image:
        assert min(image.size) > 500


def test_new_characters_are_learned_from_one_drawing_with_plasticity_alone(tmp_path):
    """Chance is 20 %, and all that a network without plasticity can reach; the ceiling is 100 %."""
    parts = split_characters(glyph_characters(), "glyphs")
    settings = FewShotSettings(queries=5, width=16, activation="relu", batch_norm=True, unit_features=True)
    task = FewShotClassification(parts, settings)
    accuracy = {}
    for core in ("plastic", "fixed"):
        torch.manual_seed(0)
        network = task.network(replace(PAPER, eta=0.3) if core == "plastic" else CoreSettings(core))
        Trainer(task, network, tmp_path / core, batch_size=16, learning_rate=5e-3, decay_episodes=1600).train(1600)
        accuracy[core] = assess(task.held_out(), network, 200, 1)["accuracy_mean"]
        if core == "plastic":
            for ablation in ("trace_zero", "alpha_zero"):
                with ablated(network, ablation):
                    accuracy[ablation] = assess(task.held_out(), network, 200, 1)["accuracy_mean"]
    assert accuracy.pop("plastic") > 0.75
    for value in accuracy.values():
        assert value == pytest.approx(0.2, abs=0.04)

"""Episodes of patterns and of images, checked step by step; what is measured in them; what cannot be."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from plastic_rl.evaluation.networks import measure
from plastic_rl.tasks import CompletionEpisodes, CoreSettings, ImageCompletion, PatternCompletion

PATTERNS = {"patterns": 2, "bits": 6, "presentation_steps": 2, "blank_steps": 1, "cycles": 3, "test_steps": 4}
PIXELS = np.random.default_rng(0).uniform(-1, 1, (7, 3, 2)).astype(np.float32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def patterns(**changes):
    return PatternCompletion(**PATTERNS | changes)


def images(**changes):
    steps = {"count": 3, "presentation_steps": 2, "blank_steps": 1, "cycles": 2, "test_steps": 4}
    return ImageCompletion(**{"images": PIXELS} | steps | changes)


TASKS = {"patterns": patterns, "images": images}


@pytest.mark.parametrize("kind", TASKS)
def test_an_episode_shows_every_item_in_every_cycle_and_then_a_part_of_one(kind):
    task = TASKS[kind]()
    episodes = task.sample(20, generator())
    count, size = (2, 6) if kind == "patterns" else (3, 6)
    cycles = 3 if kind == "patterns" else 2
    assert episodes.items.shape == (20, count, size)
    assert episodes.shown.shape == (cycles * count * (2 + 1) + 4, 20, size)
    orders, asked = set(), set()
    for b in range(20):
        items = episodes.items[b]
        steps = iter(episodes.shown[:, b])
        for _ in range(cycles):
            order = []
            for _ in range(count):
                first, second, blank = itertools.islice(steps, 3)
                order += [k for k in range(count) if torch.equal(first, items[k])][:1]
                assert torch.equal(first, second)
                assert blank.isnan().all()
            orders.add(tuple(order))
            presented = torch.stack([items[k] for k in order])
            assert torch.equal(presented.sort(0).values, items.sort(0).values)
        (which,) = (k for k in range(count) if torch.equal(items[k], episodes.target[b]))
        asked.add(which)
        for cue in steps:
            assert torch.equal(cue.isnan(), episodes.erased[b])
            assert torch.equal(cue[~episodes.erased[b]], episodes.target[b][~episodes.erased[b]])
    assert asked == set(range(count))
    assert orders == set(itertools.permutations(range(count)))


@pytest.mark.parametrize("kind", TASKS)
def test_episodes_come_from_the_generator_alone(kind):
    task, state = TASKS[kind](), torch.get_rng_state()
    one, same, other = (task.sample(3, generator(seed)) for seed in (1, 1, 2))
    for name in one._fields:
        torch.testing.assert_close(getattr(one, name), getattr(same, name), rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(one.items, other.items)
    assert torch.equal(torch.get_rng_state(), state)


def test_bits_are_minus_one_and_one_with_equal_chances():
    items = patterns().sample(2000, generator()).items
    assert set(items.unique().tolist()) == {-1.0, 1.0}
    assert abs(items.mean()) < 0.02


@pytest.mark.parametrize(
    ("share", "bits", "erased"), [(0.5, 6, 3), (0.5, 5, 2), (0.01, 6, 1), (0.99, 6, 5), (0.8, 10, 8)]
)
def test_as_many_bits_are_erased_as_is_asked_for(share, bits, erased):
    task = patterns(bits=bits, erased=share)
    found = task.sample(400, generator()).erased
    assert (found.sum(-1) == erased).all()
    assert (found.float().mean(0) - erased / bits).abs().max() < 0.15  # each as often as any other
    assert task.levels == {"chance": 0.5 * erased / bits}


@pytest.mark.parametrize(("height", "upper"), [(2, 1), (3, 1), (4, 2)])
def test_the_upper_or_the_lower_half_of_an_image_is_erased(height, upper):
    task = images(images=np.zeros((3, height, 2)))
    erased = task.sample(400, generator()).erased.view(400, height, 2)
    top = erased[:, 0, 0]
    assert 0.4 < top.float().mean() < 0.6
    assert (erased[:, :upper] == top[:, None, None]).all()
    assert (erased[:, upper:] == ~top[:, None, None]).all()


def test_the_images_of_an_episode_are_different_and_from_the_task_s_own():
    known = {tuple(image.ravel()) for image in PIXELS}
    seen = set()
    for items in images().sample(50, generator()).items:
        found = [tuple(item.tolist()) for item in items]
        assert len(set(found)) == 3
        seen |= set(found)
    assert seen == known


def test_held_out_images_are_those_held_out():
    task = images(images=PIXELS[:4], held_out=PIXELS[4:])
    fresh = task.held_out()
    assert {tuple(item.tolist()) for item in fresh.sample(9, generator()).items.flatten(0, 1)} == {
        tuple(image.ravel()) for image in PIXELS[4:]
    }
    assert fresh.sample(2, generator()).shown.shape == task.sample(2, generator()).shown.shape
    alone = images()
    assert torch.equal(alone.held_out().images, alone.images)
    assert patterns().held_out().sample(1, generator()).items.shape == (1, 2, 6)


def hand_made(target, erased):
    target, erased = torch.tensor(target), torch.tensor(erased, dtype=torch.bool)
    return CompletionEpisodes(target.unsqueeze(1), torch.where(erased, torch.nan, target).unsqueeze(0), target, erased)


def test_queries_are_half_images_one_after_another():
    task = images(queries=3)
    episodes = task.sample(2, generator())
    assert episodes.shown.shape == (2 * 3 * (2 + 1) + 3 * 4, 2, 6)
    assert episodes.target.shape == episodes.erased.shape == (3 * 2, 6)
    for query, b in itertools.product(range(3), range(2)):
        target, erased = episodes.target[2 * query + b], episodes.erased[2 * query + b]
        assert any(torch.equal(target, item) for item in episodes.items[b])
        cues = episodes.shown[18 + 4 * query : 18 + 4 * (query + 1), b]
        assert all(torch.equal(cue.nan_to_num(9.0), torch.where(erased, 9.0, target)) for cue in cues)
    outputs = torch.arange(30.0).reshape(30, 1, 1).expand(30, 2, 6)
    answers = task.run(lambda shown: outputs, episodes)
    assert answers[:, 0].tolist() == [21, 21, 25, 25, 29, 29]
    loss = (answers - episodes.target).square().sum() / 6
    torch.testing.assert_close(task.loss(answers, episodes), loss)


def test_metrics_of_several_queries_are_their_mean():
    task, one = images(queries=3), images()
    episodes = task.sample(2, generator())
    answers = torch.rand(3 * 2, 6)
    found, single = (of.metrics(answers, episodes) for of in (task, one))
    for name, values in found.items():
        torch.testing.assert_close(values, torch.stack([single[name][b::2].mean() for b in range(2)]))
    assert measure(task, task.network(CoreSettings()), 5, 0)["correlation"].shape == (5,)


def test_one_query_is_the_last_step():
    """And the episodes are those that they would be without queries."""
    one, three = images(), images(queries=3)
    episodes = one.sample(2, generator())
    outputs = torch.rand(22, 2, 6)
    assert torch.equal(one.run(lambda shown: outputs, episodes), outputs[-1])
    assert torch.equal(three.sample(2, generator()).items, episodes.items)


@pytest.mark.parametrize("held_out", [None, PIXELS[:3]])
def test_tests_and_pictures_have_one_query(held_out):
    task = images(queries=3, held_out=held_out)
    assert list(task.tests()) == (["train", "heldout"] if held_out is not None else [""])
    for one in (task.held_out(), *task.tests().values()):
        assert one.queries == 1
        assert (one.count, one.presentation_steps, one.blank_steps, one.cycles, one.test_steps) == (3, 2, 1, 2, 4)
    assert len(task.tests()["train" if held_out is not None else ""].images) == len(PIXELS)


def test_wrong_bits_by_hand():
    episodes = hand_made([[1.0, 1, -1, -1], [1, -1, 1, -1]], [[1, 0, 1, 0], [0, 0, 1, 1]])
    answers = torch.tensor([[0.9, 1, 0.1, -1], [1, -1, 0, -0.3]])  # an output of 0 is wrong
    found = patterns().metrics(answers, episodes)
    assert found["wrong_bits"].tolist() == [0.25, 0.25]
    assert found["wrong_erased_bits"].tolist() == [0.5, 0.5]
    assert patterns().measures == tuple(found)
    loss = patterns().loss(answers, episodes)
    assert loss == pytest.approx((0.1**2 + 1.1**2 + 1 + 0.7**2) / 2)


def test_image_metrics_are_those_of_the_erased_half():
    generator = np.random.default_rng(3)
    target, answers = generator.uniform(-1, 1, (2, 5, 6)).astype(np.float32)
    erased = np.repeat([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], [2, 3], axis=0).astype(bool)
    found = images().metrics(torch.tensor(answers), hand_made(target, erased))
    assert set(found) == set(images().measures)
    for row in range(5):
        a, b = answers[row, erased[row]], target[row, erased[row]]
        assert found["squared_error"][row] == pytest.approx(np.mean((a - b) ** 2), rel=1e-4)
        assert found["correlation"][row] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-3)
    flat = images().metrics(torch.zeros(5, 6), hand_made(target, erased))
    assert flat["correlation"].tolist() == [0.0] * 5


def test_chance_is_what_guessing_gets():
    task = patterns(bits=40, erased=0.25)
    episodes = task.sample(500, generator())
    guesses = torch.where(episodes.erased, torch.randn(500, 40, generator=generator(9)), episodes.target)
    found = task.metrics(guesses, episodes)
    assert found["wrong_bits"].mean() == pytest.approx(task.levels["chance"], rel=0.05)
    assert found["wrong_erased_bits"].mean() == pytest.approx(0.5, rel=0.05)


def rows(wrong, batch=1):
    return [
        {"episodes": batch * (k + 1), "seconds": 0.1 * (k + 1), "wrong_bits": value} for k, value in enumerate(wrong)
    ]


@pytest.mark.parametrize(
    ("wrong", "batch", "expected"),
    [
        ([0.005] * 30, 1, 20),  # the first window of 20
        ([0.4] * 10 + [0.0] * 40, 1, 30),
        ([0.0] * 30 + [0.4] + [0.0] * 40, 1, 51),  # lost, and learned again once the lapse has left the window
        ([0.0] * 30 + [0.4], 1, None),
        ([0.0] * 19, 1, None),
        ([0.2] + [0.0] * 19, 1, None),  # below 1 %, not at it
        ([0.2] + [0.0] * 20, 1, 21),
        ([0.4, 0.4, 0.0, 0.0, 0.0], 8, 40),  # windows of 3 batches
        ([0.4, 0.0], 64, 128),
        ([], 1, None),
    ],
)
def test_when_a_task_was_learned(wrong, batch, expected):
    found = patterns().course(rows(wrong, batch))
    assert found["episodes_to_1_percent"] == expected
    assert found["seconds_to_1_percent"] == (expected and pytest.approx(0.1 * expected / batch))
    assert images().course([]) == {}


@pytest.mark.parametrize(
    ("make", "changes", "says"),
    [
        (patterns, {"patterns": 0}, "patterns is 0: expected at least 1"),
        (patterns, {"bits": 1}, "bits is 1: expected at least 2"),
        (patterns, {"presentation_steps": 0}, "presentation_steps is 0: expected at least 1"),
        (patterns, {"blank_steps": -1}, "blank_steps is -1: expected at least 0"),
        (patterns, {"cycles": 0}, "cycles is 0"),
        (patterns, {"test_steps": 0}, "test_steps is 0"),
        (patterns, {"erased": 0.0}, "erased is 0.0: expected a share between 0 and 1"),
        (patterns, {"erased": 1.0}, "erased is 1.0: expected a share between 0 and 1"),
        (patterns, {"erased": float("nan")}, "erased is nan"),
        (images, {"count": 0}, "count is 0: expected at least 1"),
        (images, {"count": 8}, "images holds 7 images: expected at least the 8 of an episode"),
        (images, {"held_out": PIXELS[:2]}, "held_out holds 2 images: expected at least the 3"),
        (images, {"held_out": PIXELS[:, :2]}, r"held_out has images of \(2, 2\) pixels: expected \(3, 2\)"),
        (images, {"images": PIXELS[0]}, r"images has shape \(3, 2\): expected \(count, height, width\)"),
        (images, {"images": PIXELS[:, :1]}, "at least 2 high"),
        (images, {"images": PIXELS * 9}, r"images has values outside \[-1, 1\]"),
        (images, {"held_out": PIXELS * np.nan}, r"held_out has values outside \[-1, 1\]"),
    ],
)
def test_a_task_that_cannot_be(make, changes, says):
    with pytest.raises(ValueError, match=says):
        make(**changes)


@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize(("kind", "changes"), [("patterns", {}), ("patterns", {"bits": 101}), ("images", {})])
def test_pictures_are_drawn(tmp_path, kind, changes, steps):
    task = TASKS[kind](**changes, presentation_steps=steps)
    episodes = task.sample(9, generator())
    with torch.no_grad():
        answers = task.run(task.network(CoreSettings(core="lstm")), episodes)
    task.draw(tmp_path / "picture.png", answers * 100, episodes)  # also answers that are out of bounds
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096)) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_the_image_that_is_asked_for_is_framed(tmp_path, monkeypatch):
    from plastic_rl.tasks import pictures

    figures = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: figures.append(figure))
    task = images()
    episodes = task.sample(2, generator())
    task.draw(tmp_path / "picture.png", episodes.target, episodes)
    axes = figures[0].axes
    assert len(axes) == 12
    for row in range(2):
        frames = [axes[6 * row + k].spines["top"].get_linewidth() for k in range(3)]
        asked = [torch.equal(item, episodes.target[row]) for item in episodes.items[row]]
        assert np.argmax(frames) == np.argmax(asked)
        answer, truth = (axes[6 * row + k].images[0].get_array() for k in (4, 5))
        np.testing.assert_array_equal(answer, truth)
        np.testing.assert_array_equal(truth.ravel(), episodes.target[row])
        half = axes[6 * row + 3].images[0].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(half).ravel(), episodes.erased[row])

"""Training on supervised tasks: it learns, repeats exactly, goes on exactly, and stops without harm."""

import csv
import math
import shutil

import pytest
import torch

from plastic_rl.data import glyph_characters, split_characters
from plastic_rl.errors import DivergenceError, UserError
from plastic_rl.evaluation.networks import assess, measure
from plastic_rl.evaluation.networks import testing as under_test
from plastic_rl.runs.folder import METRICS, RunFolder
from plastic_rl.tasks import CoreSettings, FewShotClassification, FewShotSettings, PatternCompletion
from plastic_rl.training.session import Interruption
from plastic_rl.training.trainer import Trainer

TASK = PatternCompletion(patterns=2, bits=8, presentation_steps=2, blank_steps=1, cycles=1, test_steps=2)


def trainer(folder, task=TASK, core="plastic", **settings):
    torch.manual_seed(3)
    core_settings = CoreSettings(eta=0.1) if core == "plastic" else CoreSettings(core)
    return Trainer(task, task.network(core_settings), folder, **{"learning_rate": 0.01} | settings)


def weights(trainer):
    return trainer.network.state_dict()


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def rows(folder):
    """The rows of metrics.csv without the clock's column."""
    found = list(csv.DictReader((folder / METRICS).read_text().splitlines()))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


@pytest.mark.parametrize("core", ["plastic", "rnn", "lstm"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_run_in_two_parts_is_the_run_in_one(tmp_path, core, batch_size):
    settings = {"core": core, "batch_size": batch_size, "decay_episodes": 30, "max_grad_norm": 0.5}
    whole = trainer(tmp_path / "whole", **settings)
    assert whole.train(24)
    trainer(tmp_path / "parts", **settings).train(12)
    torch.manual_seed(99)  # another process has other random numbers
    parts = trainer(tmp_path / "parts", **settings)
    parts.restore()
    assert parts.episodes == 12
    assert parts.seconds > 0
    assert parts.train(24)
    assert equal(weights(whole), weights(parts))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert len(rows(tmp_path / "whole")) == 24 // batch_size
    kept, episodes = RunFolder(tmp_path / "parts").read_model("episodes")
    assert equal(kept, weights(whole))
    assert episodes == 24


def test_a_run_goes_on_on_another_kind_of_device(tmp_path):
    """Whose random numbers have another kind of state: with episodes of another stream, the same each time."""
    trainer(tmp_path / "gpu").train(6)
    checkpoint = tmp_path / "gpu" / "checkpoint.pt"
    kept = torch.load(checkpoint, weights_only=True)
    assert kept["device"] == "cpu"
    torch.save(kept | {"device": "cuda", "generator": torch.zeros(16, dtype=torch.uint8)}, checkpoint)
    found = []
    for name in ("one", "other"):
        shutil.copytree(tmp_path / "gpu", tmp_path / name)
        moved = trainer(tmp_path / name)
        moved.restore()
        assert moved.train(12)
        found.append(rows(tmp_path / name))
    assert found[0] == found[1]
    trainer(tmp_path / "cpu").train(12)
    assert found[0][:6] == rows(tmp_path / "cpu")[:6]
    assert found[0][6] != rows(tmp_path / "cpu")[6]


def test_a_run_goes_on_from_its_checkpoint_after_a_crash(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.train(12)
    crashed = trainer(tmp_path / "crashed", checkpoint_every=1e9)
    crashed.train(5)
    for _ in range(3):  # rows after the checkpoint, and a line cut short
        crashed.metrics.add(crashed._update())
    with open(tmp_path / "crashed/metrics.csv", "a") as file:
        file.write("9,1.")
    again = trainer(tmp_path / "crashed")
    again.restore()
    assert again.episodes == 5
    again.train(12)
    assert equal(weights(again), weights(whole))
    assert rows(tmp_path / "crashed") == rows(tmp_path / "whole")


def test_dropout_repeats_too(tmp_path):
    class Dropping(PatternCompletion):
        def network(self, core):
            network = super().network(core)
            network.register_forward_hook(lambda m, _, out: torch.nn.functional.dropout(out, 0.5, m.training))
            return network

    task = Dropping(patterns=2, bits=8, presentation_steps=2, blank_steps=1, cycles=1, test_steps=2)
    whole = trainer(tmp_path / "whole", task)
    whole.train(8)
    trainer(tmp_path / "parts", task).train(4)
    torch.manual_seed(99)
    parts = trainer(tmp_path / "parts", task)
    parts.restore()
    parts.train(8)
    assert equal(weights(whole), weights(parts))
    assert assess(task, parts.network, 4, 5) == assess(TASK, parts.network, 4, 5) != {}  # none in tests


def test_seeds_matter(tmp_path):
    runs = [trainer(tmp_path / str(k), seed=seed) for k, seed in enumerate((1, 1, 2))]
    for run in runs:
        run.train(4)
    assert equal(weights(runs[0]), weights(runs[1]))
    assert not equal(weights(runs[0]), weights(runs[2]))


def test_training_rounds_up_to_whole_batches(tmp_path):
    run = trainer(tmp_path, batch_size=4)
    assert run.train(10)
    assert run.episodes == 12
    assert [row["episodes"] for row in rows(tmp_path)] == ["4", "8", "12"]


def test_the_learning_rate_falls_along_a_cosine(tmp_path):
    trainer(tmp_path, decay_episodes=8).train(10)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path)]
    expected = [0.01 * (1 + math.cos(math.pi * min(1, k / 8))) / 2 for k in range(10)]
    assert rates == pytest.approx(expected, rel=1e-5)
    assert rates[8:] == [0, 0]


def test_the_learning_rate_falls_in_steps(tmp_path):
    trainer(tmp_path, drop_every=3).train(8)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path)]
    assert rates == pytest.approx([0.01 * (2 / 3) ** (k // 3) for k in range(8)], rel=1e-5)


@pytest.fixture(scope="module")
def few_shot():
    """A task with data for validation, and a network with statistics that no gradient changes."""
    settings = FewShotSettings(way=2, width=4, activation="relu", batch_norm=True)
    return FewShotClassification(split_characters(glyph_characters(31, 3), "glyphs"), settings)


def test_rows_may_be_means_over_updates(tmp_path):
    trainer(tmp_path / "all", batch_size=2).train(24)
    trainer(tmp_path / "some", batch_size=2, log_every=7).train(24)
    single, means = rows(tmp_path / "all"), rows(tmp_path / "some")
    assert [row["episodes"] for row in means] == ["8", "14", "22", "24"]
    first = 0
    for row in means:
        last = int(row["episodes"]) // 2
        for name in ("loss", "wrong_bits", "gradient_norm", "eta"):
            expected = sum(float(one[name]) for one in single[first:last]) / (last - first)
            assert float(row[name]) == pytest.approx(expected, rel=1e-4)
        assert row["learning_rate"] == single[last - 1]["learning_rate"]
        first = last


@pytest.mark.parametrize("parts", [(16,), (4, 10, 18)])
def test_a_run_with_validation_goes_on_exactly(tmp_path, few_shot, parts):
    settings = {"batch_size": 2, "log_every": 5, "validate_every": 8, "validation_episodes": 20}
    whole = trainer(tmp_path / "whole", few_shot, **settings)
    whole.train(30)
    for until in (*parts, 30):
        torch.manual_seed(99)
        part = trainer(tmp_path / "parts", few_shot, **settings)
        if until != parts[0]:
            part.restore()
        part.train(until)
    assert equal(weights(whole), weights(part))
    assert any("running_mean" in name for name in weights(part))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    one, other = (RunFolder(tmp_path / name).read_model("episodes") for name in ("whole", "parts"))
    assert equal(one[0], other[0])
    assert one[1] == other[1]


def test_the_best_in_validation_is_kept(tmp_path, few_shot):
    settings = {"batch_size": 2, "validate_every": 6, "validation_episodes": 50, "learning_rate": 0.1}
    run = trainer(tmp_path, few_shot, **settings)
    run.train(60)
    found = [row for row in rows(tmp_path) if row["validation_accuracy"]]
    assert [row["episodes"] for row in found] == [str(6 * k) for k in range(1, 11)]
    scores = [float(row["validation_accuracy"]) for row in found]
    best = max(k for k, score in enumerate(scores) if score == max(scores))
    last = {name: value.clone() for name, value in weights(run).items()}
    kept, episodes = RunFolder(tmp_path).read_model("episodes")
    assert run.use_best() == episodes == 6 * (best + 1)
    assert equal(kept, weights(run))
    assert equal(last, kept) == (best == len(found) - 1)
    mean = measure(few_shot.validation(), run.network, 50, 3_000_000_000)["accuracy"].mean().item()
    assert mean == pytest.approx(max(scores), abs=1e-5)


def test_the_last_weights_are_validated_too(tmp_path, few_shot):
    """Also if that was not due, but a run that goes on knows nothing of it."""
    settings = {"batch_size": 2, "validate_every": 6, "validation_episodes": 50, "learning_rate": 0.01}
    run = trainer(tmp_path / "parts", few_shot, **settings)
    run.train(10)
    run.best["score"] = -1.0
    assert run.use_best() == 10
    kept, episodes = RunFolder(tmp_path / "parts").read_model("episodes")
    assert equal(kept, weights(run))
    assert episodes == 10
    on = trainer(tmp_path / "parts", few_shot, **settings)
    on.restore()
    whole = trainer(tmp_path / "whole", few_shot, **settings)
    for one in (on, whole):
        one.train(12)
    assert on.best["episodes"] == whole.best["episodes"]
    assert equal(on.best["network"], whole.best["network"])


def test_a_score_that_is_no_number_is_the_worst(tmp_path, few_shot, monkeypatch):
    scores = iter([math.nan, 0.5, math.nan, 0.4])
    monkeypatch.setattr(FewShotClassification, "score", lambda *_: next(scores))
    run = trainer(tmp_path, few_shot, batch_size=2, validate_every=2, validation_episodes=5)
    run.train(8)
    assert run.use_best() == 4


def test_a_run_that_is_too_short_for_a_row_has_one(tmp_path):
    run = trainer(tmp_path, log_every=100)
    run.train(4)
    assert [row["episodes"] for row in rows(tmp_path)] == ["4"]
    run.train(110)
    assert [row["episodes"] for row in rows(tmp_path)] == ["100", "110"]


def test_validation_changes_nothing_in_training(tmp_path, few_shot):
    runs = [trainer(tmp_path / str(every), few_shot, batch_size=2, validate_every=every) for every in (0, 4)]
    for run in runs:
        run.train(12)
    assert equal(*map(weights, runs))
    assert "validation_accuracy" not in rows(tmp_path / "0")[0]


def test_a_task_without_data_for_validation_has_none(tmp_path):
    with pytest.raises(ValueError, match="validate_every is 2: expected 0, since this task has no validation"):
        trainer(tmp_path, validate_every=2)
    run = trainer(str(tmp_path))
    run.train(4)
    assert run.best is None
    assert run.use_best() == 4


class Tied(torch.nn.Module):
    """A network that uses a tensor under two names, and keeps something that is no tensor."""

    def __init__(self):
        super().__init__()
        self.inner = TASK.network(CoreSettings())
        self.again = self.inner
        self.calls = 0

    def forward(self, shown):
        self.calls += 1
        return self.again(shown)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


def test_any_module_can_be_trained(tmp_path):
    run, again = (Trainer(TASK, Tied(), tmp_path, learning_rate=0.01) for _ in range(2))
    run.train(3)
    again.restore()
    assert again.network.calls == 3
    assert torch.equal(again.network.inner.core.w, run.network.inner.core.w)


def test_measures_that_do_not_fit_are_named(tmp_path):
    class Mean(PatternCompletion):
        def metrics(self, prediction, episodes):
            return {"wrong_bits": prediction.mean()}

    task = Mean(**vars_of(TASK))
    with pytest.raises(ValueError, match=r"metrics\(\) gives wrong_bits: expected its measures, wrong_bits, wrong_er"):
        trainer(tmp_path, task).train(1)
    with pytest.raises(ValueError, match=r"metric wrong_bits has shape \(\): expected \(5,\)"):
        assess(task, task.network(CoreSettings()), 5, 7)
    with pytest.raises(ValueError, match="episodes is 0: expected at least 1"):
        assess(TASK, task.network(CoreSettings()), 0, 7)


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    trainer(tmp_path).train(2)
    kept = torch.load(tmp_path / "checkpoint.pt")
    torch.save(
        {name: kept[name] for name in kept if name not in ("best", "sums", "updates")}, tmp_path / "checkpoint.pt"
    )
    again = trainer(tmp_path)
    again.restore()
    assert again.train(4)


def test_gradients_are_clipped(tmp_path):
    torch.manual_seed(0)
    run = trainer(tmp_path, max_grad_norm=1e-3)
    row = run._update()
    assert row["gradient_norm"] > 1e-3
    norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in run.parameters]))
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


def test_eta_stays_in_bounds_and_in_the_table(tmp_path):
    trainer(tmp_path / "plastic", learning_rate=5.0).train(6)
    etas = [float(row["eta"]) for row in rows(tmp_path / "plastic")]
    assert all(0 <= eta <= 1 for eta in etas)
    assert set(etas) & {0.0, 1.0}
    trainer(tmp_path / "rnn", core="rnn").train(2)
    assert "eta" not in rows(tmp_path / "rnn")[0]


def test_a_run_can_be_stopped_between_two_updates(tmp_path):
    interruption = Interruption()

    class Stopping(PatternCompletion):
        def sample(self, count, generator):
            if run.episodes == 3:
                interruption.number = 2
            return super().sample(count, generator)

    task = Stopping(patterns=2, bits=8, presentation_steps=2, blank_steps=1, cycles=1, test_steps=2)
    run = trainer(tmp_path, task, interruption=interruption)
    assert not run.train(10)
    assert run.episodes == 4
    again = trainer(tmp_path)
    again.restore()
    assert again.episodes == 4
    assert equal(weights(again), weights(run))


@pytest.mark.parametrize("what", ["loss", "gradient", "weight"])
def test_divergence_keeps_the_last_good_checkpoint(tmp_path, what):
    run = trainer(tmp_path)
    run.train(3)
    good = {name: value.clone() for name, value in weights(run).items()}
    if what == "weight":
        run.learning_rate = math.inf
    else:
        # A loss of 0 times infinity, and one that is finite but whose gradient at 0 is not.
        bad = {"loss": lambda p: (p - p).sum() * math.inf, "gradient": lambda p: (p - p).abs().sum().sqrt()}
        run.task = type("Bad", (PatternCompletion,), {"loss": lambda self, p, _: bad[what](p)})(**vars_of(TASK))
    with pytest.raises(
        DivergenceError, match=rf"training diverged at episode 4: (the|a) {what}( norm)? is (nan|not finite)"
    ):
        run.train(4)
    again = trainer(tmp_path)
    again.restore()
    assert again.episodes == 3
    assert equal(weights(again), good)
    assert equal(RunFolder(tmp_path).read_model("episodes")[0], good)


def vars_of(task):
    steps = ("presentation_steps", "blank_steps", "cycles", "test_steps")
    return {"patterns": task.count, "bits": task.size} | {name: getattr(task, name) for name in steps}


PICKLE = b"\x80\x02cos\nsystem\n(S'touch pwned'\ntR."


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (None, "has no checkpoint.pt to resume from"),
        (lambda content: content[: len(content) // 2], "cannot resume: .*checkpoint.pt is damaged"),
        (lambda _: b"", "cannot resume: .*checkpoint.pt is damaged"),
        (lambda _: PICKLE, "it was not run"),
        (lambda content: content[:2000] + bytes(2000) + content[4000:], "cannot resume"),
    ],
)
def test_a_damaged_checkpoint(tmp_path, damage, says):
    trainer(tmp_path).train(2)
    path = tmp_path / "checkpoint.pt"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=says):
        trainer(tmp_path).restore()
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_of_another_run(tmp_path):
    trainer(tmp_path).train(2)
    with pytest.raises(UserError, match="damaged, or of another run"):
        trainer(tmp_path, core="lstm").restore()
    torch.save({"episodes": 2}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="damaged, or of another run"):
        trainer(tmp_path).restore()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("decay_episodes", -1),
        ("drop_every", -1),
        ("log_every", -1),
        ("validate_every", -1),
        ("validation_episodes", 0),
    ],
)
def test_a_setting_that_cannot_be(tmp_path, name, value):
    with pytest.raises(ValueError, match=rf"{name} is {value}: expected at least"):
        trainer(tmp_path, **{name: value})


def test_assess_is_a_mean_over_episodes_whatever_the_batches(tmp_path):
    network = TASK.network(CoreSettings())
    found = assess(TASK, network, 1, 7)
    assert set(found) == {"loss", "wrong_bits", "wrong_erased_bits"}
    # Batches draw other episodes; but means over many of them agree.
    many = [assess(TASK, network, 2003, 7, batch_size=size)["loss"] for size in (500, 2003)]
    assert many[0] == pytest.approx(many[1], rel=0.05)
    sizes = []

    class Counting(PatternCompletion):
        def metrics(self, prediction, episodes):
            assert not prediction.requires_grad
            sizes.append(len(prediction))
            return {"size": torch.full((len(prediction),), float(len(sizes)))}

    assert assess(Counting(**vars_of(TASK)), network, 5, 7, batch_size=2)["size"] == (1 + 1 + 2 + 2 + 3) / 5
    assert sizes == [2, 2, 1]


def test_testing_puts_a_network_back_as_it_was():
    network = torch.nn.Dropout()
    with under_test(network):
        assert not network.training
        assert not torch.is_grad_enabled()
    assert network.training
    network.eval()
    with pytest.raises(KeyError), under_test(network):
        raise KeyError
    assert not network.training
    frozen = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout()).train()
    frozen[0].eval()
    with under_test(frozen):
        assert not frozen[1].training
    assert [module.training for module in frozen.modules()] == [True, False, True]


def test_tensorboard_gets_every_row(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer(tmp_path, tensorboard=True).train(3)
    log = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert {"train/loss", "train/wrong_bits", "train/eta"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("train/loss")] == [1, 2, 3]


def test_what_only_plasticity_can_learn_is_learned_with_it_alone(tmp_path):
    """Chance is 50 % of the erased bits, for a network without plasticity whatever its weights; the ceiling is 0."""
    task = PatternCompletion(patterns=1, bits=16, presentation_steps=2, blank_steps=4, cycles=1, test_steps=2)
    wrong = {}
    for core in ("plastic", "rnn"):
        run = trainer(tmp_path / core, task, core=core, batch_size=10, learning_rate=0.02)
        run.train(1500)
        wrong[core] = assess(task, run.network, 300, 1)["wrong_erased_bits"]
    assert wrong["plastic"] < 0.05
    assert wrong["rnn"] > 0.2

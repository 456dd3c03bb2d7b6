import csv
import json

import numpy as np
import pytest

from plastic_rl import cli
from plastic_rl.commands.curves import _averaged, labels


def make_run(folder, rows, command="images", **settings):
    """A run folder as far as curves are concerned."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"command": command, "run": settings}))
    lines = ["episodes,seconds,loss,correlation", *(",".join(map(str, row)) for row in rows)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


def falling(start):
    return [(k, k / 10, start - k, 0.5) for k in range(1, 9)]


def test_runs_of_several_seeds_are_drawn_as_groups(here, capsys):
    runs = [
        make_run(here / f"plastic-{seed}", falling(20 + seed), core="plastic", eta=0.1, seed=seed) for seed in range(3)
    ]
    runs.append(make_run(here / "rnn", falling(40), core="rnn", eta=0.2, seed=0))  # an eta that means nothing
    runs.append(make_run(here / "other", falling(30), core="plastic", eta=0.3, seed=0))
    cli.main(["curves", *runs, "--points", "4", "--out", "figures/all.png"])
    assert capsys.readouterr().out == "figure: figures/all.png\npoints: figures/all.csv\n"
    assert (here / "figures/all.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((here / "figures/all.csv").read_text().splitlines()))
    assert list(rows[0]) == ["runs", "seed", "episodes", "seconds", "loss"]
    points = {(row["runs"], row["seed"]): [] for row in rows}
    for row in rows:
        points[row["runs"], row["seed"]].append((float(row["episodes"]), float(row["loss"])))
    assert list(points) == [
        ("plastic, eta 0.1", "0"), ("plastic, eta 0.1", "1"), ("plastic, eta 0.1", "2"), ("rnn", "0"),
        ("plastic, eta 0.3", "0"),
    ]  # fmt: skip
    means = [(1.5, 38.5), (3.5, 36.5), (5.5, 34.5), (7.5, 32.5)]
    np.testing.assert_allclose(points["rnn", "0"], means)


def test_a_comparison_is_no_run(refused, here):
    folder = make_run(here / "comparison", [], command="compare")
    known = "maze or cue-reward or cue-action or memorize or images or omniglot"
    says = f"is a run of compare: expected a run of {known}; its runs lie in it"
    assert says in refused("curves", folder, code=1)


def test_a_setting_newer_than_a_run_was_as_by_default(here):
    old = make_run(here / "old", falling(20), core="plastic", seed=0)
    new = make_run(here / "new", falling(22), core="plastic", seed=1, test_steps=3)
    cli.main(["curves", old, new])
    rows = list(csv.DictReader((here / "curves.csv").read_text().splitlines()))
    assert {row["runs"] for row in rows} == {"all"}


def test_runs_that_share_no_part_of_the_axis_are_drawn(here):
    early = make_run(here / "early", falling(20)[:2], core="plastic", seed=0)
    late = make_run(here / "late", falling(20)[4:], core="plastic", seed=1)
    cli.main(["curves", early, late])
    assert (here / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_another_column_and_a_logarithmic_axis(here):
    run = make_run(here / "run", falling(20), core="rnn")
    cli.main(["curves", run, "--column", "correlation", "--log"])
    rows = list(csv.DictReader((here / "curves.csv").read_text().splitlines()))
    assert {row["correlation"] for row in rows} == {"0.5"}
    assert len(rows) == 8


def test_means_are_over_parts_of_the_axis():
    x = np.array([1.0, 2.0, 4.0, 8.0, 10.0, 100.0])
    near, far = _averaged(2, True, x, x)
    np.testing.assert_allclose(near, [5, 100])
    np.testing.assert_allclose(far, [5, 100])
    np.testing.assert_allclose(_averaged(9, False, x)[0], [5, 100])
    np.testing.assert_allclose(_averaged(3, False, np.array([7.0]))[0], [7])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{"core": "rnn", "seed": 0}, {"core": "rnn", "seed": 1, "threads": 2}], ["all", "all"]),
        ([{"core": "rnn", "episodes": 5}, {"core": "lstm", "episodes": 9}], ["rnn", "lstm"]),
        ([{"alpha": "shared"}, {"alpha": "neuron"}], ["alpha shared", "alpha neuron"]),
        ([{"core": "rnn", "episodes": 5}, {"core": "rnn", "episodes": 9}], ["episodes 5", "episodes 9"]),
        (
            [{"core": "rnn", "learning_rate": 0.1}, {"core": "rnn", "learning_rate": 0.2}, {"core": "lstm"}],
            ["rnn, learning rate 0.1", "rnn, learning rate 0.2", "lstm"],
        ),
        (
            [{"modulation": "simple", "fan_out": "none"}, {"modulation": "retroactive", "fan_out": "none"}, {}],
            ["modulation simple", "modulation retroactive", "all"],
        ),
    ],
)
def test_runs_are_named_by_what_tells_them_apart(settings, expected):
    assert labels(settings) == expected


def test_mistakes(here, capsys):
    run = make_run(here / "run", falling(20))
    other = make_run(here / "other", falling(20), command="memorize")
    empty = make_run(here / "empty", [])
    (here / "file").write_text("")
    for words, code, message in [
        ([], 2, "no runs: name at least one run folder"),
        ([run, other], 2, f"runs of one command can be drawn together: {run} is of images, {other} is of memorize"),
        ([run, "--column", "nothing"], 2, f"{run} has no column 'nothing': its last row has loss, correlation"),
        ([run, "--points", "0"], 2, "--points is 0: expected at least 1"),
        ([run, "--out", "curves.jpg"], 2, "--out is curves.jpg: expected a name that ends with .png"),
        ([run, "--out", "file/curves.png"], 1, "a file is in its place"),
        ([run, "--out", f"{run}/metrics.png"], 2, "holds a run, whose files would be lost: name another folder"),
        ([empty], 1, f"{empty} has no curve yet: {empty}/metrics.csv has no rows"),
        ([str(here / "missing")], 1, f"there is no folder {here / 'missing'}"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["curves", *words])
        error = capsys.readouterr().err
        assert stopped.value.code == code, error
        assert error.startswith("plastic-rl: error: ")
        assert message in error

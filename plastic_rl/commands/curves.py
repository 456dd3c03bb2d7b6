"""The ``curves`` command: learning curves of several runs in one figure.

Runs that differ only in their seed form a group, which is drawn as its median and quartiles.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plastic_rl.choices import UNUSED, without_effect
from plastic_rl.errors import UsageError, UserError
from plastic_rl.figures.curves import curves_of_groups
from plastic_rl.files import write_csv
from plastic_rl.runs.folder import RunFolder, check_no_run, make_folder
from plastic_rl.settings import AGENT_RUNS, RUNS, Curves

COLUMN = {
    **dict.fromkeys(AGENT_RUNS, "return_mean"), "memorize": "wrong_bits", "images": "loss",
    "omniglot": "validation_accuracy",
}  # fmt: skip
SHARES = ("wrong_bits", "wrong_erased_bits", "validation_accuracy")  # drawn in percent
UNNAMED = ("core", "rule", "env", "data")  # their values need no name in a label
LENGTHS = ("steps", "decay_steps", "episodes", "decay_episodes")
# Settings that have no effect on what is learned.
IRRELEVANT = (
    "seed", "out", "resume", "threads", "device", "tensorboard", "checkpoint_every", "eval_episodes", "data_dir",
    "log_every", "validate_every", "validation_episodes",
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """A run's settings, and the points of its curve; all arrays have the same length."""

    settings: dict[str, Any]
    seed: int
    effort: np.ndarray  # steps or episodes
    seconds: np.ndarray
    result: np.ndarray


def curves(config: Curves) -> None:
    """Draw the curves of runs, and write the points as CSV beside the figure.

    Raises:
        UserError: a folder is not a run, or its metrics.csv is damaged or still empty.
        UsageError: the runs are of different commands, or lack the column; or the figure would go into a run.
    """
    check_no_run(config.out.absolute().parent)
    runs = [RunFolder(path) for path in config.runs]
    for run in runs:
        run.check_command(*RUNS)
    command, *others = dict.fromkeys(run.command for run in runs)
    if others:
        listed = ", ".join(f"{run} is of {run.command}" for run in runs)
        raise UsageError(f"only runs of one command can be drawn together: {listed}")
    column = config.column or COLUMN.get(command, "loss")
    default = RUNS[command].from_preset().to_json()  # a setting newer than a run had its default value
    found = [_read(run, default | run.config["run"], column, config.points, config.log) for run in runs]
    groups: dict[str, list[Curve]] = {}
    for name, curve in zip(labels([curve.settings for curve in found]), found, strict=True):
        groups.setdefault(name, []).append(curve)
    make_folder(config.out.absolute().parent, "--out")
    what = "environment steps" if command in AGENT_RUNS else "episodes"
    unit, factor = (", %", 100) if column in SHARES else ("", 1)
    drawn = {name: [(curve.effort, factor * curve.result) for curve in group] for name, group in groups.items()}
    curves_of_groups(config.out, drawn, (what, column.replace("_", " ") + unit), config.log)
    table = config.out.with_suffix(".csv")
    rows = [
        (name, curve.seed, *row)
        for name, group in groups.items()
        for curve in group
        for row in zip(curve.effort, curve.seconds, curve.result, strict=True)
    ]
    write_csv(table, ("runs", "seed", what.split()[-1], "seconds", column), rows)
    print(f"figure: {config.out}\npoints: {table}")


def labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each run: its core, and the settings in which it differs from others of its core.

    Runs that differ in nothing have the same label. How long they trained is part of it only if nothing else differs.
    """
    cores = {one.get("core") for one in settings}
    return [_label(one, [other for other in settings if other.get("core") == one.get("core")], len(cores) > 1)
            for one in settings]  # fmt: skip


def _label(one: Mapping[str, Any], alike: Sequence[Mapping[str, Any]], with_core: bool) -> str:
    def distinct(names: Sequence[str]) -> int:
        return len({tuple(repr(other.get(name)) for name in names) for other in alike})

    differing: list[str] = []
    for name in dict.fromkeys(itertools.chain(*alike)):
        # What some runs have no use for is one and the same in the others: it is named only if nothing else tells.
        telling = distinct([*differing, name]) > distinct(differing)
        if name not in IRRELEVANT and (telling or len({repr(other[name]) for other in alike if name in other}) > 1):
            differing.append(name)
    short = [name for name in differing if name not in LENGTHS]
    chosen = ["core"] * with_core + (short if distinct(short) == distinct(differing) else differing)
    return ", ".join(_in_words(name, one[name]) for name in chosen if one.get(name) is not None) or "all"


def _in_words(name: str, value: Any) -> str:
    return str(value) if name in UNNAMED else f"{name.replace('_', ' ')} {value}"


def _read(run: RunFolder, settings: dict[str, Any], column: str, points: int, log: bool) -> Curve:
    core = settings.get("core")
    unused = without_effect(core, settings.get("modulation")) if core in UNUSED else frozenset()
    settings = {name: value for name, value in settings.items() if name not in unused}
    metrics = run.metrics()
    rows = metrics.rows()
    if not rows:
        raise UserError(f"{run} has no curve yet: {metrics.path} has no rows")
    effort, known = next(iter(rows[0])), rows[-1]
    rows = [row for row in rows if column in row]
    if not rows:
        names = ", ".join(name for name in known if name not in (effort, "seconds"))
        raise UsageError(f"{run} has no column {column!r}: its last row has {names}; name one with --column")
    x, seconds, y = (np.array([row[name] for row in rows]) for name in (effort, "seconds", column))
    return Curve(settings, settings.get("seed", 0), *_averaged(points, log, x, seconds, y))


def _averaged(points: int, log: bool, x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Means over at most ``points`` parts of equal length, on a logarithmic axis if ``log``."""
    edges = (np.geomspace if log else np.linspace)(x[0], x[-1], points + 1)[1:-1]
    part = np.searchsorted(edges, x, side="left")
    counts = np.bincount(part)
    return [np.bincount(part, values)[counts > 0] / counts[counts > 0] for values in (x, *others)]

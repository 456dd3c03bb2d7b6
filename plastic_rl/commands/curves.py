"""The ``curves`` command: learning curves of several runs in one figure.

Runs that differ in nothing but their seed are one group, drawn as its median and quartiles.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plastic_rl.choices import UNUSED
from plastic_rl.errors import UsageError, UserError
from plastic_rl.figures.curves import curves_of_groups
from plastic_rl.files import write_csv
from plastic_rl.runs import folder as folders
from plastic_rl.settings import RUNS, Curves

COLUMN = {"maze": "return_mean", "memorize": "wrong_bits", "images": "loss", "omniglot": "validation_accuracy"}
SHARES = ("wrong_bits", "wrong_erased_bits", "validation_accuracy")  # drawn in percent
FOR_THEMSELVES = ("core", "rule", "env", "data")  # whose values speak
LENGTHS = ("steps", "decay_steps", "episodes", "decay_episodes")
# Settings that change nothing that is learned.
ASIDE = (
    "seed", "out", "resume", "threads", "device", "tensorboard", "checkpoint_every", "eval_episodes", "data_dir",
    "log_every", "validate_every", "validation_episodes",
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """What is drawn of a run: its settings, and points of its course, all of the same length."""

    settings: dict[str, Any]
    seed: int
    effort: np.ndarray  # steps or episodes
    seconds: np.ndarray
    result: np.ndarray


def curves(config: Curves) -> None:
    """Draw the curves of runs, and write what is drawn as CSV beside the figure.

    Raises:
        UserError: a folder is not a run, or its metrics.csv is damaged or still empty.
        UsageError: the runs are of different commands, or have no such column; or the figure is to go into a run.
    """
    folders.check_no_run(config.out.absolute().parent)
    kept = {folder: folders.read_config(folder) for folder in config.runs}
    for folder, one in kept.items():
        if one["command"] not in RUNS:
            raise folders.other_run(folder, one["command"], *RUNS)
    command, *others = dict.fromkeys(one["command"] for one in kept.values())
    if others:
        told = ", ".join(f"{folder} is of {one['command']}" for folder, one in kept.items())
        raise UsageError(f"runs of one command can be drawn together: {told}")
    column = config.column or COLUMN.get(command, "loss")
    # A setting that is newer than a run was as by default.
    default = RUNS[command].from_preset().to_json()
    found = [_read(folder, default | one["run"], column, config.points, config.log) for folder, one in kept.items()]
    groups: dict[str, list[Curve]] = {}
    for name, curve in zip(labels([curve.settings for curve in found]), found, strict=True):
        groups.setdefault(name, []).append(curve)
    folders.make_folder(config.out.absolute().parent, "--out")
    what = "environment steps" if command == "maze" else "episodes"
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
    """Name each of some settings by its core and what others of its core have otherwise; alike ones are named alike.

    How long they trained is named only where nothing else tells them apart.
    """
    cores = {one.get("core") for one in settings}
    return [_label(one, [other for other in settings if other.get("core") == one.get("core")], len(cores) > 1)
            for one in settings]  # fmt: skip


def _label(one: Mapping[str, Any], alike: Sequence[Mapping[str, Any]], with_core: bool) -> str:
    def apart(names: Sequence[str]) -> int:
        return len({tuple(repr(other.get(name)) for name in names) for other in alike})

    differing = [name for name in dict.fromkeys(itertools.chain(*alike)) if name not in ASIDE and apart([name]) > 1]
    telling = [name for name in differing if name not in LENGTHS]
    chosen = ["core"] * with_core + (telling if apart(telling) == apart(differing) else differing)
    return ", ".join(_said(name, one[name]) for name in chosen if one.get(name) is not None) or "all"


def _said(name: str, value: Any) -> str:
    """A setting and its value in words."""
    return str(value) if name in FOR_THEMSELVES else f"{name.replace('_', ' ')} {value}"


def _read(folder: Path, settings: dict[str, Any], column: str, points: int, log: bool) -> Curve:
    unused = UNUSED.get(settings.get("core", ""), frozenset())
    settings = {name: value for name, value in settings.items() if name not in unused}
    course = folders.Course(folder, [])
    rows = course.rows()
    if not rows:
        raise UserError(f"{folder} has no curve yet: {course.path} has no rows")
    effort = next(iter(rows[0]))
    rows = [row for row in rows if column in row]
    if not rows:
        known = ", ".join(name for name in course.rows()[-1] if name not in (effort, "seconds"))
        raise UsageError(f"{folder} has no column {column!r}: its last row has {known}; name one with --column")
    x, seconds, y = (np.array([row[name] for row in rows]) for name in (effort, "seconds", column))
    return Curve(settings, settings.get("seed", 0), *_averaged(points, log, x, seconds, y))


def _averaged(points: int, log: bool, x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Means over at most so many parts of equal length, on a logarithmic axis if ``log``."""
    edges = (np.geomspace if log else np.linspace)(x[0], x[-1], points + 1)[1:-1]
    part = np.searchsorted(edges, x, side="left")
    counts = np.bincount(part)
    return [np.bincount(part, values)[counts > 0] / counts[counts > 0] for values in (x, *others)]

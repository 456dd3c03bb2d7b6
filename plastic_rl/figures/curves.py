"""Learning curves: of one run, and of groups of runs."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plastic_rl.figures.style import BLUE, COLOURS, FAINT, INK, dress, new_figure, save
from plastic_rl.text import number


def learning_curve(
    path: Path, x: np.ndarray, y: np.ndarray, title: str, labels: tuple[str, str], levels: Mapping[str, float]
) -> None:
    """Draw a run's learning curve.

    Args:
        path: path of the PNG file.
        x: steps or episodes, one-dimensional.
        y: results, of the same length.
        title: title of the figure.
        labels: labels of x and y.
        levels: results to compare with, by name, drawn as horizontal lines.
    """
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    # A line through a single point would be invisible.
    axes.plot(x, y, color=BLUE, linewidth=2, marker="o" if len(x) < 3 else None)
    right = max(x.max() if len(x) else 0, 1)
    _draw_levels(axes, levels, right, [(x, y)])
    axes.set_title(title, color=INK, fontsize=11, loc="left")
    dress(axes, right, labels)
    save(figure, path)


def compared_curves(
    path: Path,
    groups: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]],
    labels: tuple[str, str, str],
    levels: Mapping[str, float],
) -> None:
    """Draw groups of curves against two measures of effort, side by side: the median, and the quartiles as a band.

    Args:
        path: path of the PNG file.
        groups: curves by the name of their group; a curve is two efforts and a result, one-dimensional and of the same
            length.
        labels: labels of the two efforts and of the result.
        levels: results to compare with, by name, drawn as horizontal lines.
    """
    figure = new_figure(11, 4.4)
    for effort, axes in enumerate(figure.subplots(1, 2, sharey=True)):
        chosen = {name: [(curve[effort], curve[2]) for curve in curves] for name, curves in groups.items()}
        right = _draw_groups(axes, chosen, log=False)
        _draw_levels(axes, levels, right, list(itertools.chain(*chosen.values())))
        dress(axes, right, (labels[effort], labels[2] if effort == 0 else ""))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, labelcolor=INK)
    save(figure, path)


def curves_of_groups(
    path: Path, groups: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], labels: tuple[str, str], log: bool
) -> None:
    """Draw groups of curves: the median, and the quartiles as a band.

    Args:
        path: path of the PNG file.
        groups: curves by the name of their group; a curve is effort and result, one-dimensional and of the same length.
        labels: labels of effort and result.
        log: whether the axis of effort is logarithmic.
    """
    figure = new_figure(9.6 if len(groups) > 1 else 7.2, 4.2)
    axes = figure.add_subplot()
    if log:
        axes.set_xscale("log")
    first = min(x[0] for curves in groups.values() for x, _ in curves)
    dress(axes, _draw_groups(axes, groups, log), labels, first if log else 0.0)
    if len(groups) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, labelcolor=INK)
    save(figure, path)


def _draw_levels(
    axes: Any, levels: Mapping[str, float], right: float, curves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Draw horizontal lines, with labels over the last part of the curves, each on the side where the curves are not.

    Args:
        axes: of the figure.
        levels: heights of the lines, by name.
        right: right end of the axes.
        curves: that are drawn there.
    """
    last = np.concatenate([y[x > 0.7 * right] for x, y in curves])
    heights = [0, *itertools.chain(*(y for _, y in curves)), *levels.values()]
    decimals = 1 if np.ptp(heights) > 10 else 4  # more would be invisible
    for name, level in levels.items():
        label = f"{name} {number(round(level, decimals))}"
        axes.axhline(level, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        below = max(last - level, default=0.0) > max(level - last, default=0.0)
        axes.annotate(
            label, (right, level), textcoords="offset points", xytext=(-2, -4 if below else 4),
            ha="right", va="top" if below else "bottom", color=FAINT, fontsize=9,
        )  # fmt: skip


def _draw_groups(axes: Any, groups: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], log: bool) -> float:
    """Draw the median and quartiles of each group where all its curves have values; return the right end."""
    ends = []
    for (name, curves), color in zip(groups.items(), itertools.cycle(COLOURS)):
        low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
        if low > high:  # the curves do not overlap
            for k, (x, y) in enumerate(curves):
                axes.plot(x, y, color=color, linewidth=1, marker="o", label=name if k == 0 else None)
                ends.append(x[-1])
            continue
        at = (np.geomspace if log else np.linspace)(low, high, 200)
        ys = [np.interp(at, x, y) for x, y in curves]
        # A line through a single point would be invisible.
        marker = "o" if low == high else None
        axes.plot(at, np.median(ys, 0), color=color, linewidth=2, label=name, marker=marker)
        axes.fill_between(at, *np.quantile(ys, (0.25, 0.75), 0), color=color, alpha=0.18, linewidth=0)
        ends.append(high)
    return float(max(ends))

"""Pictures of a run: its learning curve, and a lifetime as an animation; what all figures have in common."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plastic_rl.files import write_atomically
from plastic_rl.text import number

COLORS = 64  # of an animation: enough for both sides of a heat map and for smooth edges
BLUE, INK, FAINT, GRID = "#2563eb", "#1e293b", "#6b778c", "#e5e9f0"
# Of groups of curves: told apart by people with any kind of colour vision (Okabe and Ito's, darkened for lines).
COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", "#6b778c", "#b8860b", "#56b4e9", "#000000")


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Put a figure in its place whole, as a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def learning_curve(
    path: Path, x: np.ndarray, y: np.ndarray, title: str, labels: tuple[str, str], levels: Mapping[str, float]
) -> None:
    """Draw what was learned over time, labels for both, with horizontal levels to compare with."""
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    # A line through a single point would not be seen.
    axes.plot(x, y, color=BLUE, linewidth=2, marker="o" if len(x) < 3 else None)
    right = max(x.max() if len(x) else 0, 1)
    # The labels stand over the last part of the curve: each on the side of its level where the curve is not.
    last = y[x > 0.7 * right]
    decimals = 1 if np.ptp([0, *y, *levels.values()]) > 10 else 4  # more could not be seen
    for name, level in levels.items():
        said = f"{name} {number(round(level, decimals))}"
        axes.axhline(level, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        below = max(last - level, default=0.0) > max(level - last, default=0.0)
        axes.annotate(
            said, (right, level), textcoords="offset points", xytext=(-2, -4 if below else 4),
            ha="right", va="top" if below else "bottom", color=FAINT, fontsize=9,
        )  # fmt: skip
    axes.set_title(title, color=INK, fontsize=11, loc="left")
    dress(axes, right, labels)
    save(figure, path)


def dress(axes: Any, right: float, labels: tuple[str, str], left: float = 0.0) -> None:
    """Give axes from one end to the other their labels and colours."""
    axes.set_xlabel(labels[0], color=INK)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.set_ylabel(labels[1], color=INK)
    axes.set_xlim(left, right)
    axes.margins(y=0.08)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)


def compared_curves(
    path: Path, groups: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]], labels: tuple[str, str, str]
) -> None:
    """Draw groups of curves twice, against each of two measures of effort: median, and quartiles as a band.

    Args:
        path: of the PNG file.
        groups: by name, curves of a group, each of two efforts and a result, one-dimensional and of the same length.
        labels: of the two efforts and of the result.
    """
    figure = new_figure(11, 4.4)
    for effort, axes in enumerate(figure.subplots(1, 2, sharey=True)):
        chosen = {name: [(curve[effort], curve[2]) for curve in curves] for name, curves in groups.items()}
        right = _draw_groups(axes, chosen, log=False)
        dress(axes, right, (labels[effort], labels[2] if effort == 0 else ""))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, labelcolor=INK)
    save(figure, path)


def curves_of_groups(
    path: Path, groups: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], labels: tuple[str, str], log: bool
) -> None:
    """Draw groups of curves: median, and quartiles as a band.

    Args:
        path: of the PNG file.
        groups: by name, curves of a group, each of effort and result, one-dimensional and of the same length.
        labels: of both.
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


def _draw_groups(axes: Any, groups: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], log: bool) -> float:
    """Draw each group's median and quartiles where all its curves are known; return the right end."""
    ends = []
    for (name, curves), color in zip(groups.items(), itertools.cycle(COLOURS)):
        low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
        if low > high:  # they share no part
            for k, (x, y) in enumerate(curves):
                axes.plot(x, y, color=color, linewidth=1, marker="o", label=name if k == 0 else None)
                ends.append(x[-1])
            continue
        at = (np.geomspace if log else np.linspace)(low, high, 200)
        ys = [np.interp(at, x, y) for x, y in curves]
        # A line through a single point would not be seen.
        marker = "o" if low == high else None
        axes.plot(at, np.median(ys, 0), color=color, linewidth=2, label=name, marker=marker)
        axes.fill_between(at, *np.quantile(ys, (0.25, 0.75), 0), color=color, alpha=0.18, linewidth=0)
        ends.append(high)
    return float(max(ends))


def animation(path: Path, frames: Sequence[np.ndarray], fps: int, exact: np.ndarray) -> None:
    """Write frames as a GIF that repeats, and rests on its last frame.

    Args:
        path: of the file.
        frames: ``(height, width, 3)`` uint8 each.
        fps: frames a second.
        exact: ``(count, 3)`` uint8, colours that stay as they are; others become the nearest of those of the GIF.
    """
    from PIL import Image

    # One palette for all frames, made from some of them: changing palettes flicker.
    some = [frames[round(k * (len(frames) - 1) / 4)] for k in range(5)]
    found = Image.fromarray(np.concatenate(some)).quantize(COLORS - len(exact), method=Image.Quantize.MEDIANCUT)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact.flatten().tolist(), *(found.getpalette() or [])][: 3 * COLORS])
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    step = max(20, round(1000 / fps))
    durations = [step] * (len(images) - 1) + [1500]
    content = io.BytesIO()
    images[0].save(content, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    write_atomically(path, content.getvalue())

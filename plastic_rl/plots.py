"""Pictures of a run: its learning curve, and a lifetime as an animation; what all figures have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plastic_rl.tables import number

COLORS = 64  # of an animation: enough for both sides of a heat map and for smooth edges
BLUE, INK, FAINT, GRID = "#2563eb", "#1e293b", "#6b778c", "#e5e9f0"


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Put a figure in its place whole, as a PNG file."""
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)


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
    for name, level in levels.items():
        axes.axhline(level, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        below = max(last - level, default=0.0) > max(level - last, default=0.0)
        axes.annotate(
            f"{name} {number(level)}", (right, level), textcoords="offset points", xytext=(-2, -4 if below else 4),
            ha="right", va="top" if below else "bottom", color=FAINT, fontsize=9,
        )  # fmt: skip
    axes.set_title(title, color=INK, fontsize=11, loc="left")
    axes.set_xlabel(labels[0], color=INK)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.set_ylabel(labels[1], color=INK)
    axes.set_xlim(0, right)
    axes.margins(y=0.08)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    save(figure, path)


def animation(path: Path, frames: Sequence[np.ndarray], fps: int) -> None:
    """Write frames (height, width, 3) uint8 as a GIF that repeats, and rests on its last frame."""
    from PIL import Image

    # One palette for all frames, made from some of them: changing palettes flicker.
    some = [frames[round(k * (len(frames) - 1) / 4)] for k in range(5)]
    palette = Image.fromarray(np.concatenate(some)).quantize(COLORS, method=Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    step = max(20, round(1000 / fps))
    temporary = path.with_name(f".{path.name}")
    try:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=[step] * (len(images) - 1) + [1500],
            loop=0,
        )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

"""Pictures of a run: its learning curve, and a lifetime as an animation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plastic_rl.tables import number

COLORS = 64  # of an animation: enough for both sides of a heat map and for smooth edges
BLUE, INK, FAINT, GRID = "#2563eb", "#1e293b", "#6b778c", "#e5e9f0"


def learning_curve(path: Path, rows: Sequence[dict[str, float]], title: str, levels: dict[str, float]) -> None:
    """Draw return against environment steps, with horizontal levels to compare with."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = np.array([row["steps"] for row in rows if "return_mean" in row])
    returns = np.array([row["return_mean"] for row in rows if "return_mean" in row])
    # A line through a single point would not be seen.
    axes.plot(steps, returns, color=BLUE, linewidth=2, marker="o" if len(steps) < 3 else None)
    right = max(steps.max() if len(steps) else 0, 1)
    # The labels stand over the last part of the curve: each on the side of its level where the curve is not.
    last = returns[steps > 0.7 * right]
    for name, level in levels.items():
        axes.axhline(level, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        below = max(last - level, default=0.0) > max(level - last, default=0.0)
        axes.annotate(
            f"{name} {level:.1f}", (right, level), textcoords="offset points", xytext=(-2, -4 if below else 4),
            ha="right", va="top" if below else "bottom", color=FAINT, fontsize=9,
        )  # fmt: skip
    axes.set_title(title, color=INK, fontsize=11, loc="left")
    axes.set_xlabel("environment steps", color=INK)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.set_ylabel("return per lifetime", color=INK)
    axes.set_xlim(0, right)
    axes.margins(y=0.08)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)


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

"""What all figures have in common: colours, size, axes and format."""

import io
from pathlib import Path
from typing import Any

from plastic_rl.files import write_atomically
from plastic_rl.text import number

BLUE, INK, FAINT, GRID = "#2563eb", "#1e293b", "#6b778c", "#e5e9f0"
# Colours of curves, which people with any kind of colour vision can tell apart (Okabe and Ito's, darkened for lines).
COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", "#6b778c", "#b8860b", "#56b4e9", "#000000")


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def dress(axes: Any, right: float, labels: tuple[str, str], left: float = 0.0) -> None:
    """Give axes their limits, labels and colours.

    Args:
        axes: the axes.
        right: end of the x axis.
        labels: labels of x and y.
        left: start of the x axis.
    """
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

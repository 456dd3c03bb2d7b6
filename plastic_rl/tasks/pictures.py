"""Pictures of the completion tasks: tensors on the CPU in, PNG files out."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from plastic_rl.plots import BLUE, FAINT, GRID, INK, new_figure, save
from plastic_rl.tasks.completion import CompletionEpisodes

ERASED, WRONG = "#e8dcc2", "#dc2626"
ROWS = 6
FILLING = 2.0  # above every value that is drawn


def draw_patterns(path: Path, prediction: Tensor, episodes: CompletionEpisodes) -> None:
    """Draw the first episode, of answers ``(B, n)``: its inputs over time; cue, answer, truth and errors."""
    shown, answer = episodes.shown[:, 0].numpy(), prediction[0].clamp(-1, 1).numpy()
    target, erased = episodes.target[0].numpy(), episodes.erased[0].numpy()
    figure = new_figure(9.6, 5.6)
    above, below = figure.subfigures(2, height_ratios=(1, 1.15))
    axes = above.subplots()
    most = min(len(target), 100)  # more rows would be finer than the picture
    _grey(axes, shown[:, :most].T, aspect="auto")
    axes.set_xlabel("step", color=INK, fontsize=9)
    rest = "" if most == len(target) else f" (first {most} of {len(target)} bits)"
    axes.set_ylabel("bit", color=INK, fontsize=9)
    axes.tick_params(colors=FAINT, labelsize=8)
    axes.set_title(
        f"what the network was shown{rest}: {episodes.items.shape[1]} patterns, then a part of one of them "
        "(black: -1, white: 1, brown: nothing)",
        color=INK, fontsize=10, loc="left",
    )  # fmt: skip

    wrong = answer * target <= 0
    panels: dict[str, Any] = {
        "shown at the end": np.where(erased, np.nan, target),
        "the network's answer": answer,
        "the truth": target,
        f"wrong: {wrong.sum()} of {len(target)} bits": wrong,
    }
    for axes, (title, values) in zip(below.subplots(1, len(panels)), panels.items(), strict=True):
        _grey(axes, _as_square(values), errors=values is wrong)
        axes.set_title(title, color=INK, fontsize=10)
        axes.set(xticks=[], yticks=[])
    save(figure, path)


def draw_images(path: Path, prediction: Tensor, episodes: CompletionEpisodes, shape: tuple[int, int]) -> None:
    """Draw a row per episode, at most six: the images shown, the half image, the answer ``(B, n)``, the truth.

    The shown image that is asked for is framed.
    """
    rows, shown = min(ROWS, len(prediction)), episodes.items.shape[1]
    figure = new_figure(1.25 * (shown + 3.4), 1.3 * rows + 0.4)
    titles = [*(f"shown, {k + 1}" for k in range(shown)), "half of one", "the answer", "the truth"]
    grid = figure.subplots(rows, len(titles), squeeze=False)
    for row, axes_of_row in enumerate(grid):
        items, target = episodes.items[row].numpy(), episodes.target[row].numpy()
        cue = np.where(episodes.erased[row].numpy(), np.nan, target)
        for axes, picture in zip(axes_of_row, [*items, cue, prediction[row].clamp(-1, 1).numpy(), target], strict=True):
            _grey(axes, picture.reshape(shape))
            axes.set(xticks=[], yticks=[])
        for axes in axes_of_row[:shown][(items == target).all(-1)]:
            for side in axes.spines.values():
                side.set(color=BLUE, linewidth=3)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, color=INK, fontsize=10)
    save(figure, path)


def _grey(axes: Any, values: np.ndarray, aspect: str = "equal", errors: bool = False) -> None:
    """Draw -1 black, 1 white, NaN and filling in colours; or errors in red on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(["white", WRONG]) if errors else colormaps["gray"]
    colours = colours.with_extremes(bad=ERASED, over=GRID)
    axes.imshow(values, cmap=colours, vmin=0 if errors else -1, vmax=1, aspect=aspect, interpolation="nearest")
    for side in axes.spines.values():
        side.set_color(FAINT)


def _as_square(values: np.ndarray) -> np.ndarray:
    """The values in rows, as near to a square as they come, filled up with another value."""
    width = math.ceil(len(values) ** 0.5)
    rows = math.ceil(len(values) / width)
    return np.pad(values.astype(float), (0, rows * width - len(values)), constant_values=FILLING).reshape(rows, width)

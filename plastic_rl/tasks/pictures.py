"""Pictures of the tasks' episodes: they take tensors on the CPU and write PNG files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from plastic_rl.figures.style import BLUE, FAINT, GRID, INK, new_figure, save
from plastic_rl.tasks.episodes import CompletionEpisodes, FewShotEpisodes

ERASED, WRONG, RIGHT = "#e8dcc2", "#dc2626", "#15803d"
ROWS = 6
PADDING = 2.0  # above every value that is drawn


def draw_patterns(path: Path, prediction: Tensor, episodes: CompletionEpisodes) -> None:
    """Draw the first episode: its inputs over time; then cue, answer, truth and errors. Answers are ``(B, n)``."""
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
    """Draw one row per episode, at most six: the images shown, the half image, the answer, the truth.

    The shown image that the query is about has a frame. Answers are ``(B, n)``.
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


def draw_few_shot(path: Path, prediction: Tensor, episodes: FewShotEpisodes, source: str) -> None:
    """Draw one row per episode, at most six: support, a query, the outputs. Up to half of the rows show mistakes.

    Each row shows the first drawing of each class and one query.

    Args:
        path: the PNG file.
        prediction: logits ``(B, Q, way)``.
        episodes: the episodes of these logits.
        source: the name of the dataset.
    """
    wrong = prediction.argmax(-1) != episodes.target
    of_wrong, of_right = ([b for b in where.any(1).nonzero().flatten().tolist()] for where in (wrong, ~wrong))
    of_right = [b for b in of_right if b not in of_wrong[:ROWS]]
    most = max(ROWS // 2, ROWS - len(of_right))
    rows = [(b, True) for b in of_wrong[:most]]
    rows += [(b, False) for b in of_right[: ROWS - len(rows)]]
    way = prediction.shape[-1]
    widths = [*[1.0] * way, 0.35, 1.0, 0.15, max(2.2, 0.3 * way), 1.1]
    figure = new_figure(0.85 * sum(widths), 1.0 * len(rows) + 0.7)
    grid = figure.subplots(len(rows), len(widths), squeeze=False, width_ratios=widths)
    for (b, mistaken), axes_of_row in zip(rows, grid, strict=True):
        query = int((wrong[b] == mistaken).nonzero()[0])
        target, chances = int(episodes.target[b, query]), prediction[b, query].softmax(-1).numpy()
        predicted = int(chances.argmax())
        for axes, name in zip(axes_of_row[:way], range(way), strict=True):
            _ink(axes, episodes.support[int((episodes.label[:, b] == name).nonzero()[0]), b].numpy())
            axes.set_xlabel(str(name + 1), color=INK, fontsize=9, labelpad=2)
            if name in (target, predicted):
                for side in axes.spines.values():
                    side.set(color=RIGHT if name == target else WRONG, linewidth=2.5)
        _ink(axes_of_row[way + 1], episodes.query[query, b].numpy())
        axes_of_row[way + 1].set_xlabel("?", color=INK, fontsize=9, labelpad=2)
        bars = axes_of_row[way + 3]
        colors = [RIGHT if k == target else WRONG if k == predicted else FAINT for k in range(way)]
        bars.bar(range(way), chances, color=colors, width=0.7)
        bars.set(ylim=(0, 1), xlim=(-0.6, way - 0.4), yticks=[0, 1])
        bars.set_xticks(range(way), [str(k + 1) for k in range(way)])
        bars.tick_params(colors=FAINT, labelsize=8 if way <= 10 else 6, length=2)
        for side in ("top", "right"):
            bars.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            bars.spines[side].set_color(FAINT)
        text = f"wrong: it is {target + 1}" if mistaken else "correct"
        axes_of_row[-1].text(0, 0.5, text, color=WRONG if mistaken else RIGHT, fontsize=10, va="center")
        for axes in (axes_of_row[way], axes_of_row[way + 2], axes_of_row[-1]):
            axes.axis("off")
    shots = len(episodes.order) // way
    times = "once" if shots == 1 else f"{shots} times in total"
    # Each title stands over the middle of its columns; elsewhere, the layout would widen the figure for it.
    for column, title in ((way // 2, f"shown {times} with their label"), (way + 1, "query"), (way + 3, "output")):
        grid[0, column].set_title(title, color=INK, fontsize=10)
    answered = f"{(~wrong).float().mean():.1%} of {wrong.numel():,} queries are classified correctly"
    figure.suptitle(f"{source}, never trained on; {answered}", color=INK, fontsize=11, x=0.01, ha="left")
    save(figure, path)


def _ink(axes: Any, image: np.ndarray) -> None:
    """Draw a character, black on white."""
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color(GRID)


def _grey(axes: Any, values: np.ndarray, aspect: str = "equal", errors: bool = False) -> None:
    """Draw -1 black, 1 white, NaN and padding in colours; or errors in red on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(["white", WRONG]) if errors else colormaps["gray"]
    colours = colours.with_extremes(bad=ERASED, over=GRID)
    axes.imshow(values, cmap=colours, vmin=0 if errors else -1, vmax=1, aspect=aspect, interpolation="nearest")
    for side in axes.spines.values():
        side.set_color(FAINT)


def _as_square(values: np.ndarray) -> np.ndarray:
    """Arrange the values in rows, as close to a square as possible; padding fills the last row."""
    width = math.ceil(len(values) ** 0.5)
    rows = math.ceil(len(values) / width)
    return np.pad(values.astype(float), (0, rows * width - len(values)), constant_values=PADDING).reshape(rows, width)

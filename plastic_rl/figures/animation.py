"""Animations."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plastic_rl.files import write_atomically

COLORS = 64  # enough for both sides of a heat map and for smooth edges
LAST = 1500  # milliseconds for which the last frame stays


def write_gif(path: Path, frames: Sequence[np.ndarray], fps: int, exact: np.ndarray) -> None:
    """Write frames as a GIF that repeats and rests on its last frame.

    Args:
        path: path of the file.
        frames: the frames, each uint8 of shape ``(height, width, 3)``.
        fps: frames per second.
        exact: colours that are kept exactly, uint8 of shape ``(count, 3)``; every other colour becomes the nearest one
            of the palette.
    """
    from PIL import Image

    # One palette for all frames, made from some of them: a changing palette would flicker.
    some = [frames[round(k * (len(frames) - 1) / 4)] for k in range(5)]
    found = Image.fromarray(np.concatenate(some)).quantize(COLORS - len(exact), method=Image.Quantize.MEDIANCUT)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact.flatten().tolist(), *(found.getpalette() or [])][: 3 * COLORS])
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    step = max(20, round(1000 / fps))
    durations = [step] * (len(images) - 1) + [LAST]
    content = io.BytesIO()
    images[0].save(content, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    write_atomically(path, content.getvalue())

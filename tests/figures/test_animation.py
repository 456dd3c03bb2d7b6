"""Animations keep the colours that they are told to keep."""

import numpy as np
from PIL import Image

from plastic_rl.figures.animation import LAST, write_gif
from plastic_rl.viewing.heat import SCALE


def test_an_animation_keeps_the_colours_of_the_scale(tmp_path):
    """Even if only a few pixels have them; all others are near enough."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    noise[:1, : len(SCALE)] = SCALE
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (1, 64, 3))
    smooth[:1, : len(SCALE)] = SCALE
    write_gif(tmp_path / "a.gif", [noise, smooth], 10, SCALE)
    with Image.open(tmp_path / "a.gif") as gif:
        for frame in range(2):
            gif.seek(frame)
            found = np.asarray(gif.convert("RGB"))
            assert (found[0, : len(SCALE)] == SCALE).all()
        assert np.abs(found.astype(int) - smooth).mean() < 12


def test_the_last_frame_stays(tmp_path):
    frames = [np.full((8, 8, 3), 40 * k, np.uint8) for k in range(4)]
    write_gif(tmp_path / "a.gif", frames, 10, SCALE)
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            durations.append(gif.info["duration"])
        assert durations == [100, 100, 100, LAST]
        assert gif.info["loop"] == 0

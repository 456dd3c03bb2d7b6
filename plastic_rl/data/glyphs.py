"""A stand-in for Omniglot that needs no download: characters of many scripts from the fonts of matplotlib."""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plastic_rl.checks import check_at_least
from plastic_rl.data.characters import Characters

FONTS = ("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")
# First and last code point of each script. Cased scripts have only their capitals, because small letters often look
# the same. Scripts whose letters are rotations of each other, such as the Canadian syllabics, are left out.
SCRIPTS = {
    "Arabic": (0x0621, 0x064A), "Armenian": (0x0531, 0x0556), "Cyrillic": (0x0410, 0x042F),
    "Georgian": (0x10D0, 0x10F0), "Greek": (0x0391, 0x03A9), "Hebrew": (0x05D0, 0x05EA), "Lao": (0x0E81, 0x0EB0),
    "Latin": (0x0041, 0x005A), "Nko": (0x07CA, 0x07E7), "Old_Italic": (0x10300, 0x1031E),
    "Tifinagh": (0x2D30, 0x2D65),
}  # fmt: skip
CANVAS = 96  # pixels a side of the canvas that a character is drawn on before it is distorted
INK = 64  # pixels of these that the character takes


def glyph_characters(size: int = 31, drawings: int = 20) -> Characters:
    """Draw 326 characters of 11 scripts, each several times, in several fonts and distorted at random.

    This is not Omniglot: accuracies on it cannot be compared with published results. The same arguments give the same
    drawings.

    Args:
        size: pixels a side.
        drawings: number of drawings of each character.

    Raises:
        ValueError: a number is below 1.
    """
    check_at_least("image_size", size, 1)
    check_at_least("drawings", drawings, 1)
    images, names = _characters(size, drawings)
    return Characters(images.copy(), names.copy())


@lru_cache(maxsize=1)
def _characters(size: int, drawings: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all images and names."""
    generator = np.random.default_rng(0)
    fonts = _fonts()
    images, names, seen = [], [], set[bytes]()
    for script, (first, last) in SCRIPTS.items():
        for code in range(first, last + 1):
            able = [font for font, codes in fonts if code in codes]
            if not able or fonts[0][0] is not able[0]:
                continue
            shapes = [_shape(font, chr(code)) for font in able]
            outline = np.asarray(shapes[0]).tobytes()
            if outline in seen or not any(outline):
                continue  # a letter of another script that looks the same
            seen.add(outline)
            images.append([_drawn(shapes[generator.integers(len(shapes))], size, generator) for _ in range(drawings)])
            names.append(f"glyphs/{script}/U+{code:05X}")
    return np.array(images, np.uint8), np.array(names)


def _fonts() -> list[tuple[ImageFont.FreeTypeFont, frozenset[int]]]:
    """Return the fonts, each with the code points that it has."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = [str(folder / f"{name}.ttf") for name in FONTS]
    return [(ImageFont.truetype(path, CANVAS), frozenset(FT2Font(path).get_charmap())) for path in paths]


def _shape(font: ImageFont.FreeTypeFont, text: str) -> Image.Image:
    """Return a character, white on black; all characters have the same size."""
    left, top, right, bottom = font.getbbox(text)
    width, height = max(1, math.ceil(right - left)), max(1, math.ceil(bottom - top))
    large = Image.new("L", (width, height))
    ImageDraw.Draw(large).text((-left, -top), text, 255, font)
    scale = INK / max(width, height)
    small = large.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
    canvas = Image.new("L", (CANVAS, CANVAS))
    canvas.paste(small, ((CANVAS - small.width) // 2, (CANVAS - small.height) // 2))
    return canvas


def _drawn(shape: Image.Image, size: int, generator: np.random.Generator) -> np.ndarray:
    """Return a character, slightly rotated, stretched, slanted and moved, and shrunk to ``size`` pixels."""
    angle, slant = generator.normal(0, 0.12), generator.normal(0, 0.12)
    across, down = np.exp(generator.normal(0, 0.1, 2))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.array([[across, slant], [0, down]])
    middle = CANVAS / 2
    shift = middle - matrix @ (middle + generator.normal(0, 3, 2))
    flat = (*matrix[0], shift[0], *matrix[1], shift[1])
    drawn = shape.transform(shape.size, Image.Transform.AFFINE, flat, Image.Resampling.BILINEAR)
    return np.asarray(drawn.resize((size, size), Image.Resampling.BOX))

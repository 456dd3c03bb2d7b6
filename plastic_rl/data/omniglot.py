"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people (Lake et al., 2015)."""

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from plastic_rl.checks import check_within
from plastic_rl.data.archives import (
    DAMAGED_ZIP,
    LARGEST_ZIP,
    Published,
    cache_folder,
    check_size,
    download,
    read_zip,
)
from plastic_rl.data.characters import Characters
from plastic_rl.errors import UserError
from plastic_rl.files import write_atomically

PARTS = ("images_background", "images_evaluation")
URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
ARCHIVES = (
    Published(URL, "images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718", 10, "--data glyphs"),
    Published(URL, "images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811", 7, "--data glyphs"),
)
NAME = re.compile(r"(images_background|images_evaluation)/([^/]+)/(character\d{2})/(\d{4}_\d{2})\.png")
DRAWINGS = 20  # number of drawings of each character
SIDE = 105  # pixels a side of a drawing
LARGEST = 20_000  # bytes allowed for a drawing; the largest has 486
SOURCES = "images_background.zip and images_evaluation.zip"


def omniglot_characters(folder: Path | str | None = None, size: int = 31) -> Characters:
    """Load all characters, shrunk to squares of ``size`` pixels; ink is 255, paper 0.

    Drawings are decoded once and then kept in the user's cache, which takes 31 MB at 31 pixels.

    Args:
        folder: folder with ``images_background.zip`` and ``images_evaluation.zip``, or with folders of these names that
            hold the archives' content. None: the archives are downloaded on first use, verified, and kept in the
            user's cache.
        size: pixels a side.

    Returns:
        1,623 characters, whose images are ``(1623, 20, size, size)`` bytes.

    Raises:
        UserError: the data cannot be downloaded, are missing, or are damaged.
        ValueError: the size is out of bounds.
    """
    check_within("image_size", size, 1, SIDE)
    sources = [download(archive) for archive in ARCHIVES] if folder is None else _find(Path(folder))
    path = cache_folder() / f"omniglot-{size}-{_identity(sources)}.npz"
    characters = _read_cache(path)
    if characters is None:
        print(f"omniglot: shrinking the drawings to {size} pixels, once; they are kept in {path.parent}", flush=True)
        characters = _decoded(sources, size)
        content = io.BytesIO()
        np.savez(content, images=characters.images, names=characters.names)
        try:
            write_atomically(path, content.getvalue())
        except OSError as error:
            print(
                f"{path} cannot be kept: {error.strerror or error}; the drawings will be shrunk again next time",
                flush=True,
            )
    return characters


def _find(folder: Path) -> list[Path]:
    """Find the archives, or the folders with their names."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: expected a folder with {SOURCES} in it (--data-dir)")
    found = []
    for part in PARTS:
        places = [folder / part, folder / f"{part}.zip"]
        place = next((p for p in places if p.is_dir() or (p.suffix and p.is_file())), None)
        if place is None:
            raise UserError(
                f"{folder} has no {part}.zip, nor a folder {part}: expected {SOURCES}; get them from {URL}, "
                "or leave --data-dir out to have them downloaded"
            )
        found.append(place)
    return found


def _identity(sources: list[Path]) -> str:
    """Return a name for the content of the sources: of archives, or of folders by file names, sizes and times."""
    digest = hashlib.sha256(b"1")  # the version of the cache
    for source in sources:
        if source.is_file():
            check_size(str(source), source.stat().st_size, LARGEST_ZIP)
            digest.update(source.read_bytes())
        else:
            for path in sorted(source.rglob("*.png")):
                about = path.stat()
                digest.update(f"{path.relative_to(source)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _read_cache(path: Path) -> Characters | None:
    """Return the characters in the cache; None if there are none or they are damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Characters(kept["images"], kept["names"])
    except (OSError, MemoryError, *DAMAGED_ZIP):
        return None


def _decoded(sources: list[Path], size: int) -> Characters:
    """Read the drawings and shrink them."""
    drawings: dict[str, dict[str, np.ndarray]] = {}
    for part, source in zip(PARTS, sources, strict=True):
        for name, content in _files(source):
            match = NAME.fullmatch(name)
            assert match is not None
            found, alphabet, character, drawing = match.groups()
            if found != part:
                raise UserError(f"{source} is not {part}: it holds {name}")
            image = _image(f"{name} in {source}", content, size)
            drawings.setdefault(f"{part}/{alphabet}/{character}", {})[drawing[-2:]] = image
        if not any(name.startswith(part) for name in drawings):
            raise UserError(f"{source} holds no drawings: it is not Omniglot's {part}; download it again from {URL}")
    for name, images in drawings.items():
        if len(images) != DRAWINGS:
            raise UserError(
                f"{name} has {len(images)} drawings: expected {DRAWINGS}; download Omniglot again from {URL}"
            )
    names = sorted(drawings)
    arrays = [[drawings[name][drawing] for drawing in sorted(drawings[name])] for name in names]
    return Characters(np.array(arrays, np.uint8), np.array(names))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the drawings of an archive or a folder, with their names in the archive."""
    if source.is_file():
        yield from read_zip(source, NAME, LARGEST).items()
        return
    for path in sorted(source.rglob("*.png")):
        name = path.relative_to(source.parent).as_posix()
        if NAME.fullmatch(name) and path.is_file():
            check_size(str(path), path.stat().st_size, LARGEST)
            yield name, path.read_bytes()


def _image(name: str, content: bytes, size: int) -> np.ndarray:
    """Decode a drawing, black on white, and shrink it; ink is 255."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != (SIDE, SIDE):
                raise UserError(
                    f"{name} is no drawing of Omniglot: it has {image.size} pixels, expected {(SIDE, SIDE)}"
                )
            grey = image.convert("L").resize((size, size), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} is damaged, or no PNG picture: download Omniglot again from {URL}") from error
    return 255 - np.asarray(grey)

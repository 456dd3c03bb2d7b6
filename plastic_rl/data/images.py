"""Grey images of 32 x 32 pixels within [-1, 1], for training and held out: photographs, or noise that is like them."""

from pathlib import Path

import numpy as np

from plastic_rl.data.archives import Published, check_size, download, read_tar
from plastic_rl.errors import UserError

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # bytes of an image: its class, then the red, green and blue channels, row by row
BATCH = 10_000 * RECORD
CLASSES = 10
FOLDER = "cifar-10-batches-bin"
TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
HELD_OUT = "test_batch.bin"
# This is the binary version; the other version is a pickle, which can run any code.
CIFAR10 = Published(
    "https://www.cs.toronto.edu/~kriz",
    "cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170,
    "--data synthetic",
)


def cifar10_images(folder: Path | str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Load the photographs of CIFAR-10 (Krizhevsky, 2009) in grey, as the paper shows them (4.3).

    The three channels are added, the mean of the image is subtracted, and the image is divided by its largest absolute
    value.

    Args:
        folder: folder with ``cifar-10-binary.tar.gz``, or with its content: ``data_batch_1.bin`` to
            ``data_batch_5.bin`` and ``test_batch.bin``, which may be in a subfolder ``cifar-10-batches-bin``. A part
            of the dataset is enough, with fewer or smaller batches. None: the archive is downloaded on first use,
            verified, and kept in the user's cache.

    Returns:
        Images for training, and held-out images: float32 ``(count, 32, 32)``. The complete dataset has 50,000 and
        10,000.

    Raises:
        UserError: the data cannot be downloaded, are missing, or are damaged.
    """
    path, batches = _find(None if folder is None else Path(folder))
    if HELD_OUT not in batches or not any(name in batches for name in TRAINING):
        missing = HELD_OUT if HELD_OUT not in batches else TRAINING[0]
        raise UserError(f"{path} has no {missing}: it is not CIFAR-10 in its binary version; get {CIFAR10}")
    training = [_grey(f"{name} in {path}", batches[name]) for name in TRAINING if name in batches]
    return np.concatenate(training), _grey(f"{HELD_OUT} in {path}", batches[HELD_OUT])


def _find(folder: Path | None) -> tuple[Path, dict[str, bytes]]:
    """Find the batches and read them. Return where they were found, and the batches by name."""
    names = (*TRAINING, HELD_OUT)
    if folder is None:
        return _unpacked(download(CIFAR10))
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: expected a folder with {CIFAR10.name} in it (--data-dir)")
    for place in (folder, folder / FOLDER):
        paths = {name: place / name for name in names if (place / name).is_file()}
        if paths:
            for path in paths.values():
                check_size(str(path), path.stat().st_size, BATCH)
            return place, {name: path.read_bytes() for name, path in paths.items()}
    if not (folder / CIFAR10.name).is_file():
        raise UserError(
            f"{folder} has no CIFAR-10: expected {CIFAR10.name}, or {TRAINING[0]} and its other batches; "
            f"get {CIFAR10}, or leave --data-dir out to have it downloaded"
        )
    return _unpacked(folder / CIFAR10.name)


def _unpacked(archive: Path) -> tuple[Path, dict[str, bytes]]:
    wanted = {f"{FOLDER}/{name}": BATCH for name in (*TRAINING, HELD_OUT)}
    return archive, {name.rpartition("/")[2]: content for name, content in read_tar(archive, wanted).items()}


def _grey(name: str, batch: bytes) -> np.ndarray:
    if not batch or len(batch) % RECORD:
        raise UserError(
            f"{name} has {len(batch):,} bytes: expected {RECORD:,} for every image; download {CIFAR10} again"
        )
    records = np.frombuffer(batch, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= CLASSES:
        raise UserError(f"{name} is damaged: it has a class above {CLASSES - 1}; download {CIFAR10} again")
    channels = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    return _scaled(channels.sum(1, dtype=np.uint16).astype(np.float32))


def synthetic_images(training: int = 4000, held_out: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw noise whose amplitude falls with the inverse of spatial frequency, like that of photographs.

    Source: Field, 1987, "Relations between the statistics of natural images and the response properties of cortical
    cells". The images are scaled like those of ``cifar10_images``.

    Args:
        training: number of images for training.
        held_out: number of held-out images.
        seed: seed of the noise.

    Returns:
        Images for training, and held-out images: float32 ``(count, 32, 32)``.
    """
    side = 2 * SIDE  # the noise is periodic; a quarter of it is not
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    generator = np.random.default_rng(seed)
    images = np.empty((training + held_out, SIDE, SIDE), np.float32)
    for first in range(0, len(images), 500):  # in parts, because all at once would take much memory
        part = images[first : first + 500]
        noise = generator.standard_normal((len(part), side, side), np.float32)
        part[:] = np.fft.irfft2(np.fft.rfft2(noise) / frequency, s=(side, side))[:, :SIDE, :SIDE]
    images = _scaled(images)
    return images[:training], images[training:]


def _scaled(images: np.ndarray) -> np.ndarray:
    """Shift each image to mean 0 and scale it to a largest absolute value of 1; an image without contrast is 0."""
    images = images - images.mean((1, 2), keepdims=True)
    largest = np.abs(images).max((1, 2), keepdims=True)
    return images / np.where(largest == 0, 1, largest)

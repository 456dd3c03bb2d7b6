"""CIFAR-10 from folders and archives that the tests make, and noise with the spectrum of photographs."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from plastic_rl.data import archives, cifar10_images, images, synthetic_images
from plastic_rl.errors import UserError

SAMPLE = Path(__file__).parents[3] / "shared/data"


def batch(count, seed=0):
    """Photographs as CIFAR-10 holds them: their class, then red, green and blue."""
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 256, (count, images.RECORD), np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


FILES = {"data_batch_1.bin": batch(4, 1), "data_batch_2.bin": batch(3, 2), "test_batch.bin": batch(2, 3)}


def archive(files):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def by_hand(batch, index):
    """An image of a batch in grey, pixel by pixel (paper, 4.3)."""
    start = index * 3073 + 1
    grey = [[sum(batch[start + 1024 * c + 32 * y + x] for c in range(3)) for x in range(32)] for y in range(32)]
    mean = sum(map(sum, grey)) / 1024
    largest = max(abs(value - mean) for row in grey for value in row)
    return [[(value - mean) / largest for value in row] for row in grey]


@pytest.fixture(params=["files", "folder of files", "archive"])
def folder(request, tmp_path):
    """CIFAR-10 in each of the ways that it can be in a folder."""
    place = tmp_path / "cifar-10-batches-bin" if request.param == "folder of files" else tmp_path
    return (
        write(place, {"cifar-10-binary.tar.gz": archive(FILES)} if request.param == "archive" else FILES) and tmp_path
    )


def test_images_are_grey_and_scaled(folder):
    training, held_out = cifar10_images(folder)
    assert (training.shape, held_out.shape) == ((7, 32, 32), (2, 32, 32))
    assert training.dtype == held_out.dtype == np.float32
    np.testing.assert_allclose(training[2], by_hand(FILES["data_batch_1.bin"], 2), atol=1e-5)
    np.testing.assert_allclose(training[4], by_hand(FILES["data_batch_2.bin"], 0), atol=1e-5)
    np.testing.assert_allclose(held_out[1], by_hand(FILES["test_batch.bin"], 1), atol=1e-5)
    for part in (training, held_out):
        np.testing.assert_allclose(part.mean((1, 2)), 0, atol=1e-5)
        np.testing.assert_array_equal(np.abs(part).max((1, 2)), 1)


def test_an_image_of_one_colour_is_zero(tmp_path):
    write(tmp_path, FILES | {"test_batch.bin": b"\x07" * 3073})
    assert not cifar10_images(tmp_path)[1].any()


def test_without_a_folder_the_archive_is_downloaded_and_verified(tmp_path, monkeypatch):
    content = archive(FILES)
    write(tmp_path / "cache", {"cifar-10-binary.tar.gz": content})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(archives, "cache_folder", lambda: tmp_path / "cache")
    nowhere = ("http://127.0.0.1:1", "cifar-10-binary.tar.gz")
    monkeypatch.setattr(images, "CIFAR10", archives.Published(*nowhere, f"md5:{hashlib.md5(content).hexdigest()}", 1))
    assert len(cifar10_images()[0]) == 7
    monkeypatch.setattr(images, "CIFAR10", archives.Published(*nowhere, "md5:0", 1))
    with pytest.raises(UserError, match="cannot be reached"):
        cifar10_images()


def test_what_is_downloaded_is_the_binary_version():
    assert str(images.CIFAR10) == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def without(*names):
    return {name: content for name, content in FILES.items() if name not in names}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "has no CIFAR-10: expected cifar-10-binary.tar.gz, or data_batch_1.bin and its other batches; get http"),
        (without("test_batch.bin"), "has no test_batch.bin"),
        (without("data_batch_1.bin", "data_batch_2.bin"), "has no data_batch_1.bin"),
        (FILES | {"test_batch.bin": b""}, "test_batch.bin in .* has 0 bytes: expected 3,073 for every image"),
        (FILES | {"data_batch_2.bin": batch(2)[:-1]}, "data_batch_2.bin in .* has 6,145 bytes"),
        (FILES | {"data_batch_2.bin": b"\x0a" * 3073}, "data_batch_2.bin in .* it has a class above 9"),
        (FILES | {"data_batch_1.bin": bytes(images.BATCH + 3073)}, "data_batch_1.bin.* has 30,733,073 bytes: expected"),
        ({"cifar-10-binary.tar.gz": archive(without("test_batch.bin"))}, "tar.gz has no test_batch.bin"),
        ({"cifar-10-binary.tar.gz": archive({})}, "tar.gz has no test_batch.bin: it is not CIFAR-10 in its binary"),
        ({"cifar-10-binary.tar.gz": archive(FILES)[:9000]}, "tar.gz is damaged"),
        ({"cifar-10-binary.tar.gz": gzip.compress(b"")}, "tar.gz is damaged"),
    ],
)  # fmt: skip
def test_what_is_not_cifar10(tmp_path, files, says):
    write(tmp_path, files)
    with pytest.raises(UserError, match=says):
        cifar10_images(tmp_path)


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file is a file: expected a folder with cifar-10-binary.tar.gz in it"):
        cifar10_images(tmp_path / "file")
    with pytest.raises(UserError, match=r"missing does not exist: expected a folder"):
        cifar10_images(tmp_path / "missing")


@pytest.mark.skipif(not SAMPLE.exists(), reason="no sample of the dataset beside this checkout")
def test_photographs_are_smooth_and_not_alike():
    training, held_out = cifar10_images(SAMPLE)
    assert (training.shape, held_out.shape) == ((10_000, 32, 32), (3_000, 32, 32))
    assert 0.85 < neighbours(held_out) < 1
    assert abs(np.mean(held_out[:-1] * held_out[1:])) < 0.01


def neighbours(pictures):
    """How far pixels are correlated with those below them."""
    return np.corrcoef(pictures[:, :-1].ravel(), pictures[:, 1:].ravel())[0, 1]


def test_synthetic_images_are_scaled_and_repeatable():
    training, held_out = synthetic_images(600, 7, seed=1)
    assert (training.shape, held_out.shape) == ((600, 32, 32), (7, 32, 32))
    assert training.dtype == np.float32
    np.testing.assert_allclose(training.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_array_equal(np.abs(training).max((1, 2)), 1)
    again = synthetic_images(600, 7, seed=1)
    np.testing.assert_array_equal(np.concatenate([training, held_out]), np.concatenate(again))
    assert (synthetic_images(600, 7, seed=2)[0] != training).any((1, 2)).all()
    assert len(np.unique(training[:, 5, 5])) == 600  # every image is another


def test_synthetic_images_have_the_spectrum_of_photographs():
    pictures = synthetic_images(2000, 0)[0]
    window = np.hanning(32)[:, None] * np.hanning(32)
    amplitude = np.sqrt(np.square(np.abs(np.fft.fft2(pictures * window))).mean(0))
    frequencies = np.arange(3, 13)
    across = np.polyfit(np.log(frequencies), np.log(amplitude[0, frequencies]), 1)[0]
    down = np.polyfit(np.log(frequencies), np.log(amplitude[frequencies, 0]), 1)[0]
    assert across == pytest.approx(-1, abs=0.15)
    assert down == pytest.approx(-1, abs=0.15)
    # The last row does not go on in the first, as it would in waves that fit the picture.
    edges = np.corrcoef(pictures[:, -1].ravel(), pictures[:, 0].ravel())[0, 1]
    assert edges < 0.2 < 0.6 < neighbours(pictures)

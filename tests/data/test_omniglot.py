"""Omniglot from zips and folders that the tests make; archives that are damaged or hostile; the cache."""

import hashlib
import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plastic_rl.data import archives, omniglot, omniglot_characters
from plastic_rl.data.archives import Published
from plastic_rl.errors import UserError

SAMPLE = Path(__file__).parents[3] / "shared/data"
CHARACTERS = {
    "images_background": [("Alpha", 1), ("Alpha", 2), ("Beta_(old)", 1)],
    "images_evaluation": [("Gamma", 1)],
}


def png(number, side=105, kind="PNG"):
    """A drawing: a black square on white whose place tells its number."""
    pixels = np.ones((side, side), bool)
    pixels[10 + number : 30 + number, 40:60] = False
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def files_of(part):
    """The files of a part of the dataset, with two drawings in place of 20."""
    return {
        f"{part}/{alphabet}/character{number:02}/{10 * k + number:04}_{drawing:02}.png": png(20 * k + drawing)
        for k, (alphabet, number) in enumerate(CHARACTERS[part])
        for drawing in (1, 2)
    }


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Characters of two drawings, and a cache of the test's own."""
    monkeypatch.setattr(omniglot, "DRAWINGS", 2)
    for module in (archives, omniglot):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")


def write_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write(folder, background=None, evaluation=None, **options):
    files = {"images_background": background, "images_evaluation": evaluation}
    for part, given in files.items():
        write_zip(folder / f"{part}.zip", files_of(part) if given is None else given, **options)
    return folder


def unpack(folder, names=omniglot.PARTS):
    for part in names:
        for name, content in files_of(part).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(params=["zips", "folders", "one of each"])
def folder(request, tmp_path):
    place = tmp_path / "data"
    if request.param == "zips":
        return write(place)
    unpack(place)
    if request.param == "one of each":
        write_zip(place / "images_evaluation.zip", files_of("images_evaluation"))
        for path in sorted((place / "images_evaluation").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (place / "images_evaluation").rmdir()
    return place


def test_drawings_are_shrunk_and_ink_is_dark(folder):
    characters = omniglot_characters(folder, 35)
    assert list(characters.names) == [
        "images_background/Alpha/character01", "images_background/Alpha/character02",
        "images_background/Beta_(old)/character01", "images_evaluation/Gamma/character01",
    ]  # fmt: skip
    assert characters.images.shape == (4, 2, 35, 35)
    assert characters.alphabets.tolist() == [0, 0, 1, 2]
    for k, drawing in ((0, 0), (2, 1)):
        with Image.open(io.BytesIO(png(20 * k + drawing + 1))) as image:
            grey = 255.0 * ~np.asarray(image)  # three pixels a side become one
        expected = grey.reshape(35, 3, 35, 3).mean((1, 3))
        np.testing.assert_allclose(characters.images[k, drawing], expected, atol=1)


def test_other_files_are_not_looked_at(tmp_path):
    others = {
        "README.txt": b"hello",
        "__MACOSX/images_background/Alpha/x.png": b"no picture",
        "images_background/": b"",
    }
    write(tmp_path, background=files_of("images_background") | others)
    assert len(omniglot_characters(tmp_path).names) == 4


def test_nothing_is_unpacked(tmp_path):
    write(tmp_path / "data")
    omniglot_characters(tmp_path / "data")
    found = {path.name for path in tmp_path.rglob("*.png")}
    assert not found
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_cache_is_used_once_it_is_there(folder, tmp_path, monkeypatch, capsys):
    first = omniglot_characters(folder)
    assert "shrinking the drawings to 31 pixels, once" in capsys.readouterr().out
    monkeypatch.setattr(omniglot, "_decoded", None)
    again = omniglot_characters(folder)
    assert not capsys.readouterr().out
    assert np.array_equal(first.images, again.images)
    assert list(first.names) == list(again.names)


def test_the_cache_is_of_one_size_and_one_source(folder, tmp_path):
    omniglot_characters(folder, 31)
    assert omniglot_characters(folder, 40).images.shape[-1] == 40
    changed = files_of("images_background")
    changed[next(iter(changed))] = png(60)
    write(tmp_path / "other", background=changed)
    other = omniglot_characters(tmp_path / "other", 31)
    assert not np.array_equal(other.images, omniglot_characters(folder, 31).images)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def compressed_in_some_other_way(content):
    """Bytes 10 and 11 of an entry of the directory name the method."""
    entry = content.index(b"PK\1\2")
    return content[: entry + 10] + b"\x63\0" + content[entry + 12 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[: len(c) // 2],
        lambda c: b"",
        lambda c: b"\x80\x04K\x01.",
        lambda c: c[:4000] + b"X" + c[4001:],
        compressed_in_some_other_way,
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    write(tmp_path / "data")
    expected = omniglot_characters(tmp_path / "data").images
    (path,) = (tmp_path / "cache").iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert np.array_equal(omniglot_characters(tmp_path / "data").images, expected)
    assert path.read_bytes() == good


def test_a_cache_with_pickles_is_not_run(tmp_path):
    write(tmp_path / "data")
    omniglot_characters(tmp_path / "data")
    (path,) = (tmp_path / "cache").iterdir()
    np.savez(path, images=np.array([{}], object), names=np.array(["x"]))
    assert len(omniglot_characters(tmp_path / "data").names) == 4


def test_a_cache_folder_that_cannot_be_written(tmp_path, capsys):
    write(tmp_path / "data")
    (tmp_path / "cache").write_text("a file in its place")
    assert len(omniglot_characters(tmp_path / "data").names) == 4
    assert "cannot be kept" in capsys.readouterr().out


def test_without_a_folder_archives_are_downloaded_and_verified(tmp_path, monkeypatch):
    write(tmp_path / "cache")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def published(checksum=None):
        return tuple(
            Published("http://127.0.0.1:1", f"{part}.zip", checksum or f"md5:{hashlib.md5(content).hexdigest()}", 1)
            for part in omniglot.PARTS
            for content in [(tmp_path / "cache" / f"{part}.zip").read_bytes()]
        )

    monkeypatch.setattr(omniglot, "ARCHIVES", published())
    assert len(omniglot_characters().names) == 4
    monkeypatch.setattr(omniglot, "ARCHIVES", published("md5:0"))
    with pytest.raises(UserError, match="cannot be reached, or the connection broke"):
        omniglot_characters()


def test_what_is_downloaded():
    url = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip"
    assert str(omniglot.ARCHIVES[0]) == url
    assert [archive.checksum for archive in omniglot.ARCHIVES] == [
        "md5:68d2efa1b9178cc56df9314c21c6e718", "md5:6b91aef0f799c5bb55b94e3f2daec811",
    ]  # fmt: skip


FIRST = "images_background/Alpha/character01/0001_01.png"


def background(**changes):
    return files_of("images_background") | changes


def special(name, mode):
    """A zip entry of another kind, such as a link."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"../images_background/x.png": b""}, r"the name '../images_background/x.png' points outside the archive"),
        ({"images_background/../../x.png": b""}, "points outside the archive"),
        ({"/etc/passwd": b""}, "points outside the archive"),
        ({"images_background\\..\\x.png": b""}, "points outside the archive|damaged"),
        ({"C:/x.png": b""}, "points outside the archive"),
        ({special(FIRST, stat.S_IFLNK | 0o777): b"/etc/passwd"}, "0001_01.png is no plain file"),
        ({special(FIRST, stat.S_IFIFO): b""}, "0001_01.png is no plain file"),
        ({FIRST: bytes(30_000)}, "0001_01.png in .* has 30,000 bytes: expected at most 20,000"),
        ({FIRST: b"no picture"}, "0001_01.png in .* is damaged, or no PNG picture"),
        ({FIRST: b""}, "is damaged, or no PNG picture"),
        ({FIRST: png(1)[:60]}, "is damaged, or no PNG picture"),
        ({FIRST: png(1, kind="GIF")}, "is damaged, or no PNG picture"),
        ({FIRST: png(1, side=104)}, "is no drawing of Omniglot: it has .104, 104. pixels"),
        ({}, "images_background.zip holds no drawings"),
        ({FIRST: png(1)}, "images_background/Alpha/character01 has 1 drawings: expected 2"),
        (background(**{"images_background/Alpha/character01/0001_03.png": png(3)}), "has 3 drawings: expected 2"),
        (files_of("images_evaluation"), "images_background.zip is not images_background: it holds images_evaluation"),
    ],
)
def test_what_is_not_omniglot(tmp_path, files, says):
    write(tmp_path, background=files)
    with pytest.raises(UserError, match=says) as caught:
        omniglot_characters(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("cache/*"))


def test_a_picture_of_more_pixels_than_it_has_bytes(tmp_path):
    """A bomb: 20,000 x 20,000 pixels in a few bytes."""
    header = png(1)[:16] + (20_000).to_bytes(4, "big") * 2 + png(1)[24:]
    write(tmp_path, background=background(**{FIRST: header}))
    with pytest.raises(UserError, match=r"0001_01\.png"):
        omniglot_characters(tmp_path)


def test_a_name_that_is_there_twice(tmp_path):
    write(tmp_path)
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(tmp_path / "images_background.zip", "a") as archive,
    ):
        archive.writestr(FIRST, png(2))
    with pytest.raises(UserError, match=r"0001_01\.png is there twice"):
        omniglot_characters(tmp_path)


def test_a_size_that_is_a_lie(tmp_path):
    """The directory says 100 bytes; the file would fill the memory."""
    write(tmp_path, background={FIRST: bytes(50_000_000)})
    path = tmp_path / "images_background.zip"
    content = path.read_bytes()
    assert len(content) < 60_000
    path.write_bytes(content.replace((50_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(UserError, match="is damaged"):
        omniglot_characters(tmp_path)


def test_files_that_are_too_large_together(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(archives, "MOST_BYTES", 300)
    with pytest.raises(UserError, match=r"images_background\.zip holds more than 300 bytes"):
        omniglot_characters(tmp_path)


def test_too_many_files(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(UserError, match=r"images_background\.zip holds 6 files: expected at most 3"):
        omniglot_characters(tmp_path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive(tmp_path, part):
    write(tmp_path)
    path = tmp_path / "images_evaluation.zip"
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(UserError, match=r"images_evaluation.zip is damaged, or no .zip archive"):
        omniglot_characters(tmp_path)


def test_an_archive_altered_anywhere_is_read_or_refused(tmp_path):
    write(tmp_path)
    path = tmp_path / "images_evaluation.zip"
    content = path.read_bytes()
    generator, refused = np.random.default_rng(0), []
    for _ in range(60):
        altered = bytearray(content)
        altered[generator.integers(len(content))] = generator.integers(256)
        path.write_bytes(altered)
        try:
            found = omniglot_characters(tmp_path)
        except UserError as error:
            refused.append(str(error))
        else:
            assert found.images.shape == (4, 2, 31, 31)
    assert refused
    assert not any("\n" in text for text in refused)


def test_an_archive_with_a_password(tmp_path):
    write(tmp_path)
    path = tmp_path / "images_background.zip"
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + offset] |= 1
            start = content.find(signature, start + 4)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged, or no .zip archive .*encrypted"):
        omniglot_characters(tmp_path)


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file").touch()
    for place, says in (
        (tmp_path / "file", "file is a file: expected a folder with images_background.zip and"),
        (tmp_path / "missing", "missing does not exist"),
        (tmp_path, "has no images_background.zip, nor a folder images_background: expected .* get them from http"),
        (unpack(tmp_path / "half", omniglot.PARTS[:1]), "half has no images_evaluation.zip"),
    ):
        with pytest.raises(UserError, match=says):
            omniglot_characters(place)


def test_folders_with_something_else_in_them(tmp_path):
    unpack(tmp_path)
    (tmp_path / FIRST).write_bytes(b"no picture")
    with pytest.raises(UserError, match="is damaged, or no PNG picture"):
        omniglot_characters(tmp_path)
    (tmp_path / FIRST).write_bytes(bytes(30_000))
    with pytest.raises(UserError, match="has 30,000 bytes"):
        omniglot_characters(tmp_path)


@pytest.mark.parametrize("size", [0, 106])
def test_a_size_out_of_bounds(tmp_path, size):
    with pytest.raises(ValueError, match=f"image_size is {size}: expected 1 to 105"):
        omniglot_characters(write(tmp_path), size)


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.exists(), reason="no copy of the dataset beside this checkout")
def test_the_dataset(monkeypatch):
    monkeypatch.setattr(omniglot, "DRAWINGS", 20)
    characters = omniglot_characters(SAMPLE)
    assert characters.images.shape == (1623, 20, 31, 31)
    assert len(np.unique(characters.alphabets)) == 50
    assert 0.05 < (characters.images / 255).mean() < 0.12

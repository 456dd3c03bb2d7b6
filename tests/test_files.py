"""Files are seen whole or not at all, and damaged ones are named."""

import io
import zipfile

import pytest
import torch

from plastic_rl.files import DamagedFileError, read_torch, write_atomically


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "some.bin"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("some.bin", b"old")]
    write_atomically(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("some.bin", b"new")]


@pytest.mark.parametrize("pickled", [b".", b"0.", b"(t.", b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x09s.", b"garbage"])
def test_pickles_that_make_no_sense_are_damage(pickled):
    content = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, content)
    damaged = io.BytesIO()
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(damaged, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(DamagedFileError, match=r"x\.pt is "):
        read_torch(damaged.getvalue(), "x.pt")

"""Downloads from a server of the tests' own, and archives that are damaged or made to do harm."""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plastic_rl.data import archives
from plastic_rl.data.archives import Published, download, read_tar
from plastic_rl.errors import UserError

WANTED = {"data/a.bin": 100, "data/b.bin": 100}
CONTENT = b"what its authors published"


def entry(name, content=b"", **changes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in changes.items():
        setattr(info, field, value)
    return info, content


def tar(*entries):
    """A gzipped tar archive as bytes; an entry's header may say what is not true."""
    written = io.BytesIO()
    for info, content in entries:
        padding = -len(content) % tarfile.BLOCKSIZE
        written.write(info.tobuf(tarfile.GNU_FORMAT) + content + bytes(padding))
    return gzip.compress(written.getvalue() + bytes(2 * tarfile.BLOCKSIZE))


GOOD = tar(entry("data", type=tarfile.DIRTYPE), entry("data/a.bin", b"first"), entry("data/b.bin", b"second"))


@pytest.fixture
def read(tmp_path):
    def from_bytes(content, wanted=WANTED):
        path = tmp_path / "archive.tar.gz"
        path.write_bytes(content)
        try:
            return read_tar(path, wanted)
        finally:
            assert [one.name for one in tmp_path.iterdir()] == ["archive.tar.gz"]  # nothing is unpacked

    return from_bytes


def test_what_is_wanted_is_read(read):
    assert read(GOOD) == {"data/a.bin": b"first", "data/b.bin": b"second"}
    assert read(GOOD, {"data/b.bin": 100}) == {"data/b.bin": b"second"}
    assert read(GOOD, {"data/c.bin": 100}) == {}
    assert read(tar(entry("./data/a.bin", b"first"))) == {"data/a.bin": b"first"}


@pytest.mark.parametrize("name", ["../data/a.bin", "/data/a.bin", "data/../data/a.bin", "data/../../data/a.bin"])
def test_names_that_climb_out_are_not_what_is_wanted(read, name):
    assert read(tar(entry(name, b"evil"), entry("data/b.bin", b"second"))) == {"data/b.bin": b"second"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_plain_file_is_refused(read, kind):
    link = entry("data/a.bin", type=kind, linkname="/etc/passwd")
    with pytest.raises(UserError, match=r"not to be trusted: data/a.bin is no plain file; download it again"):
        read(tar(link, entry("data/b.bin", b"second")))


def test_a_link_to_another_entry_is_refused_too(read):
    with pytest.raises(UserError, match="no plain file"):
        read(tar(entry("secret", b"x"), entry("data/a.bin", type=tarfile.SYMTYPE, linkname="../secret")))


def test_a_name_that_is_there_twice_is_refused(read):
    with pytest.raises(UserError, match=r"data/a.bin is there twice"):
        read(tar(entry("data/a.bin", b"first"), entry("data/a.bin", b"other")))


@pytest.mark.parametrize("size", [101, 1 << 40])
def test_an_absurd_size_is_refused(read, size):
    with pytest.raises(UserError, match=rf"data/a.bin in .* has {size:,} bytes: expected at most 100"):
        read(tar(entry("data/a.bin", b"x" * 101, size=size)))


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(read):
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(UserError, match="holds more than the 20 MB expected"):
        read(bomb, {"data/a.bin": 10_000_000})


def test_an_archive_of_very_many_entries_ends(read):
    many = tar(*(entry(f"{number}") for number in range(archives.MOST_ENTRIES)), entry("data/a.bin", b"first"))
    assert read(many, {"data/a.bin": 1_000_000}) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 a zip archive", gzip.compress(b"no archive" * 100), GOOD[: len(GOOD) // 2], GOOD[:-4],
     tar(entry("data/a.bin", b"x" * 90, size=90))[:-20]],
    ids=["empty", "zip", "no tar", "half", "without its end", "entry cut short"],
)  # fmt: skip
def test_a_damaged_archive_is_refused(read, content):
    with pytest.raises(UserError, match=r"archive.tar.gz is damaged, or no .tar.gz archive .*: download it again"):
        read(content)


def test_an_entry_that_is_cut_short_is_refused(read):
    inside = gzip.decompress(tar(entry("data/a.bin", b"x" * 90)))
    with pytest.raises(UserError, match="damaged"):
        read(gzip.compress(inside[: tarfile.BLOCKSIZE + 40]))


@settings(deadline=None)
@given(st.integers(0, len(gzip.decompress(GOOD)) - 1), st.binary(min_size=1, max_size=600))
@example(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00")  # a size below zero
@example(156, b"x")  # a pax header
@example(156, b"L")  # a long name
@example(156, b"S")  # a sparse file
def test_an_altered_archive_is_read_or_refused(tmp_path_factory, where, other):
    inside = bytearray(gzip.decompress(GOOD))
    inside[where : where + len(other)] = other
    path = tmp_path_factory.getbasetemp() / "altered.tar.gz"
    path.write_bytes(gzip.compress(bytes(inside), 1))
    try:
        found = read_tar(path, WANTED)
    except UserError:
        return
    assert found.keys() <= WANTED.keys()
    assert all(len(content) <= 100 for content in found.values())


def checked(inside):
    """A tar header's bytes with the checksum that they need."""
    header = bytearray(inside)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@settings(deadline=None)
@given(st.integers(100, 500), st.binary(min_size=1, max_size=20), st.sampled_from(sorted(b"05LKxgS\x00")))
@example(124, b"\xff" * 12, ord("0"))
@example(124, b"\x80" + b"\xff" * 11, ord("x"))
@example(124, b"\xff" * 11 + b"\x00", ord("x"))
def test_a_header_made_to_do_harm_is_read_or_refused(tmp_path_factory, where, other, kind):
    inside = bytearray(gzip.decompress(tar(entry("data/a.bin", b"12 size=777\n" * 8), entry("data/b.bin", b"second"))))
    inside[where : where + len(other)] = other
    inside[156] = kind
    inside[:512] = checked(inside[:512])
    path = tmp_path_factory.getbasetemp() / "harmful.tar.gz"
    path.write_bytes(gzip.compress(bytes(inside), 1))
    try:
        found = read_tar(path, WANTED)
    except UserError:
        return
    assert all(len(content) <= 100 for content in found.values())


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of what is in its folder; downloads go into a cache of the test's own."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(archives, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "served").mkdir()
    (tmp_path / "served/data.zip").write_bytes(CONTENT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "served")) as server:
        server.asked = []
        server.folder = tmp_path / "served"
        server.published = Published(
            f"http://127.0.0.1:{server.server_port}", "data.zip", f"md5:{hashlib.md5(CONTENT).hexdigest()}", 1
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_download_is_kept(server, tmp_path, capfd):
    path = download(server.published)
    assert path == tmp_path / "cache/data.zip"
    assert path.read_bytes() == CONTENT
    out, error = capfd.readouterr()
    assert out == f"downloading {server.published} (1 MB) to {tmp_path / 'cache'}\n"
    assert error == ""
    assert download(server.published) == path
    assert server.asked == ["/data.zip"]
    assert capfd.readouterr() == ("", "")


def test_a_download_that_was_altered_is_got_again(server, tmp_path, capfd):
    path = download(server.published)
    path.write_bytes(CONTENT[:-1])
    assert download(server.published).read_bytes() == CONTENT
    assert "again, because the file there is damaged\n" in capfd.readouterr().out


def test_another_file_than_the_published_one_is_refused(server, tmp_path):
    (server.folder / "data.zip").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(UserError, match=r"data.zip is not what was published, by its checksum: .* --data-dir FOLDER"):
        download(server.published)
    assert not list((tmp_path / "cache").iterdir())


def test_a_server_that_does_not_have_it(server):
    (server.folder / "data.zip").unlink()
    with pytest.raises(UserError, match=r"data.zip is refused \(404 Client Error: File not found\): .* --data-dir"):
        download(server.published)


def test_no_network(server, tmp_path):
    nowhere = Published("http://127.0.0.1:1", "data.zip", "md5:0", 1)
    with pytest.raises(UserError, match=r"http://127.0.0.1:1/data.zip cannot be reached.*--data-dir FOLDER"):
        download(nowhere)
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(UserError, match=r"data.zip cannot be kept in .*cache: "):
        download(server.published)


def test_the_cache_is_the_users(monkeypatch):
    assert "plastic-rl" in archives.cache_folder().parts

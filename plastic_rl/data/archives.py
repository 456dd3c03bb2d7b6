"""Archives of datasets: downloading them once, and reading what is wanted out of them.

Nothing is ever unpacked onto the disk, so an archive's names and links lead nowhere; and nothing is read beyond a
limit, so that a small file cannot fill the memory.
"""

import gzip
import io
import logging
import re
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from plastic_rl.errors import UserError

PATIENCE = 30  # seconds to wait for a server that says nothing
MOST_ENTRIES = 1000  # of a tar archive: damaged ones can go on for ever
LARGEST_ZIP = 100_000_000  # bytes
MOST_FILES = 100_000  # in a zip archive
MOST_BYTES = 100_000_000  # of what is read out of a zip archive
OTHER = 10_000_000  # bytes that may be in a tar archive beside what is wanted
# What reading a damaged zip archive raises. RuntimeError: it is encrypted, or compressed in some other way.
DAMAGED_ZIP = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, struct.error, RuntimeError, LookupError,
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """An archive as its authors publish it.

    Attributes:
        url: where, without its name.
        name: of the file.
        checksum: ``"sha256:..."`` or ``"md5:..."``.
        megabytes: about its size.
        stand_in: option of new runs that need no download.
    """

    url: str
    name: str
    checksum: str
    megabytes: int
    stand_in: str = ""

    def __str__(self) -> str:
        return f"{self.url}/{self.name}"

    def is_at(self, path: Path) -> bool:
        """Whether a file is this archive, by its checksum."""
        import pooch

        kind, _, expected = self.checksum.partition(":")
        return pooch.file_hash(str(path), alg=kind) == expected


def cache_folder() -> Path:
    """Return the package's folder in the user's cache, where downloads are kept."""
    import pooch

    return Path(pooch.os_cache("plastic-rl"))


def download(archive: Published) -> Path:
    """Return where an archive is, downloaded and verified on first use, verified again later.

    Raises:
        UserError: it cannot be downloaded, cannot be written, or is not the published one.
    """
    import pooch
    import requests

    path = cache_folder() / archive.name
    instead = "download it in another way, and name the folder that it is in: --data-dir FOLDER"
    if archive.stand_in:
        instead += f"; new runs can do without it: {archive.stand_in}"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # it would say what is said here
    try:
        if path.exists() and archive.is_at(path):
            return path
        again = " again, for it is damaged there" if path.exists() else ""
        print(f"downloading {archive} ({archive.megabytes} MB) to {path.parent}{again}", flush=True)
        fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=PATIENCE)
        pooch.retrieve(str(archive), archive.checksum, archive.name, path.parent, downloader=fetch)
    except requests.HTTPError as error:
        said = str(error).partition(" for url")[0]
        raise UserError(f"{archive} is refused ({said}): {instead}") from error
    except requests.RequestException as error:
        raise UserError(f"{archive} cannot be reached, or the connection broke: try again, or {instead}") from error
    except ValueError as error:
        raise UserError(f"{archive} is not what was published, by its checksum: try again, or {instead}") from error
    except OSError as error:
        raise UserError(f"{archive.name} cannot be kept in {path.parent}: {error.strerror or error}") from error
    finally:
        logger.setLevel(level)
    return path


def read_tar(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Read files out of a gzipped tar archive; whatever else it holds is not looked at.

    Args:
        path: of the archive.
        wanted: by their names in the archive, how many bytes they may have at most.

    Returns:
        The contents of those that are there, by name.

    Raises:
        UserError: the archive is damaged or too large, or a wanted name is no plain file, too large, or there twice.
    """
    limit = sum(wanted.values()) + OTHER
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"{path} holds more than the {limit // 1_000_000} MB expected: it is another archive")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in islice(archive, MOST_ENTRIES):
                name = entry.name.removeprefix("./")
                if name not in wanted:
                    continue
                if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or name in found:
                    kind = "twice" if name in found else "no plain file"
                    raise UserError(f"{path} is not to be trusted: {name} is in it {kind}; get it anew")
                check_size(f"{name} in {path}", entry.size, wanted[name])
                reader = archive.extractfile(entry)
                assert reader is not None
                found[name] = reader.read()
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged, or no .tar.gz archive ({error}): get it anew") from error
    return found


def check_size(name: str, size: int, limit: int) -> None:
    """Check that a file is not larger than it can be.

    Raises:
        UserError: it is.
    """
    if not 0 <= size <= limit:
        raise UserError(f"{name} has {size:,} bytes: expected at most {limit:,}; get it anew")


def read_zip(path: Path, wanted: re.Pattern[str], limit: int) -> dict[str, bytes]:
    """Read files out of a zip archive; whatever else it holds is not looked at.

    Args:
        path: of the archive.
        wanted: what their names in the archive match, whole.
        limit: how many bytes each may have at most.

    Returns:
        The contents, by name.

    Raises:
        UserError: the archive is damaged, it or its contents are too large, it has names that lead out of it, or a
            wanted name is no plain file, too large, or there twice.
    """
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    check_size(str(path), path.stat().st_size, LARGEST_ZIP)
    content = io.BytesIO(path.read_bytes())  # so what fails from here on is the archive, not the disk
    try:
        with zipfile.ZipFile(content) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES:
                raise UserError(f"{path} holds {len(entries):,} files: expected at most {MOST_FILES:,}; get it anew")
            for entry in entries:
                name = entry.filename
                if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                    raise UserError(f"{path} is not to be trusted: a name in it leads out of it, {name!r}; get it anew")
                if not wanted.fullmatch(name):
                    continue
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG) or name in found:
                    what = "twice" if name in found else "no plain file"
                    raise UserError(f"{path} is not to be trusted: {name} is in it {what}; get it anew")
                check_size(f"{name} in {path}", entry.file_size, limit)
                with archive.open(entry) as file:
                    found[name] = file.read(limit + 1)
                check_size(f"{name} in {path}", len(found[name]), limit)
                left -= len(found[name])
                if left < 0:
                    raise UserError(f"{path} holds more than {MOST_BYTES:,} bytes of what is wanted: get it anew")
    except DAMAGED_ZIP as error:
        raise UserError(f"{path} is damaged, or no .zip archive ({error}): get it anew") from error
    return found

"""Archives of datasets: downloads them once, and reads the wanted files out of them.

Nothing is ever unpacked onto the disk, so the names and links in an archive can do no harm. Nothing is read beyond a
limit, so that a small archive cannot fill the memory.
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

TIMEOUT = 30  # seconds to wait for a silent server
MOST_ENTRIES = 1000  # read from a tar archive; a damaged one can have endless entries
LARGEST_ZIP = 100_000_000  # bytes
MOST_FILES = 100_000  # in a zip archive
MOST_BYTES = 100_000_000  # read out of a zip archive in total
OTHER = 10_000_000  # bytes that a tar archive may hold besides the wanted files
# Errors of reading a damaged zip archive. RuntimeError: it is encrypted, or compressed by an unknown method.
DAMAGED_ZIP = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, struct.error, RuntimeError, LookupError,
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """An archive as its authors publish it.

    Attributes:
        url: address of the folder that holds it.
        name: name of the file.
        checksum: ``"sha256:..."`` or ``"md5:..."``.
        megabytes: approximate size.
        stand_in: option for new runs that need no download.
    """

    url: str
    name: str
    checksum: str
    megabytes: int
    stand_in: str = ""

    def __str__(self) -> str:
        return f"{self.url}/{self.name}"

    def is_at(self, path: Path) -> bool:
        """Return whether a file is this archive, by its checksum."""
        import pooch

        kind, _, expected = self.checksum.partition(":")
        return pooch.file_hash(str(path), alg=kind) == expected


def cache_folder() -> Path:
    """Return the package's folder in the user's cache, where downloads are kept."""
    import pooch

    return Path(pooch.os_cache("plastic-rl"))


def download(archive: Published) -> Path:
    """Return the path of an archive, which is downloaded on first use and verified on every use.

    Raises:
        UserError: it cannot be downloaded or written, or it is not the published archive.
    """
    import pooch
    import requests

    path = cache_folder() / archive.name
    instead = "download it in another way, and give the folder that it is in: --data-dir FOLDER"
    if archive.stand_in:
        instead += f"; new runs can do without it: {archive.stand_in}"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # it would repeat the message below
    try:
        if path.exists() and archive.is_at(path):
            return path
        again = " again, because the file there is damaged" if path.exists() else ""
        print(f"downloading {archive} ({archive.megabytes} MB) to {path.parent}{again}", flush=True)
        fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT)
        pooch.retrieve(str(archive), archive.checksum, archive.name, path.parent, downloader=fetch)
    except requests.HTTPError as error:
        reason = str(error).partition(" for url")[0]
        raise UserError(f"{archive} is refused ({reason}): {instead}") from error
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
    """Read some files of a gzipped tar archive, and ignore all others.

    Args:
        path: path of the archive.
        wanted: the largest size in bytes of each wanted file, by its name in the archive.

    Returns:
        The contents of the files that are there, by name.

    Raises:
        UserError: the archive is damaged or too large, or a wanted file is no plain file, too large, or there twice.
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
                    kind = "there twice" if name in found else "no plain file"
                    raise UserError(f"{path} is not to be trusted: {name} is {kind}; download it again")
                check_size(f"{name} in {path}", entry.size, wanted[name])
                reader = archive.extractfile(entry)
                assert reader is not None
                found[name] = reader.read()
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged, or no .tar.gz archive ({error}): download it again") from error
    return found


def check_size(name: str, size: int, limit: int) -> None:
    """Check that a file is not larger than expected.

    Raises:
        UserError: it is larger.
    """
    if not 0 <= size <= limit:
        raise UserError(f"{name} has {size:,} bytes: expected at most {limit:,}; download it again")


def read_zip(path: Path, wanted: re.Pattern[str], limit: int) -> dict[str, bytes]:
    """Read some files of a zip archive, and ignore all others.

    Args:
        path: path of the archive.
        wanted: pattern that matches the complete names of the wanted files in the archive.
        limit: largest size of each file in bytes.

    Returns:
        The contents, by name.

    Raises:
        UserError: the archive is damaged, it or its contents are too large, a name points outside the archive, or a
            wanted file is no plain file, too large, or there twice.
    """
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    check_size(str(path), path.stat().st_size, LARGEST_ZIP)
    content = io.BytesIO(path.read_bytes())  # from here on, an error comes from the archive and not from the disk
    try:
        with zipfile.ZipFile(content) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES:
                raise UserError(
                    f"{path} holds {len(entries):,} files: expected at most {MOST_FILES:,}; download it again"
                )
            for entry in entries:
                name = entry.filename
                if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                    raise UserError(
                        f"{path} is not to be trusted: the name {name!r} points outside the archive; download it again"
                    )
                if not wanted.fullmatch(name):
                    continue
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG) or name in found:
                    what = "there twice" if name in found else "no plain file"
                    raise UserError(f"{path} is not to be trusted: {name} is {what}; download it again")
                check_size(f"{name} in {path}", entry.file_size, limit)
                with archive.open(entry) as file:
                    found[name] = file.read(limit + 1)
                check_size(f"{name} in {path}", len(found[name]), limit)
                left -= len(found[name])
                if left < 0:
                    raise UserError(f"{path} holds more than {MOST_BYTES:,} bytes of wanted files: download it again")
    except DAMAGED_ZIP as error:
        raise UserError(f"{path} is damaged, or no .zip archive ({error}): download it again") from error
    return found

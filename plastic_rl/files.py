"""Files that are seen whole or not at all, and readers that run no code and say which file is damaged."""

import csv
import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

# What reading a damaged file of ``torch.save`` raises.
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, LookupError, TypeError,
    AttributeError, AssertionError, OverflowError,
)  # fmt: skip


class DamagedFileError(ValueError):
    """A file is not what it should be, or damaged."""


def write_atomically(path: Path, content: bytes) -> None:
    """Put a file in its place whole, whenever the process or the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, whole: numbers that are not whole to six digits, None as nothing."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
    write_atomically(path, content.getvalue().encode())


def read_json(content: bytes, name: str) -> dict[str, Any]:
    """Parse a JSON object, or raise DamagedFileError."""
    try:
        config = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{name} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise DamagedFileError(f"{name} is not a JSON object")
    return config


def weights_to_bytes(weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Write safetensors. A tensor may have several names, under each of which it is then kept."""
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    return safetensors.torch.save(own, metadata)


def read_weights(content: bytes, name: str) -> dict[str, Tensor]:
    """Parse safetensors, or raise DamagedFileError."""
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFileError(f"{name} is not in the safetensors format, or damaged: {error}") from error


def read_torch(content: bytes, name: str) -> dict[str, Any]:
    """Parse a dictionary that ``torch.save`` wrote, of tensors and plain values only, or raise DamagedFileError."""
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise DamagedFileError(f"{name} is damaged or holds more than tensors; it was not run") from error
    if not isinstance(loaded, dict):
        raise DamagedFileError(f"{name} is not a dictionary")
    return loaded

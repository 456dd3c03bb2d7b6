"""Files that are written whole or not at all, and readers that run no code and name the file that is damaged."""

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

# What reading a damaged file of ``torch.save`` may raise.
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, LookupError, TypeError,
    AttributeError, AssertionError, OverflowError,
)  # fmt: skip


class DamagedFileError(ValueError):
    """A file is damaged, or not of the expected kind."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whenever the process or the machine stops."""
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
    """Write a table atomically: floats to six significant digits, None as an empty cell."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
    write_atomically(path, content.getvalue().encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


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
    """Return weights in the safetensors format. A tensor with several names is kept under each of them."""
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    return safetensors.torch.save(copies, metadata)


def read_weights(content: bytes, name: str) -> dict[str, Tensor]:
    """Parse safetensors, or raise DamagedFileError."""
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFileError(f"{name} is not in the safetensors format, or damaged: {error}") from error


def read_torch(content: bytes, name: str) -> dict[str, Any]:
    """Parse a dictionary of tensors and plain values that ``torch.save`` wrote, or raise DamagedFileError."""
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise DamagedFileError(f"{name} is damaged or holds more than tensors; it was not run") from error
    if not isinstance(loaded, dict):
        raise DamagedFileError(f"{name} is not a dictionary")
    return loaded

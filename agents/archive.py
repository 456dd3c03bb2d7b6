"""The file format of agents: a zip of JSON, safetensors and a ``weights_only`` PyTorch file.

Stable-Baselines3's own format is unpickled when it is read, so a file from a stranger can run any code. Reading this
format runs no code: nothing is unpickled and nothing is extracted, three members with known names are read in memory.
"""

import io
import json
import math
import pathlib
import struct
import zipfile
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn, optim

from plastic_rl.files import DamagedFileError as ArchiveError
from plastic_rl.files import read_json, read_torch, read_weights, weights_to_bytes, write_atomically

CONFIG, WEIGHTS, TRAINING = "config.json", "policy.safetensors", "training.pt"
CLASS = "class"  # marks a class among the settings of a policy
# The classes that may be settings of a policy, by name: a file can name no others.
CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        nn.ELU, nn.GELU, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.SELU, nn.SiLU, nn.Sigmoid,
        nn.Softplus, nn.Tanh,
        optim.Adagrad, optim.Adam, optim.AdamW, optim.Adamax, optim.NAdam, optim.RAdam, optim.RMSprop, optim.SGD,
        CombinedExtractor, FlattenExtractor, NatureCNN, RMSpropTFLike,
    )
}  # fmt: skip
LARGEST = 1 << 24  # numbers in an observation or an action; an agent cannot learn from more

File = str | pathlib.Path | IO[bytes]


class Archive(NamedTuple):
    """The content of an agent's file."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    training: dict[str, Any]


def write(file: File, archive: Archive) -> None:
    """Write an archive. A file at a path is replaced at once, so that no reader sees it half-written."""
    training = io.BytesIO()
    torch.save(archive.training, training)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr(CONFIG, json.dumps(archive.config, indent=2))
        bundle.writestr(WEIGHTS, weights_to_bytes(archive.weights))
        bundle.writestr(TRAINING, training.getvalue())
    if isinstance(file, (str, pathlib.Path)):
        write_atomically(pathlib.Path(file), content.getvalue())
    else:
        file.write(content.getvalue())


def read(file: File) -> Archive:
    """Read an archive.

    Raises:
        ArchiveError: the file is damaged, or it is not the file of an agent.
        FileNotFoundError: there is no such file.
    """
    name = str(file) if isinstance(file, (str, pathlib.Path)) else "the agent's file"
    try:
        with zipfile.ZipFile(file) as bundle:
            members = {info.filename: info.file_size for info in bundle.infolist()}
            if set(members) != {CONFIG, WEIGHTS, TRAINING} or len(bundle.infolist()) != 3:
                raise ArchiveError(
                    f"{name} is not an agent's file: it holds {sorted(members) or 'nothing'}, expected {CONFIG}, "
                    f"{WEIGHTS} and {TRAINING}"
                )
            if any(info.compress_type != zipfile.ZIP_STORED for info in bundle.infolist()):
                raise ArchiveError(f"{name} is not an agent's file as save() wrote it: its content is compressed")
            config, weights, training = (bundle.read(member) for member in (CONFIG, WEIGHTS, TRAINING))
    except (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"{name} is damaged, or not an agent's file: {error}") from error
    loaded = read_torch(training, f"{TRAINING} of {name}")
    return Archive(read_json(config, f"{CONFIG} of {name}"), read_weights(weights, f"{WEIGHTS} of {name}"), loaded)


def setting_to_json(value: Any) -> Any:
    """Describe a setting in the types of JSON: numbers, NumPy's too, texts, lists, dicts, and the usual classes.

    Raises:
        TypeError: it is anything else.
    """
    value = without_numpy(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [setting_to_json(part) for part in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: setting_to_json(part) for name, part in value.items()}
    if isinstance(value, type) and CLASSES.get(value.__name__) is value:
        return {CLASS: value.__name__}
    raise TypeError(f"{value!r} is neither a number, a text, a list, nor one of the usual classes")


def without_numpy(value: Any) -> Any:
    """Return a setting with plain numbers in place of NumPy's, as samplers give them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, dict):
        return {name: without_numpy(part) for name, part in value.items()}
    return type(value)(map(without_numpy, value)) if type(value) in (list, tuple) else value


def setting_from_json(value: Any) -> Any:
    """Return the setting that ``setting_to_json`` described; tuples are lists.

    Raises:
        ArchiveError: it names an unknown class.
    """
    if isinstance(value, list):
        return [setting_from_json(part) for part in value]
    if isinstance(value, dict):
        if value.keys() == {CLASS}:
            if not isinstance(value[CLASS], str) or value[CLASS] not in CLASSES:
                raise ArchiveError(f"unknown class {value[CLASS]!r}: expected one of {', '.join(CLASSES)}")
            return CLASSES[value[CLASS]]
        return {name: setting_from_json(part) for name, part in value.items()}
    return value


def space_to_json(space: spaces.Space) -> dict[str, Any]:
    """Describe a Box, Discrete, MultiDiscrete or MultiBinary space.

    Raises:
        TypeError: another kind of space.
    """
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.Box):
        # As text, because JSON has no infinities; one for all where all bounds are equal, as they mostly are.
        low, high = (
            str(float(b.flat[0])) if b.size and (b == b.flat[0]).all() else [str(float(v)) for v in b.flat]
            for b in (space.low, space.high)
        )
        return {
            "type": "Box",
            "low": low,
            "high": high,
            "shape": list(space.shape),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": list(space.n) if isinstance(space.n, tuple) else space.n}
    raise TypeError(
        f"an agent for {space} cannot be saved: expected a Box, Discrete, MultiDiscrete or MultiBinary space"
    )


def space_from_json(config: Any) -> spaces.Space:
    """Return the space that ``space_to_json`` described, or raise ArchiveError."""
    try:
        if config["type"] == "Discrete":
            return spaces.Discrete(int(config["n"]), start=int(config["start"]))
        if config["type"] == "Box":
            shape, dtype = tuple(int(n) for n in config["shape"]), np.dtype(str(config["dtype"]))
            if dtype.kind not in "fiub" or math.prod(shape) > LARGEST:
                raise ValueError(f"a Box of {shape} {dtype}")
            low, high = (np.broadcast_to(np.array(config[k], dtype=np.float64).reshape(-1), math.prod(shape))
                         if isinstance(config[k], str) else np.array(config[k], dtype=np.float64)
                         for k in ("low", "high"))  # fmt: skip
            return spaces.Box(low.reshape(shape).astype(dtype), high.reshape(shape).astype(dtype), dtype=dtype.type)
        if config["type"] == "MultiDiscrete":
            counts = np.array(config["nvec"], dtype=np.int64)
            if counts.size and max(counts.max(), counts.sum()) > LARGEST:
                raise ValueError(f"a MultiDiscrete of {counts.sum()} values")
            return spaces.MultiDiscrete(counts, start=np.array(config["start"], dtype=np.int64))
        if config["type"] == "MultiBinary":
            n = [int(k) for k in config["n"]] if isinstance(config["n"], list) else int(config["n"])
            if math.prod(n if isinstance(n, list) else [n]) > LARGEST:
                raise ValueError(f"a MultiBinary of {n}")
            return spaces.MultiBinary(n)
        raise ValueError(f"type {config['type']!r}")
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError) as error:
        raise ArchiveError(f"not a description of a space: {error}") from error

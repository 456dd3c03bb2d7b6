"""Runs of networks: their task, their data, and their trained network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from plastic_rl.data import (
    SplitCharacters,
    cifar10_images,
    glyph_characters,
    omniglot_characters,
    split_characters,
    synthetic_images,
)
from plastic_rl.errors import UsageError, UserError, option
from plastic_rl.runs.finding import packaged
from plastic_rl.runs.folder import RunFolder
from plastic_rl.seeds import WEIGHTS
from plastic_rl.settings import TASKS, Images, Memorize, Omniglot, TaskRun
from plastic_rl.tasks import (
    CoreSettings,
    FewShotClassification,
    FewShotNetwork,
    FewShotSettings,
    ImageCompletion,
    PatternCompletion,
    Task,
)


def make(config: TaskRun) -> tuple[Task, nn.Module]:
    """Make a run's task, with its data, and its network, untrained.

    Raises:
        UsageError: the settings do not fit each other, or the data.
        UserError: the data cannot be found or downloaded.
    """
    try:
        task = _task(config)
        torch.manual_seed(WEIGHTS + config.seed)
        return task, task.network(CoreSettings(**config.core_settings())).to(config.device)
    except ValueError as error:
        raise UsageError(_with_option(str(error), config)) from error


def _task(config: TaskRun) -> Task:
    if isinstance(config, Memorize):
        return PatternCompletion(**config.task_settings())
    if isinstance(config, Images):
        return ImageCompletion(*_images(config), **config.task_settings())
    assert isinstance(config, Omniglot)
    settings, source = FewShotSettings(**config.task_settings()), config.facts()["data"]
    task = FewShotClassification(_characters(config), settings, test_within=config.split == "lake", source=source)
    task.tests(), task.validation()  # are there enough characters for these too?
    return task


def _with_option(message: str, config: TaskRun) -> str:
    """A message that begins with the name of a setting, with its command line option instead."""
    name, _, rest = message.partition(" ")
    return f"{option(name)} {rest}" if hasattr(config, name) else message


def _images(config: Images) -> tuple[np.ndarray, np.ndarray]:
    """Load and announce a run's images, for training and held out."""
    images = synthetic_images() if config.data == "synthetic" else cifar10_images(config.data_dir)
    training, held_out = (len(part) for part in images)
    print(f"{config.data}: {training:,} images to train on, {held_out:,} held out", flush=True)
    return images


def _characters(config: Omniglot) -> SplitCharacters:
    """Load, split and announce a run's characters."""
    if config.data == "glyphs":
        found = glyph_characters(config.image_size)
    else:
        found = omniglot_characters(config.data_dir, config.image_size)
    parts = split_characters(found, config.split_name, config.seed)
    training, validation, test = (f"{len(part.names):,}" for part in (parts.training, parts.validation, parts.test))
    counts = f"{training} characters to train on, {validation} for validation, {test} for tests"
    print(f"{config.facts()['data']}, split {config.split_name}: {counts}", flush=True)
    return parts


def load(run: RunFolder, data_dir: Path | None = None) -> tuple[TaskRun, Task, nn.Module, int]:
    """Load a run's settings, its task, its trained network, and after how many episodes the network was kept.

    Args:
        run: its folder.
        data_dir: folder of its dataset; None: as in training.

    Raises:
        UserError: they are missing or damaged, or do not fit each other.
    """
    config = run.settings(*TASKS.values())
    if data_dir is not None:
        if not isinstance(config, Images | Omniglot):
            raise UsageError("--data-dir is for runs on a dataset: leave it out")
        config = replace(config, data_dir=data_dir.expanduser().absolute())
    weights, episodes = _read_model(run)
    task, network = make(replace(config, device="cpu"))
    _fill(network, weights, run)
    return config, task, network, episodes


def load_few_shot(folder: Path | str | None = None) -> FewShotNetwork:
    """Load the network of a run of ``omniglot``, without its data, ready to be used.

    Args:
        folder: of the run; None: the trained network that comes with the package.

    Raises:
        UserError: the folder is not a run of ``omniglot``, has no model yet, or is damaged.
    """
    run = RunFolder(packaged("omniglot") if folder is None else folder)
    config = run.settings(Omniglot)
    weights, _ = _read_model(run)
    settings = FewShotSettings(**config.task_settings())
    network = FewShotNetwork(CoreSettings(**config.core_settings()), settings, config.image_size)
    _fill(network, weights, run)
    return network.eval()


def _read_model(run: RunFolder) -> tuple[dict[str, torch.Tensor], int]:
    try:
        return run.read_model("episodes")
    except ValueError as error:
        raise UserError(f"the network in {run} cannot be loaded: {error}") from error


def _fill(network: nn.Module, weights: dict[str, torch.Tensor], run: RunFolder) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the network in {run} cannot be loaded: {error}") from error

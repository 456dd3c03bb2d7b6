"""The commands that train on supervised tasks, ``memorize`` and ``images``, and ``evaluate`` for their runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from plastic_rl import folders
from plastic_rl.config import FRESH, Evaluate, Images, Memorize, TaskRun
from plastic_rl.data import cifar10_images, synthetic_images
from plastic_rl.errors import DivergenceError, UsageError, UserError, invocation
from plastic_rl.modules.ablation import ABLATIONS, ablated
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.plots import learning_curve
from plastic_rl.session import Session, check_machine, resumed, session, thread_count
from plastic_rl.tables import duration, number, table
from plastic_rl.tasks import CoreSettings, ImageCompletion, PatternCompletion, Task
from plastic_rl.trainer import CHECKPOINT, RECENT, Trainer, assess, testing

PICTURE = "episodes.png"
PICTURED = 6  # episodes
COMMANDS: dict[str, type[TaskRun]] = {run.command: run for run in (Memorize, Images)}


def train(config: TaskRun) -> None:
    """Train, or go on training, and then test, draw and summarize."""
    check_machine(config)
    with session(config.command, "this network and batch: try smaller --hidden-size or --batch-size") as this:
        if config.resume is not None:
            this.folder, kept = config.resume, read_run(config.resume)
            if type(kept) is not type(config):
                again = invocation(kept.command, "--resume", config.resume)
                raise UsageError(f"{config.resume} is a run of {kept.command}: go on with {again}")
            config = resumed(config, kept, "episodes")
        config = config.resolved()
        threads = thread_count(config)
        torch.set_num_threads(threads)
        set_num_threads(threads)
        task, network = make(config)
        if this.folder is None:
            this.folder = folders.create(config.out, config.command)
        trainer = Trainer(task, network, this.folder, interruption=this.interruption, **config.trainer_settings())
        if (this.folder / CHECKPOINT).exists() or (this.folder / folders.METRICS).exists():
            trainer.restore()
            assert config.episodes is not None
            if trainer.episodes >= config.episodes and (this.folder / folders.SUMMARY).exists():
                raise UsageError(
                    f"{this.folder} has finished its {trainer.episodes} episodes: to go on, give a larger number, "
                    f"--episodes {2 * trainer.episodes} for example"
                )
        _write_config(this.folder, config)
        _run(this.folder, config, trainer, this)


def make(config: TaskRun) -> tuple[Task, nn.Module]:
    """Make a run's task and its network, untrained.

    Raises:
        UsageError: the settings do not fit each other.
    """
    try:
        task: Task
        if isinstance(config, Memorize):
            task = PatternCompletion(**config.task_settings())
        else:
            assert isinstance(config, Images)
            task = ImageCompletion(*load_images(config), **config.task_settings())
        # Weights are of another stream than the episodes of training and of tests.
        torch.manual_seed(2 * FRESH + config.seed)
        return task, task.network(CoreSettings(**config.core_settings())).to(config.device)
    except ValueError as error:
        raise UsageError(str(error)) from error


def load_images(config: Images) -> tuple[np.ndarray, np.ndarray]:
    """Load the images of a run, for training and held out; tell which.

    Raises:
        UserError: they cannot be had.
    """
    images = synthetic_images() if config.data == "synthetic" else cifar10_images(config.data_dir)
    training, held_out = (len(part) for part in images)
    print(f"{config.data}: {training:,} images to train on, {held_out:,} held out", flush=True)
    return images


def read_run(folder: Path) -> TaskRun:
    """Read a run's settings.

    Raises:
        UserError: there is no such run, it is of another command, or its config.json is damaged.
    """
    config = folders.read_config(folder)
    if config["command"] not in COMMANDS:
        raise UserError(f"{folder} is a run of {config['command']}: expected one of {', '.join(COMMANDS)}")
    try:
        return COMMANDS[config["command"]].from_json(config["run"])
    except (ValueError, UsageError) as error:
        path = folder / folders.CONFIG
        raise UserError(f"{path} is damaged, or of another version of this package: {error}") from error


def _write_config(folder: Path, config: TaskRun) -> None:
    content = {"command": config.command, "run": config.to_json(), "versions": folders.versions()}
    folders.write_json(folder / folders.CONFIG, content)


def _run(folder: Path, config: TaskRun, trainer: Trainer, this: Session) -> None:
    assert config.episodes is not None
    print(f"{folder}: {count_parameters(trainer.network):,} parameters, {get_num_threads()} threads", flush=True)
    if trainer.episodes:
        print(f"going on from episode {trainer.episodes}", flush=True)
    if trainer.episodes < config.episodes:
        for name in (folders.SUMMARY, folders.CURVE, PICTURE):  # they are of a shorter run
            (folder / name).unlink(missing_ok=True)
        this.interruption.patient = True
        try:
            trainer.train(config.episodes)
        except DivergenceError as error:
            raise UserError(f"{error}. The last good checkpoint is kept in {folder}") from error
        this.stop(f"episode {trainer.episodes} of {config.episodes}")
    _finish(folder, config, trainer)


def _finish(folder: Path, config: TaskRun, trainer: Trainer) -> None:
    task, network, seconds = trainer.task, trainer.network, trainer.seconds
    rate = trainer.episodes / seconds
    print(f"\ntrained {trainer.episodes} episodes in {duration(seconds)}, {number(rate)} episodes/s", flush=True)
    results = _test(task, network, config.eval_episodes, config.seed)
    rows = trainer.metrics.rows()
    _draw_curve(folder / folders.CURVE, rows, trainer, f"{config.command}, {config.core} core, seed {config.seed}")
    _draw_episodes(folder / PICTURE, task, network, config.seed)
    course = task.course(rows)
    folders.write_json(
        folder / folders.SUMMARY,
        {
            "episodes": trainer.episodes,
            "train_seconds": seconds,
            "episodes_per_second": rate,
            **_flat(results),
            **course,
            "eval_episodes": config.eval_episodes,
            "parameters": count_parameters(network),
            "core": config.core,
            "seed": config.seed,
            "threads": get_num_threads(),
        },
    )
    print(f"tested on {config.eval_episodes} fresh episodes:\n\n{_as_table(results)}\n")
    for name, value in course.items():
        shown = "never" if value is None else number(value)
        print(f"{name.replace('_', ' ') + ':':<24}{shown}")
    for name, path in {"learning curve": folder / folders.CURVE, "episodes": folder / PICTURE}.items():
        if path.exists():
            print(f"{name + ':':<24}{path}")
    print(f"{'test it further:':<24}{invocation('evaluate', folder)}")


Results = dict[tuple[str, str], dict[str, float]]
PARTS = {"": "", "train": " on training data", "heldout": " on held-out data"}


def _test(task: Task, network: nn.Module, episodes: int, seed: int, ablation: str = "") -> Results:
    """Test on fresh episodes; of a task with held-out data, on fresh episodes of both kinds of data.

    The results are by ablation and part of the data, both empty where there is none.
    """
    fresh = task.held_out()
    parts = {"": task} if fresh is task else {"train": task, "heldout": fresh}
    return {(ablation, part): assess(one, network, episodes, FRESH + seed) for part, one in parts.items()}


def _flat(results: Results) -> dict[str, float]:
    """Results by name, as in summary.json."""
    return {
        "_".join(filter(None, (name, *key))): value for key, values in results.items() for name, value in values.items()
    }


def _draw_curve(path: Path, rows: list[dict[str, float]], trainer: Trainer, title: str) -> None:
    values = np.array([row[trainer.headline] for row in rows])
    window = max(1, min(RECENT, len(values) // 10))  # a longer one would hide how training begins
    x = np.array([row["episodes"] for row in rows])[window - 1 :]
    y = np.convolve(values, np.full(window, 1 / window), "valid")
    name = trainer.headline.replace("_", " ")
    what = f"{name}, mean of {window} updates" if window > 1 else name
    learning_curve(path, x, y, title, ("episodes", what), trainer.task.levels)


def _draw_episodes(path: Path, task: Task, network: nn.Module, seed: int) -> None:
    """Draw fresh episodes, of held-out data where there is some."""
    task = task.held_out()
    generator = torch.Generator(next(network.parameters()).device).manual_seed(FRESH + seed)
    with testing(network):
        episodes = task.sample(PICTURED, generator)
        prediction = task.run(network, episodes)
    task.draw(path, prediction.cpu(), type(episodes)(*(part.cpu() for part in episodes)))


def _as_table(results: Results) -> str:
    """Rows of results under their names; shares of wrong bits in percent."""
    names = list(next(iter(results.values())))
    rows = [["", *(name.replace("_", " ") for name in names)]]
    for (ablation, part), values in results.items():
        title = (f"with its {ablation.replace('_', ' at ')}" if ablation else "this network") + PARTS[part]
        cells = (f"{values[n]:.2%}" if n.startswith("wrong") else f"{values[n]:.4g}" for n in names)
        rows.append([title, *cells])
    return table(rows)


def load(folder: Path) -> tuple[TaskRun, Task, nn.Module, int]:
    """Load a run: its settings, its task, its trained network, and after how many episodes that was kept.

    Raises:
        UserError: they are missing or damaged, or do not fit each other.
    """
    config = read_run(folder)
    weights, episodes = _read_model(folder)
    task, network = make(replace(config, device="cpu"))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the network in {folder} cannot be loaded: {error}") from error
    return config, task, network, episodes


def _read_model(folder: Path) -> tuple[dict[str, torch.Tensor], int]:
    try:
        return folders.read_model(folder, "episodes")
    except ValueError as error:
        raise UserError(f"the network in {folder} cannot be loaded: {error}") from error


def evaluate(config: Evaluate, folder: Path) -> None:
    """Test a run's network, and again without its plasticity; print a table and write summary.json."""
    if config.deterministic:
        raise UsageError("--deterministic is for agents, which draw their actions at random: leave it out")
    run, task, network, trained = load(folder)
    out = config.out or folder / "evaluation"
    folders.check_no_run(out)
    folders.make_folder(out, "--out")
    episodes = config.episodes or run.eval_episodes
    results = _test(task, network, episodes, config.seed)
    if run.core == "plastic":
        for ablation in ABLATIONS:
            with ablated(network, ablation):
                results |= _test(task, network, episodes, config.seed, ablation)
    _draw_episodes(out / PICTURE, task, network, config.seed)
    folders.write_json(
        out / folders.SUMMARY,
        {
            "run": str(folder),
            "command": run.command,
            "trained_episodes": trained,
            "episodes": episodes,
            **_flat(results),
            "seed": config.seed,
        },
    )
    print(f"{folder} after {trained} episodes, tested on {episodes} fresh ones:\n")
    print(f"{_as_table(results)}\n\nwritten to {out / folders.SUMMARY}")

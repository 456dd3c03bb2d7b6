"""The commands that train on supervised tasks, and ``evaluate`` for their runs."""

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
from plastic_rl.errors import DivergenceError, UsageError, UserError, invocation, option
from plastic_rl.figures.curves import learning_curve
from plastic_rl.modules.ablation import ABLATIONS, ablated
from plastic_rl.modules.controls import count_parameters
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.runs import folder as folders
from plastic_rl.seeds import FRESH, WEIGHTS
from plastic_rl.settings import TASKS, Evaluate, Images, Memorize, Omniglot, TaskRun
from plastic_rl.tasks import (
    CoreSettings,
    FewShotClassification,
    FewShotNetwork,
    FewShotSettings,
    ImageCompletion,
    PatternCompletion,
    Task,
)
from plastic_rl.text import duration, number, table
from plastic_rl.training.machine import keep_freed_memory
from plastic_rl.training.session import Session, check_machine, check_not_shorter, session, thread_count
from plastic_rl.training.trainer import CHECKPOINT, RECENT, Trainer, assess, testing

PICTURE = "episodes.png"


def train(config: TaskRun) -> None:
    """Train, or go on training, and then test, draw and summarize."""
    check_machine(config)
    with session(config.command, _smaller(config)) as this:
        if config.resume is not None:
            this.folder = config.resume
        _check_length(config)
        keep_freed_memory()
        threads = thread_count(config)
        torch.set_num_threads(threads)
        set_num_threads(threads)
        task, network = make(config)
        if this.folder is None:
            this.folder = folders.create(config.out, config.command)
        trainer = Trainer(task, network, this.folder, interruption=this.interruption, **config.trainer_settings())
        if (this.folder / CHECKPOINT).exists() or (this.folder / folders.METRICS).exists():
            trainer.restore()
            if trainer.episodes >= config.episodes and (this.folder / folders.SUMMARY).exists():
                limit = config.decay_episodes or 2 * trainer.episodes  # more would train nothing
                example = min(limit, 2 * trainer.episodes)
                more = f"to go on, give a larger number, --episodes {example} for example"
                raise UsageError(
                    f"{this.folder} has finished its {trainer.episodes} episodes: "
                    + (more if trainer.episodes < limit else "its learning rate has fallen to 0, start a new run")
                )
            check_not_shorter("episodes", config.episodes, this.folder, trainer.episodes, trainer.batch_size)
        _write_config(this.folder, config)
        _run(this.folder, config, trainer, this)


def _check_length(config: TaskRun) -> None:
    """Refuse episodes that would train nothing."""
    if config.decay_episodes and config.episodes > config.decay_episodes:
        way_out = "start a new run" if config.resume is not None else f"give --decay-episodes {config.episodes}"
        raise UsageError(
            f"--episodes is {config.episodes}: the learning rate falls to 0 within {config.decay_episodes}, and later "
            f"ones would change nothing: {way_out}"
        )


def _smaller(config: TaskRun) -> str:
    size = {"memorize": "--bits, --hidden-size", "images": "--hidden-size", "omniglot": "--width"}[config.command]
    return f"this network and batch: try smaller {size} or --batch-size"


def make(config: TaskRun) -> tuple[Task, nn.Module]:
    """Make a run's task and its network, untrained.

    Raises:
        UsageError: the settings do not fit each other.
    """
    try:
        task: Task
        if isinstance(config, Memorize):
            task = PatternCompletion(**config.task_settings())
        elif isinstance(config, Omniglot):
            settings = FewShotSettings(**config.task_settings())
            how = {"test_within": config.split == "lake", "source": config.facts()["data"]}
            task = FewShotClassification(load_characters(config), settings, **how)
            task.tests(), task.validation()  # are there enough characters for these too?
        else:
            assert isinstance(config, Images)
            task = ImageCompletion(*load_images(config), **config.task_settings())
        # Weights are of another stream than the episodes of training and of tests.
        torch.manual_seed(WEIGHTS + config.seed)
        return task, task.network(CoreSettings(**config.core_settings())).to(config.device)
    except ValueError as error:
        raise UsageError(_with_flag(str(error), config)) from error


def _with_flag(message: str, config: TaskRun) -> str:
    """A message that begins with a setting's name, beginning with its option instead."""
    name, _, rest = message.partition(" ")
    return f"{option(name)} {rest}" if hasattr(config, name) else message


def load_images(config: Images) -> tuple[np.ndarray, np.ndarray]:
    """Load the images of a run, for training and held out; tell which.

    Raises:
        UserError: they cannot be had.
    """
    images = synthetic_images() if config.data == "synthetic" else cifar10_images(config.data_dir)
    training, held_out = (len(part) for part in images)
    print(f"{config.data}: {training:,} images to train on, {held_out:,} held out", flush=True)
    return images


def load_characters(config: Omniglot) -> SplitCharacters:
    """Load the characters of a run, split; tell which.

    Raises:
        UserError: they cannot be had.
        ValueError: the split is of other characters.
    """
    if config.data == "glyphs":
        found = glyph_characters(config.image_size)
    else:
        found = omniglot_characters(config.data_dir, config.image_size)
    parts = split_characters(found, config.split_name, config.seed)
    counts = [f"{len(part.names):,}" for part in (parts.training, parts.validation, parts.test)]
    what = "{} characters to train on, {} to choose what is kept, {} for tests".format(*counts)
    print(f"{config.facts()['data']}, split {config.split_name}: {what}", flush=True)
    return parts


def read_run(folder: Path) -> TaskRun:
    """Read a run's settings.

    Raises:
        UserError: there is no such run, it is of another command, or its config.json is damaged.
    """
    return folders.read_run(folder, *TASKS.values())


def _write_config(folder: Path, config: TaskRun) -> None:
    content = {"command": config.command, "run": config.to_json(), "versions": folders.versions()}
    folders.write_json(folder / folders.CONFIG, content)


def _run(folder: Path, config: TaskRun, trainer: Trainer, this: Session) -> None:
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
    kept = trainer.use_best()
    if kept != trainer.episodes:
        print(f"the weights after {kept} episodes were the best in validation, and are kept", flush=True)
    results = _test(task, network, config.eval_episodes, config.seed)
    rows = trainer.metrics.rows()
    _draw_curve(folder / folders.CURVE, rows, trainer, config.title)
    _draw_episodes(folder / PICTURE, task, network, config.seed)
    course = task.course(rows)
    folders.write_json(
        folder / folders.SUMMARY,
        {
            "episodes": trainer.episodes,
            "train_seconds": seconds,
            **({"kept_episodes": kept} if trainer.best else {}),
            "episodes_per_second": rate,
            **_flat(results),
            **course,
            "eval_episodes": config.eval_episodes,
            "parameters": count_parameters(network),
            "core": config.core,
            **config.facts(),
            "seed": config.seed,
            "threads": get_num_threads(),
        },
    )
    print(f"tested on {config.eval_episodes} fresh episodes{_of(config)}:\n\n{_as_table(results)}\n")
    for name, value in course.items():
        shown = "never" if value is None else number(value)
        print(f"{name.replace('_', ' ') + ':':<24}{shown}")
    for name, path in {"learning curve": folder / folders.CURVE, "episodes": folder / PICTURE}.items():
        if path.exists():
            print(f"{name + ':':<24}{path}")
    print(f"{'test it further:':<24}{invocation('evaluate', folder)}")


Results = dict[tuple[str, str], dict[str, float]]
PARTS = {
    "": "", "train": " on training data", "heldout": " on held-out data", "within_alphabet": " within one alphabet",
}  # fmt: skip


def _of(config: TaskRun) -> str:
    """What the results are of, where that has to be said."""
    if not isinstance(config, Omniglot):
        return ""
    return f" of {config.facts()['data']}, split {config.split_name}, {config.way}-way {config.shot}-shot"


def _test(task: Task, network: nn.Module, episodes: int, seed: int, ablation: str = "") -> Results:
    """Test on fresh episodes of every part of the data that the task tells.

    The results are by ablation and part of the data, both empty where there is none.
    """
    tests = task.tests().items()
    return {(ablation, part): assess(one, network, episodes, FRESH + seed) for part, one in tests}


def _flat(results: Results) -> dict[str, float]:
    """Results by name, as in summary.json."""
    return {
        "_".join(filter(None, (name, *key))): value for key, values in results.items() for name, value in values.items()
    }


def _draw_curve(path: Path, rows: list[dict[str, float]], trainer: Trainer, title: str) -> None:
    name = trainer.headline.replace("_", " ")
    column = f"validation_{trainer.headline}"
    found = {row["episodes"]: row[column] for row in rows if column in row}
    if trainer.last_validation is not None:  # of which there may be no row
        found[trainer.last_validation["episodes"]] = trainer.last_validation[column]
    if found:
        points = np.array(list(found)), np.array(list(found.values()))
        learning_curve(path, *points, title, ("episodes", f"{name} in validation"), {})
        return
    values = np.array([row[trainer.headline] for row in rows])
    window = max(1, min(RECENT, len(values) // 10))  # a longer one would hide how training begins
    x = np.array([row["episodes"] for row in rows])[window - 1 :]
    y = np.convolve(values, np.full(window, 1 / window), "valid")
    what = f"{name}, mean of {window} updates" if window > 1 else name
    learning_curve(path, x, y, title, ("episodes", what), trainer.task.levels)


def _draw_episodes(path: Path, task: Task, network: nn.Module, seed: int) -> None:
    """Draw fresh episodes, of held-out data where there is some."""
    task = task.held_out()
    generator = torch.Generator(next(network.parameters()).device).manual_seed(FRESH + seed)
    with testing(network):
        episodes = task.sample(task.pictured, generator)
        prediction = task.run(network, episodes)
    task.draw(path, prediction.cpu(), type(episodes)(*(part.cpu() for part in episodes)))


def _as_table(results: Results) -> str:
    """Rows of results under their names; accuracies and shares of wrong bits in percent."""
    names = list(next(iter(results.values())))
    rows = [["", *(name.replace("_", " ") for name in names)]]
    for (ablation, part), values in results.items():
        title = (f"with its {ablation.replace('_', ' at ')}" if ablation else "this network") + PARTS[part]
        cells = (f"{values[n]:.2%}" if n.startswith(("wrong", "accuracy")) else f"{values[n]:.4g}" for n in names)
        rows.append([title, *cells])
    return table(rows)


def load(folder: Path, data_dir: Path | None = None) -> tuple[TaskRun, Task, nn.Module, int]:
    """Load a run: its settings, its task, its trained network, and after how many episodes that was kept.

    Args:
        folder: of the run.
        data_dir: folder of its dataset; None: as in training.

    Raises:
        UserError: they are missing or damaged, or do not fit each other.
    """
    config = read_run(folder)
    if data_dir is not None:
        if not isinstance(config, Images | Omniglot):
            raise UsageError("--data-dir is for runs on a dataset: leave it out")
        config = replace(config, data_dir=data_dir.expanduser().absolute())
    weights, episodes = _read_model(folder)
    task, network = make(replace(config, device="cpu"))
    _fill(network, weights, folder)
    return config, task, network, episodes


def load_few_shot(folder: Path | str = folders.TRAINED / "omniglot") -> FewShotNetwork:
    """Load the network of a run of ``omniglot`` without its data, ready to be used.

    Args:
        folder: of the run; by default the trained network that comes with the package.

    Raises:
        UserError: the folder is no run of omniglot, or it is damaged.
    """
    folder = Path(folder)
    config = read_run(folder)
    if not isinstance(config, Omniglot):
        raise folders.other_run(folder, config.command, "omniglot")
    weights, _ = _read_model(folder)
    settings = FewShotSettings(**config.task_settings())
    network = FewShotNetwork(CoreSettings(**config.core_settings()), settings, config.image_size)
    _fill(network, weights, folder)
    return network.eval()


def _fill(network: nn.Module, weights: dict[str, torch.Tensor], folder: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the network in {folder} cannot be loaded: {error}") from error


def _read_model(folder: Path) -> tuple[dict[str, torch.Tensor], int]:
    try:
        return folders.read_model(folder, "episodes")
    except ValueError as error:
        raise UserError(f"the network in {folder} cannot be loaded: {error}") from error


def evaluate(config: Evaluate, folder: Path) -> None:
    """Test a run's network, and again without its plasticity; print a table and write summary.json."""
    if config.deterministic:
        raise UsageError("--deterministic is for agents, which draw their actions at random: leave it out")
    keep_freed_memory()
    run, task, network, trained = load(folder, config.data_dir)
    out = config.out or folders.evaluation_of(folder)
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
            **run.facts(),
            "parameters": count_parameters(network),
            "seed": config.seed,
        },
    )
    print(f"{folder} after {trained} episodes, tested on {episodes} fresh ones{_of(run)}:\n")
    print(f"{_as_table(results)}\n\nwritten to {out / folders.SUMMARY}")

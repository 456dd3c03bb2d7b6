"""Training a network on any task's episodes, into a run folder: exactly repeatable, safe to stop at any moment."""

import copy
import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastic_rl.errors import DivergenceError, UserError
from plastic_rl.files import DamagedFileError, read_torch, write_atomically
from plastic_rl.modules.ablation import plastic_layers
from plastic_rl.runs import folder as folders
from plastic_rl.tasks import Task
from plastic_rl.training.session import Interruption, Progress

CHECKPOINT = "checkpoint.pt"
FILES = (*folders.FILES, CHECKPOINT)
TOLD = 40  # times that a training tells how far it is
VALIDATED = 3_000_000_000  # seed of the episodes of validations, of which neither training nor tests have any
MOVED = 5_000_000_000  # added to the seed of the episodes that follow on another kind of device
RECENT = 20  # updates over which what it tells is averaged


class Trainer:
    """Adam on batches of a task's episodes, with rows of metrics.csv for every update or every so many episodes.

    A task that has data for validation is validated now and then; then the weights that are kept in
    model.safetensors are those that were best at it, and not the last ones.

    A run of N episodes that goes on for N more ends with the very weights of one of 2 N, on the same device and with
    the same number of threads (on a GPU, to rounding, where PyTorch's own operations are not repeatable). On another
    kind of device it goes on with episodes of another stream.

    Args:
        task: what is trained.
        network: from ``task.network``, or any that ``task.run`` can drive; trained in place, where it is.
        folder: run folder; what a trainer left there before goes on, if it is restored.
        batch_size: episodes in an update.
        learning_rate: of Adam.
        decay_episodes: over which the learning rate falls along a cosine to 0; 0: it does not.
        drop_every: episodes after which the learning rate falls to 2/3, again and again; 0: it does not.
        max_grad_norm: norm to which gradients are clipped; None: they are not.
        seed: of the episodes, and of PyTorch's own random numbers during training.
        checkpoint_every: seconds between checkpoints.
        log_every: episodes between rows of metrics.csv, which are means over the updates since the row before; 0: a
            row for every update. What is left over when training ends is a row too, until it goes on.
        validate_every: episodes between validations, of a task that has data for them; 0: there are none.
        validation_episodes: in each validation, always the same.
        tensorboard: whether to log to TensorBoard too, into the run folder.
        interruption: of a session, whose signals end training between two updates.

    Attributes:
        episodes: trained on so far.
        seconds: of training so far, those before a stop included.
        best: the score, the episodes and the weights of the best validation so far, or None.
        last_validation: the episodes and the means of the last one that this trainer made, or None.
        headline: what is told while training: the task's first measure, or the loss.

    Raises:
        ValueError: a number is out of bounds, or a task without data for validation is to be validated.

    Example:
        >>> import pathlib, tempfile, torch
        >>> from plastic_rl.tasks import CoreSettings, PatternCompletion
        >>> task = PatternCompletion(patterns=2, bits=8, presentation_steps=2, cycles=1, test_steps=2)
        >>> network = task.network(CoreSettings())
        >>> trainer = Trainer(task, network, pathlib.Path(tempfile.mkdtemp()), batch_size=2)
        >>> trainer.train(10)  # doctest: +ELLIPSIS
             2 of 10 episodes   wrong_bits ...
        True
        >>> trainer.episodes
        10
    """

    def __init__(
        self,
        task: Task,
        network: nn.Module,
        folder: Path | str,
        *,
        batch_size: int = 1,
        learning_rate: float = 1e-3,
        decay_episodes: int = 0,
        drop_every: int = 0,
        max_grad_norm: float | None = None,
        seed: int = 0,
        checkpoint_every: float = 60.0,
        log_every: int = 0,
        validate_every: int = 0,
        validation_episodes: int = 1000,
        tensorboard: bool = False,
        interruption: Interruption | None = None,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1), ("decay_episodes", decay_episodes, 0), ("drop_every", drop_every, 0),
            ("log_every", log_every, 0), ("validate_every", validate_every, 0),
            ("validation_episodes", validation_episodes, 1),
        ):  # fmt: skip
            if value < least:
                raise ValueError(f"{name} is {value}: expected at least {least}")
        self.task, self.network, self.folder = task, network, Path(folder)
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.decay_episodes, self.drop_every = decay_episodes, drop_every
        self.log_every = log_every
        self.validation = task.validation() if validate_every else None
        if validate_every and self.validation is None:
            raise ValueError(f"validate_every is {validate_every}: expected 0, for this task has no validation()")
        self.validate_every, self.validation_episodes = validate_every, validation_episodes
        self.max_grad_norm, self.checkpoint_every, self.tensorboard = max_grad_norm, checkpoint_every, tensorboard
        self.interruption = interruption or Interruption()
        self.seed = seed
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, fused=True)
        self._device = self.parameters[0].device
        self.generator = torch.Generator(self._device).manual_seed(seed)
        torch.manual_seed(seed)
        self.headline = task.measures[0] if task.measures else "loss"
        self.episodes = 0
        self.best: dict[str, Any] | None = None
        self._before = 0.0
        self._began: float | None = None
        self._sums: dict[str, float] = {}  # over the updates since the last row of metrics.csv
        self._updates = 0
        self._logged = 0  # episodes at the last row that was due
        self.last_validation: dict[str, float] | None = None
        columns = ["episodes", "seconds", "loss", *task.measures, "gradient_norm", "learning_rate"]
        columns += ["eta"] if plastic_layers(network) else []
        columns += [f"validation_{name}" for name in ("loss", *task.measures)] if self.validation else []
        self.metrics = folders.Course(self.folder, columns)

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a stop included."""
        return self._before + (time.perf_counter() - self._began if self._began is not None else 0.0)

    def train(self, episodes: int) -> bool:
        """Train until so many episodes are done in all, rounded up to whole batches; return False if stopped.

        Raises:
            DivergenceError: the loss, the gradient or a weight is not finite; the last good checkpoint stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / CHECKPOINT).exists():
            self.save()
        folders.clear_leftovers(self.folder, FILES)
        self.metrics.keep_until(self._logged)
        self._began = saved = time.perf_counter()
        recent: list[float] = []
        progress = Progress("episodes", episodes, self.episodes)
        with self._scalars() as write:
            told, told_at = self.episodes, self._began
            while self.episodes < episodes and not self.interruption.number:
                row = self._update()
                self._log(row, write)
                recent = [*recent[1 - RECENT :], row[self.headline]]
                now = time.perf_counter()
                if self.episodes * TOLD // episodes > told * TOLD // episodes:
                    value = f"{sum(recent) / len(recent):.4g}"
                    progress.tell(self.episodes, self.headline, value, (self.episodes - told) / (now - told_at))
                    told, told_at = self.episodes, now
                if now - saved >= self.checkpoint_every:
                    self.save()
                    saved = time.perf_counter()
                progress.show(self.episodes)
            if self.episodes >= episodes and self._updates:  # only for now: a run that goes on has no such row
                self._add_row({}, write)
        progress.close()
        self._before, self._began = self.seconds, None
        self.save()
        return self.episodes >= episodes

    def _update(self) -> dict[str, float]:
        """One batch and one step of Adam; returns its row of metrics."""
        rate = self.learning_rate
        if self.drop_every:
            rate *= (2 / 3) ** (self.episodes // self.drop_every)
        if self.decay_episodes:
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, self.episodes / self.decay_episodes)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        episodes = self.task.sample(self.batch_size, self.generator)
        prediction = self.task.run(self.network, episodes)
        loss = self.task.loss(prediction, episodes)
        self.optimizer.zero_grad()
        loss.backward()
        limit = math.inf if self.max_grad_norm is None else self.max_grad_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        at = f"training diverged at episode {self.episodes + self.batch_size}"
        for what, value in (("loss", loss), ("gradient", norm)):
            if not math.isfinite(value.item()):
                raise DivergenceError(f"{at}: the {what} is {value.item()}")
        self.optimizer.step()
        layers = plastic_layers(self.network)
        for layer in layers:
            layer.constrain_()
        self.episodes += self.batch_size
        with torch.no_grad():
            metrics = self.task.metrics(prediction, episodes)
        if metrics.keys() != set(self.task.measures):
            given, named = ", ".join(metrics) or "nothing", ", ".join(self.task.measures) or "nothing"
            raise ValueError(f"the task's metrics() gives {given}: expected its measures, {named}")
        row = {"episodes": self.episodes, "seconds": self.seconds, "loss": loss.item()}
        row |= {name: value.float().mean().item() for name, value in metrics.items()}
        row |= {"gradient_norm": norm.item(), "learning_rate": rate}
        return row | ({"eta": sum(layer.eta.item() for layer in layers) / len(layers)} if layers else {})

    def _log(self, row: dict[str, float], write: Callable[[dict[str, float]], None]) -> None:
        """Add an update to the row of metrics.csv in hand; validate, and write the row, when that is due."""

        def due(every: int) -> bool:
            return every > 0 and self.episodes // every > (self.episodes - self.batch_size) // every

        found = self._validate() if self.validation is not None and due(self.validate_every) else {}
        self._updates += 1
        for name, value in row.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self.log_every and not found and not due(self.log_every):
            return
        self._add_row(found, write)
        self._sums, self._updates, self._logged = {}, 0, self.episodes

    def _add_row(self, found: dict[str, float], write: Callable[[dict[str, float]], None]) -> None:
        """Write a row: means over the updates in hand, and what validation found."""
        means = {name: value / self._updates for name, value in self._sums.items()}
        now = {
            "episodes": self.episodes,
            "seconds": self.seconds,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        means |= now | found
        self.metrics.add(means)
        write(means)

    def _validate(self) -> dict[str, float]:
        """Validate, and keep the weights if they are the best so far; returns the means by their columns."""
        assert self.validation is not None
        values = measure(self.validation, self.network, self.validation_episodes, VALIDATED)
        means = {name: value.double().mean().item() for name, value in values.items()}
        score = self.validation.score(means)
        score = -math.inf if math.isnan(score) else score  # of all that are found, the worst
        if self.best is None or score >= self.best["score"]:
            weights = copy.deepcopy(self.network.state_dict())
            self.best = {"score": score, "episodes": self.episodes, "network": weights}
        found = {f"validation_{name}": value for name, value in means.items()}
        self.last_validation = {"episodes": self.episodes, **found}
        return found

    def use_best(self) -> int:
        """Put the weights that are kept into the network; return after how many episodes they were.

        The last weights are validated too, if that was not due when training ended.
        """
        last = self.last_validation
        if self.validation is not None and (last is None or last["episodes"] != self.episodes):
            self._validate()
            self._write_model()
        if self.best is not None:
            self.network.load_state_dict(self.best["network"])
        return self.best["episodes"] if self.best is not None else self.episodes

    @contextmanager
    def _scalars(self) -> Iterator[Any]:
        """A function that logs a row to TensorBoard, if that is wanted."""
        if not self.tensorboard:
            yield lambda row: None
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self.folder), purge_step=self._logged + 1) as writer:

            def write(row: dict[str, float]) -> None:
                for name, value in row.items():
                    if name != "episodes":
                        writer.add_scalar(f"train/{name}", value, int(row["episodes"]))

            yield write

    def save(self) -> None:
        """Keep a checkpoint, and the weights by themselves.

        Raises:
            DivergenceError: a weight is not finite; the checkpoint before stays.
        """
        if not all(torch.isfinite(weight).all() for weight in self.network.parameters()):
            raise DivergenceError(f"training diverged at episode {self.episodes}: a weight is not finite")
        content = io.BytesIO()
        torch.save(
            {
                "episodes": self.episodes,
                "seconds": self.seconds,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "device": self._device.type,
                "generator": self.generator.get_state(),
                "random": torch.get_rng_state(),
                "cuda_random": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
                "best": self.best,
                "sums": self._sums,
                "updates": self._updates,
                "logged": self._logged,
            },
            content,
        )
        write_atomically(self.folder / CHECKPOINT, content.getvalue())
        self._write_model()

    def _write_model(self) -> None:
        kept = self.best or {"network": self.network.state_dict(), "episodes": self.episodes}
        folders.write_model(self.folder, kept["network"], "episodes", kept["episodes"])

    def restore(self) -> None:
        """Go back to the folder's checkpoint.

        Raises:
            UserError: there is none, or it is damaged or of another run.
        """
        path = self.folder / CHECKPOINT
        try:
            kept = read_torch(path.read_bytes(), str(path))
            self.network.load_state_dict(kept["network"])
            self.optimizer.load_state_dict(kept["optimizer"])
            torch.set_rng_state(kept["random"])
            self.episodes, self._before = int(kept["episodes"]), float(kept["seconds"])
            # A run of an earlier version has none of what is asked for with get.
            device = self._device.type
            if kept.get("device", device) == device:
                self.generator.set_state(kept["generator"])
                if device == "cuda" and kept.get("cuda_random") is not None:
                    torch.cuda.set_rng_state(kept["cuda_random"], self._device)
            else:
                self.generator.manual_seed(MOVED + self.seed + self.episodes)
            self.best, self._sums, self._updates = kept.get("best"), kept.get("sums", {}), kept.get("updates", 0)
            self._logged = kept.get("logged", self.episodes)
        except FileNotFoundError as error:
            raise UserError(f"{self.folder} has no {CHECKPOINT} to go on from") from error
        except DamagedFileError as error:
            raise UserError(f"cannot go on: {error}") from error
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"cannot go on from {path}: it is damaged, or of another run: {error}") from error


@contextmanager
def testing(network: nn.Module) -> Iterator[None]:
    """A network as it is used after training: in ``eval`` mode, without gradients."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def measure(
    task: Task, network: nn.Module, episodes: int, seed: int, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Test a network, without gradients, on so many episodes at a time; None: as many as the task says.

    Returns:
        ``(episodes,)`` values of each metric, by name, and of ``loss``, the mean of those tested together.

    Raises:
        ValueError: episodes is below 1, or a metric is not one value for each episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}: expected at least 1")
    batch_size = batch_size or task.tested_together
    generator = torch.Generator(next(network.parameters()).device).manual_seed(seed)
    values: dict[str, list[Tensor]] = {}
    with testing(network):
        for first in range(0, episodes, batch_size):
            count = min(batch_size, episodes - first)
            batch = task.sample(count, generator)
            prediction = task.run(network, batch)
            found = {"loss": task.loss(prediction, batch).expand(count), **task.metrics(prediction, batch)}
            for name, value in found.items():
                if value.shape != (count,):
                    raise ValueError(f"the task's metric {name} has shape {tuple(value.shape)}: expected ({count},)")
                values.setdefault(name, []).append(value.float().cpu())
    return {name: torch.cat(parts) for name, parts in values.items()}


def assess(task: Task, network: nn.Module, episodes: int, seed: int, batch_size: int | None = None) -> dict[str, float]:
    """Test a network as ``measure`` does; return the mean loss, and what the task's ``digest`` tells."""
    values = measure(task, network, episodes, seed, batch_size)
    return {"loss": values.pop("loss").double().mean().item(), **task.digest(values)}

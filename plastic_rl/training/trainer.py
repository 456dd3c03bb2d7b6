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
from torch import nn

from plastic_rl.checks import check_at_least
from plastic_rl.errors import DivergenceError, UserError
from plastic_rl.evaluation.networks import measure
from plastic_rl.files import DamagedFileError, read_torch, write_atomically
from plastic_rl.modules.ablation import plastic_layers
from plastic_rl.optim import gradient_step
from plastic_rl.runs.folder import NETWORK_CHECKPOINT, RunFolder
from plastic_rl.seeds import MOVED, VALIDATION
from plastic_rl.tasks import Task
from plastic_rl.training.session import Interruption, Progress

REPORTS = 40  # lines of progress in a training
RECENT = 20  # updates over which the value in a line of progress is averaged


class Trainer:
    """Adam on batches of a task's episodes.

    metrics.csv gets a row for every update, or for every ``log_every`` episodes. A task that has data for validation is
    validated every ``validate_every`` episodes. Then model.safetensors holds the weights that were best in validation,
    and the last weights otherwise.

    A run of N episodes that is resumed for N more ends with exactly the weights of one run of 2 N episodes, on the same
    device and with the same number of threads (on a GPU, up to rounding, where PyTorch's own operations do not repeat
    exactly). On another kind of device, a resumed run draws its episodes from another stream.

    Args:
        task: what is trained.
        network: from ``task.network``, or any that ``task.run`` can drive. It is trained in place, on its device.
        folder: run folder. What a trainer left there is continued after ``restore``.
        batch_size: episodes in an update.
        learning_rate: of Adam.
        decay_episodes: episodes over which the learning rate falls along a cosine to 0; 0: it stays.
        drop_every: episodes after which the learning rate falls to 2/3, again and again; 0: it stays.
        max_grad_norm: norm to which gradients are clipped; None: they are not.
        seed: of the episodes, and of PyTorch's own random numbers during training.
        checkpoint_every: seconds between checkpoints.
        log_every: episodes between rows of metrics.csv, which are means over the updates since the row before; 0: a
            row for every update. Updates that are left over when training ends get a row too, which is dropped when
            the run is resumed.
        validate_every: episodes between validations, for a task that has data for them; 0: none.
        validation_episodes: episodes in each validation, always the same ones.
        tensorboard: whether to write a TensorBoard log too, into the run folder.
        interruption: of a session, whose signals end training between two updates.

    Attributes:
        episodes: trained on so far.
        seconds: of training so far, including those before a stop.
        best: score, episodes and weights of the best validation so far, or None.
        last_validation: episodes and means of the last validation by this trainer, or None.
        headline: name of the value that is shown while training: the task's first measure, or the loss.

    Raises:
        ValueError: a number is out of bounds, or validation is asked for and the task has no data for it.

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
            check_at_least(name, value, least)
        self.task, self.network, self.run = task, network, RunFolder(folder)
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.decay_episodes, self.drop_every = decay_episodes, drop_every
        self.log_every = log_every
        self.validation = task.validation() if validate_every else None
        if validate_every and self.validation is None:
            raise ValueError(f"validate_every is {validate_every}: expected 0, since this task has no validation()")
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
        columns += ["eta"] if self._etas() else []
        columns += [f"validation_{name}" for name in ("loss", *task.measures)] if self.validation else []
        self.metrics = self.run.metrics(columns)

    @property
    def seconds(self) -> float:
        """Seconds of training, including those before a stop."""
        return self._before + (time.perf_counter() - self._began if self._began is not None else 0.0)

    def train(self, episodes: int) -> bool:
        """Train until ``episodes`` are done in all, rounded up to whole batches; return False if a signal came.

        Results that a shorter run left in the folder are removed.

        Raises:
            DivergenceError: the loss, the gradient or a weight is not finite; the last good checkpoint stays.
        """
        self.run.path.mkdir(parents=True, exist_ok=True)
        if not (self.run.path / NETWORK_CHECKPOINT).exists():
            self.save()
        self.run.clear_leftovers()
        self.metrics.keep_until(self._logged)
        self.run.drop_results()
        self._began = saved = time.perf_counter()
        recent: list[float] = []
        progress = Progress("episodes", episodes, self.episodes)
        with self._scalars() as write:
            reported, reported_at = self.episodes, self._began
            while self.episodes < episodes and not self.interruption.number:
                row = self._update()
                self._log(row, write)
                recent = [*recent[1 - RECENT :], row[self.headline]]
                now = time.perf_counter()
                if self.episodes * REPORTS // episodes > reported * REPORTS // episodes:
                    value = f"{sum(recent) / len(recent):.4g}"
                    rate = (self.episodes - reported) / (now - reported_at)
                    progress.report(self.episodes, self.headline, value, rate)
                    reported, reported_at = self.episodes, now
                if now - saved >= self.checkpoint_every:
                    self.save()
                    saved = time.perf_counter()
                progress.show(self.episodes)
            if self.episodes >= episodes and self._updates:  # for now only: a run that is resumed drops this row
                self._add_row({}, write)
        progress.close()
        self._before, self._began = self.seconds, None
        self.save()
        return self.episodes >= episodes

    def _update(self) -> dict[str, float]:
        """Make one step of Adam on one batch; return its row of metrics."""
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        episodes = self.task.sample(self.batch_size, self.generator)
        prediction = self.task.run(self.network, episodes)
        loss = self.task.loss(prediction, episodes)
        when = f"episode {self.episodes + self.batch_size}"
        norm = gradient_step(self.network, self.optimizer, loss, self.max_grad_norm, when)
        self.episodes += self.batch_size
        with torch.no_grad():
            metrics = self.task.metrics(prediction, episodes)
        if metrics.keys() != set(self.task.measures):
            given, named = ", ".join(metrics) or "nothing", ", ".join(self.task.measures) or "nothing"
            raise ValueError(f"the task's metrics() gives {given}: expected its measures, {named}")
        row = {"episodes": self.episodes, "seconds": self.seconds, "loss": loss.item()}
        row |= {name: value.float().mean().item() for name, value in metrics.items()}
        row |= {"gradient_norm": norm, "learning_rate": rate}
        etas = self._etas()
        return row | ({"eta": sum(etas) / len(etas)} if etas else {})

    def _etas(self) -> list[float]:
        """The learning rates of the traces, of the layers that have one."""
        return [layer.eta.item() for layer in plastic_layers(self.network) if layer.eta is not None]

    def _rate(self) -> float:
        """The learning rate of the next update."""
        rate = self.learning_rate
        if self.drop_every:
            rate *= (2 / 3) ** (self.episodes // self.drop_every)
        if self.decay_episodes:
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, self.episodes / self.decay_episodes)))
        return rate

    def _log(self, row: dict[str, float], write: Callable[[dict[str, float]], None]) -> None:
        """Add an update to the pending row of metrics.csv; validate and write the row when they are due."""

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
        """Write the pending row: means over its updates, and the results of validation."""
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
        """Validate, and keep the weights if they are the best so far; return the means by their columns."""
        assert self.validation is not None
        values = measure(self.validation, self.network, self.validation_episodes, VALIDATION)
        means = {name: value.double().mean().item() for name, value in values.items()}
        score = self.validation.score(means)
        score = -math.inf if math.isnan(score) else score  # never the best
        if self.best is None or score >= self.best["score"]:
            weights = copy.deepcopy(self.network.state_dict())
            self.best = {"score": score, "episodes": self.episodes, "network": weights}
        found = {f"validation_{name}": value for name, value in means.items()}
        self.last_validation = {"episodes": self.episodes, **found}
        return found

    def use_best(self) -> int:
        """Put the best weights into the network, and return after how many episodes they were kept.

        Without validation the best weights are the last. The last weights are validated first, if that was not due
        when training ended.
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
        """Yield a function that logs a row to TensorBoard, or does nothing if that is not wanted."""
        if not self.tensorboard:
            yield lambda row: None
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self.run), purge_step=self._logged + 1) as writer:

            def write(row: dict[str, float]) -> None:
                for name, value in row.items():
                    if name != "episodes":
                        writer.add_scalar(f"train/{name}", value, int(row["episodes"]))

            yield write

    def save(self) -> None:
        """Write a checkpoint, and the weights by themselves.

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
        write_atomically(self.run.path / NETWORK_CHECKPOINT, content.getvalue())
        self._write_model()

    def _write_model(self) -> None:
        kept = self.best or {"network": self.network.state_dict(), "episodes": self.episodes}
        self.run.write_model(kept["network"], "episodes", kept["episodes"])

    def restore(self) -> None:
        """Continue from the checkpoint in the folder.

        Raises:
            UserError: there is no checkpoint, or it is damaged or of another run.
        """
        path = self.run.path / NETWORK_CHECKPOINT
        try:
            kept = read_torch(path.read_bytes(), str(path))
            self.network.load_state_dict(kept["network"])
            self.optimizer.load_state_dict(kept["optimizer"])
            torch.set_rng_state(kept["random"])
            self.episodes, self._before = int(kept["episodes"]), float(kept["seconds"])
            # Checkpoints of earlier versions lack what is read with get.
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
            raise UserError(f"{self.run} has no {NETWORK_CHECKPOINT} to resume from") from error
        except DamagedFileError as error:
            raise UserError(f"cannot resume: {error}") from error
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"cannot resume from {path}: it is damaged, or of another run: {error}") from error

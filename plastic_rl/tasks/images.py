"""Completion of natural images from one half (paper, 4.3)."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from plastic_rl.checks import check_at_least
from plastic_rl.tasks.base import Task
from plastic_rl.tasks.completion import Completion, mean_where
from plastic_rl.tasks.episodes import CompletionEpisodes


class ImageCompletion(Completion):
    """Images are shown several times, and then one of them with its top or bottom half erased (paper, 4.3).

    The defaults are the paper's. The loss is the squared error, summed over all pixels; shown pixels are clamped, so
    only the erased half counts. The metrics are taken over the erased half of each image: ``squared_error``, the mean
    over its pixels, and ``correlation`` of output and truth.

    Args:
        images: ``(count, height, width)``, grey, within [-1, 1], the range of a neuron's output.
        held_out: images that are kept apart from training, as above; None: there are none.
        count: number of images in an episode, all different.
        presentation_steps: steps for which an image is shown.
        blank_steps: steps after each presentation in which nothing is shown and the network runs freely.
        cycles: number of cycles; each presents every image once.
        test_steps: steps for which a half image is shown.
        queries: number of half images at the end of a training episode, one after another. Tests have one.

    Raises:
        ValueError: a number is out of bounds, or the images are not as described above.

    Example:
        >>> import numpy, torch
        >>> task = ImageCompletion(numpy.random.default_rng(0).uniform(-1, 1, (9, 4, 4)))
        >>> task.sample(2, torch.Generator().manual_seed(0)).shown.shape
        torch.Size([210, 2, 16])
    """

    measures: ClassVar[tuple[str, ...]] = ("correlation", "squared_error")

    def __init__(
        self,
        images: np.ndarray,
        held_out: np.ndarray | None = None,
        count: int = 3,
        presentation_steps: int = 20,
        blank_steps: int = 3,
        cycles: int = 3,
        test_steps: int = 3,
        queries: int = 1,
    ) -> None:
        check_at_least("count", count, 1)
        for name, array in ({"images": images} | ({} if held_out is None else {"held_out": held_out})).items():
            _check(name, array, count)
        self.height, self.width = images.shape[1:]
        if held_out is not None and held_out.shape[1:] != images.shape[1:]:
            raise ValueError(f"held_out has images of {held_out.shape[1:]} pixels: expected {images.shape[1:]}")
        super().__init__(
            self.height * self.width, count, presentation_steps, blank_steps, cycles, test_steps, "clamp", queries
        )
        self.images = torch.as_tensor(images, dtype=torch.float32).flatten(1)
        self._held_out = held_out

    def _asking_once(self, images: np.ndarray | None = None) -> "ImageCompletion":
        """Return the task with one query, on other images or, by default, on the same."""
        if images is None:
            images = self.images.unflatten(1, (self.height, self.width)).numpy()
        return ImageCompletion(
            images, None, self.count, self.presentation_steps, self.blank_steps, self.cycles, self.test_steps
        )

    def held_out(self) -> "ImageCompletion":
        """Return the task with one query, on the images kept apart from training if there are any."""
        return self._asking_once(self._held_out)

    def tests(self) -> dict[str, Task[CompletionEpisodes]]:
        """Return the tasks with one query on the training images and on the held-out images."""
        fresh = self.held_out()
        return {"": fresh} if self._held_out is None else {"train": self._asking_once(), "heldout": fresh}

    def draw_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Choose different images for each episode."""
        # The indices of the largest random numbers are a sample without repetition.
        chances = torch.rand(count, len(self.images), generator=generator, device=generator.device)
        return self.images[chances.topk(self.count).indices.cpu()].to(generator.device)

    def draw_erased(self, count: int, generator: torch.Generator) -> Tensor:
        """Choose the top or the bottom half."""
        top = torch.randint(2, (count, 1), generator=generator, device=generator.device).bool()
        upper = torch.arange(self.size, device=generator.device) < self.height // 2 * self.width
        return upper == top

    def metrics(self, prediction: Tensor, episodes: CompletionEpisodes) -> dict[str, Tensor]:
        """Return ``squared_error`` and ``correlation`` over the erased half, averaged over an episode's queries."""
        where = episodes.erased
        apart = [x - mean_where(x, where).unsqueeze(-1) for x in (prediction, episodes.target)]
        (xx, xy), (_, yy) = ([mean_where(a * b, where) for b in apart] for a in apart)
        return {
            "squared_error": self.per_episode(mean_where((prediction - episodes.target).square(), where)),
            # The correlation of an image without contrast is not defined; it counts as 0.
            "correlation": self.per_episode(xy / (xx * yy).clamp_min(1e-12).sqrt()),
        }

    def draw(self, path: Path, prediction: Tensor, episodes: CompletionEpisodes) -> None:
        """Draw one row per episode: the images shown, the half image, the answer, the truth."""
        from plastic_rl.tasks.pictures import draw_images

        draw_images(path, prediction, episodes, (self.height, self.width))


def _check(name: str, images: np.ndarray, count: int) -> None:
    if images.ndim != 3 or images.shape[1] < 2 or images.shape[2] < 1:
        raise ValueError(f"{name} has shape {images.shape}: expected (count, height, width), at least 2 high")
    if len(images) < count:
        raise ValueError(f"{name} holds {len(images)} images: expected at least the {count} of an episode")
    if not np.isfinite(images).all() or np.abs(images).max() > 1:
        raise ValueError(f"{name} has values outside [-1, 1]: expected none, because no neuron can output them")

"""Acting: a recurrent core taken on one step at a time, without gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plastic_rl.modules.batching import check_shape


class Stepper(ABC):
    """Takes a core through a known number of steps.

    state: where the core stands after the steps done. outputs: ``(steps done, B, N)``.
    """

    state: Any
    outputs: Tensor

    @abstractmethod
    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        """Take input ``(B, input_size)`` one step on; return the output ``(B, N)``.

        episode_start: ``(B,)`` booleans; where true, the state is zero before the step.

        Raises:
            ValueError: if a shape does not fit.
            TypeError: if episode_start is not boolean.
        """

    @abstractmethod
    def replay(self, input: Tensor) -> Tensor:
        """Return the outputs of the steps done ``(T, B, N)`` differentiably, given their inputs once more.

        The core's weights are to be those that it stepped with, for else the outputs are new ones.
        """


def check_step(input: Tensor, episode_start: Tensor, batch_size: int, input_size: int) -> None:
    """Check what :meth:`Stepper.step` is given."""
    check_shape("input", input, (batch_size, input_size))
    check_shape("episode_start", episode_start, (batch_size,))
    if episode_start.dtype != torch.bool:
        raise TypeError(f"episode_start is {episode_start.dtype}: expected torch.bool")


class ModuleStepper(Stepper):
    """Steps any core by running it over sequences ``(1, B, input_size)``."""

    def __init__(self, run: Callable, state: Any, input_size: int) -> None:
        self._run, self.state, self._input_size = run, state, input_size
        self._first, self._starts, self._outputs = state, list[Tensor](), list[Tensor]()

    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        """See :class:`Stepper`."""
        check_step(input, episode_start, self.state.hidden.shape[0], self._input_size)
        with torch.no_grad():
            output, self.state = self._run(input[None], self.state, episode_start=episode_start[None])
        self._starts.append(episode_start.clone())
        self._outputs.append(output[0])
        return output[0]

    @property
    def outputs(self) -> Tensor:  # type: ignore[override]
        """See :class:`Stepper`."""
        return torch.stack(self._outputs)

    def replay(self, input: Tensor) -> Tensor:
        """See :class:`Stepper`."""
        return self._run(input, self._first, episode_start=torch.stack(self._starts))[0]

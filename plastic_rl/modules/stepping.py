"""Acting: a recurrent core taken on one step at a time, without gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Stepper(ABC):
    """Takes a core through a known number of steps; ``state`` is where it stands when they are done."""

    state: Any

    @abstractmethod
    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        """Take input ``(B, input_size)`` one step on; return the output ``(B, N)``.

        episode_start: ``(B,)`` booleans; where true, the state is zero before the step.
        """


class ModuleStepper(Stepper):
    """Steps any core by calling it on sequences of one step."""

    def __init__(self, run: Callable, state: Any) -> None:
        self._run, self.state = run, state

    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        """See :class:`Stepper`."""
        with torch.no_grad():
            output, self.state = self._run(input[None], self.state, episode_start=episode_start[None])
        return output[0]

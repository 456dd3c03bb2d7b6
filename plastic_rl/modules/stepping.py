"""Acting: a recurrent core runs one step at a time, without gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plastic_rl.checks import check_shape
from plastic_rl.modules.batching import check_episode_start, map_state


class Stepper(ABC):
    """Runs a core for a known number of steps.

    state: the core's state after the steps done so far. outputs: ``(steps done, B, N)``.
    """

    state: Any
    outputs: Tensor

    @abstractmethod
    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        """Take one step with input ``(B, input_size)``; return the output ``(B, N)``.

        episode_start: ``(B,)`` booleans; where true, the state is zero before the step.

        Raises:
            ValueError: a shape does not fit.
            TypeError: episode_start is not boolean.
        """

    @abstractmethod
    def replay(self, input: Tensor, which: Tensor | None = None) -> Tensor:
        """Return the outputs of the steps done, ``(T, B, N)``, with gradients, given the same inputs again.

        which: ``(b,)``, the episodes of the batch that the inputs ``(T, b, input_size)`` are of; None: all of them.

        If the core's weights have changed since it stepped, the outputs are those of the new weights.
        """


def check_step(input: Tensor, episode_start: Tensor, batch_size: int, input_size: int) -> None:
    """Check the arguments of :meth:`Stepper.step`."""
    check_shape("input", input, (batch_size, input_size))
    check_episode_start(episode_start, (batch_size,))


class ModuleStepper(Stepper):
    """Steps any core, by its own function for a step, or by running it over sequences ``(1, B, input_size)``."""

    def __init__(self, run: Callable, state: Any, input_size: int, cell: Callable | None = None) -> None:
        self._run, self.state, self._input_size, self._cell = run, state, input_size, cell
        self._first, self._starts, self._outputs = state, list[Tensor](), list[Tensor]()

    def step(self, input: Tensor, episode_start: Tensor) -> Tensor:
        """See :class:`Stepper`."""
        check_step(input, episode_start, self.state.hidden.shape[0], self._input_size)
        with torch.no_grad():
            if self._cell is None:
                outputs, self.state = self._run(input[None], self.state, episode_start=episode_start[None])
                output = outputs[0]
            else:
                output, self.state = self._cell(input, begun(self.state, episode_start))
        self._starts.append(episode_start.clone())
        self._outputs.append(output)
        return output

    @property
    def outputs(self) -> Tensor:  # type: ignore[override]
        """See :class:`Stepper`."""
        return torch.stack(self._outputs)

    def replay(self, input: Tensor, which: Tensor | None = None) -> Tensor:
        """See :class:`Stepper`."""
        first, starts = part_of(which, self._first, torch.stack(self._starts))
        return self._run(input, first, episode_start=starts)[0]


def begun(state: Any, episode_start: Tensor) -> Any:
    """Return a state with zeros where an episode begins, ``(B,)``."""
    if not episode_start.any():
        return state
    keep = ~episode_start.unsqueeze(-1)
    return map_state(lambda part: torch.where(keep, part, 0.0), state)


def part_of(which: Tensor | None, state: Any, episode_start: Tensor) -> tuple[Any, Tensor]:
    """Return the state ``(B, ...)`` and the starts ``(T, B)`` of some of the episodes of a batch; None: of all."""
    if which is None:
        return state, episode_start
    return map_state(lambda part: part[which], state), episode_start[:, which]

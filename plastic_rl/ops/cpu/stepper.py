"""Acting: a plastic network advanced one step at a time by the fused engine's kernels."""

from collections.abc import Callable

import numba
import torch
from torch import Tensor

from plastic_rl.ops.arguments import Arguments
from plastic_rl.ops.cpu.autograd import Solved, prepare, replayed, tensors_of
from plastic_rl.ops.cpu.blocks import ALONE, share_out
from plastic_rl.ops.cpu.kernels import Block
from plastic_rl.ops.cpu.threads import get_num_threads
from plastic_rl.rules import rule_of

SMALL = 1 << 20  # connections x episodes below which one step is not worth waking a second thread


class Stepper:
    """A sequence computed one step at a time, without gradients: an agent must act before it sees the next input.

    The trace is updated in place and read once per step. The results are those of ``autograd.sequence``, bit for bit.
    The steps keep what the backward pass needs, so that ``replay`` computes nothing again.
    """

    def __init__(self, a: Arguments) -> None:
        """Prepare for as many steps as the net inputs ``a.u`` have, which ``step`` fills in."""
        self._starts = torch.zeros(a.u.shape[:2], dtype=torch.bool, device=a.u.device)
        self._arguments = a._replace(episode_start=self._starts)
        self._problem = prepare(self._arguments, True)
        self._sequence = self._problem.sequence
        self._forward: Callable[..., int] | None = None  # the kernel, compiled for the types of its arguments
        self._versions = self._current_versions()
        self._u = a.u.detach().numpy()
        self._h = self._problem.pad_traces(a.state["trace"], a.state.get("eligibility"))
        batch, n = a.state["hidden"].shape
        self._threads = 1 if batch * n * n < SMALL else get_num_threads()
        self.steps_done = 0

    def step(self, u: Tensor, episode_start: Tensor) -> Tensor:
        """Take one step with net input ``(B, N)`` and booleans ``(B,)``; return the outputs ``(B, N)``."""
        p, t = self._problem, self.steps_done
        if t == p.plan.steps:
            raise IndexError(f"this stepper was made for {t} steps, and they are done")
        self._u[t] = u.detach().numpy()
        p.episode_start[t] = episode_start.numpy()

        def share(b0: int, b1: int) -> None:
            block = Block(b0, b1, p.plan.chunk, 0, p.plan.chunks)
            arguments = self._sequence, self._u, p.z, self._h, p.snapshots, p.plan.every, 2 * t, t + 1, block, ALONE
            if self._forward is None:  # found once, since looking up the types takes as long as a small step
                self._forward = p.kernels.forward.compile(tuple(map(numba.typeof, arguments)))
            self._forward(*arguments)

        share_out(share, p.plan.batch, self._threads)
        self.steps_done += 1
        return torch.from_numpy(p.x[t + 1, :, : p.plan.n])

    @property
    def outputs(self) -> Tensor:
        """Outputs of the steps done so far ``(T, B, N)``."""
        return self._problem.outputs[: self.steps_done]

    @property
    def episode_start(self) -> Tensor:
        """Where episodes began in the steps done so far ``(T, B)``."""
        return self._starts[: self.steps_done]

    def state(self) -> dict[str, Tensor]:
        """Return the state after the steps done so far, by name; copies, except the traces at the end."""
        p, a, t = self._problem, self._arguments, self.steps_done
        n = p.plan.n
        trace, eligibility = p.unpad_traces(self._h)
        traces = {"trace": trace} if eligibility is None else {"trace": trace, "eligibility": eligibility}
        if t == 0:
            traces = {name: part.clone() for name, part in traces.items()}
        elif t < p.plan.steps:  # the traces are one update behind: that of step t - 1 waits for step t's pass
            before = torch.from_numpy(p.x[t - 1, :, :n])
            before = torch.where(self._starts[t - 1, :, None], 0.0, before)
            rate = torch.from_numpy(p.rates[t - 1, :, None, :n]) if p.rates.size else float(p.law.eta)
            traces = rule_of(a.rule, a.retroactive, float(p.law.eta)).step(
                traces, before, torch.from_numpy(p.post[t, :, :n]), rate
            )
        state, cell = {"hidden": torch.from_numpy(p.x[t, :, :n].copy()), **traces}, p.cell(t)
        return state if cell is None else state | {"cell": cell}

    @property
    def can_replay(self) -> bool:
        """Whether all steps are done, and the weights and the first state are known to be unchanged."""
        same = self._versions == self._current_versions() and None not in self._versions
        return same and self.steps_done == self._problem.plan.steps

    def _current_versions(self) -> list[int | None]:
        """Count the in-place changes of each argument; None for inference tensors, which do not count them."""
        given = [tensor for tensor in tensors_of(self._arguments)[1:] if tensor is not None]
        return [None if tensor.is_inference() else tensor._version for tensor in given]

    def replay(self, u: Tensor) -> Tensor:
        """Return the outputs of all steps, differentiable in the arguments and in their net inputs ``u``."""
        return replayed(self._arguments._replace(u=u), Solved(self._problem, self._h))

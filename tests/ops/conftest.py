import math
from dataclasses import dataclass, field, replace

import pytest
import torch

from plastic_rl.ops import plastic_rnn
from plastic_rl.rules import Clip

ALPHA_SHAPES = {"connection": ("N", "N"), "neuron": (1, "N"), "shared": (1,)}


@dataclass
class Problem:
    """Arguments of plastic_rnn, and gradients of its three results; every number fits float32."""

    tensors: dict[str, torch.Tensor]
    upstream: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    options: dict = field(default_factory=dict)

    @classmethod
    def draw(
        cls, T, B, N, *, dtype=torch.float64, alpha="connection", eta=0.1, clamps=False, starts=False, seed=0,
        rule="hebb", bound=None, **options
    ):  # fmt: skip
        """Draw a problem; ``bound`` is that of the rule clip, and no matter to others."""
        options["rule"] = Clip(bound) if rule == "clip" and bound is not None else rule
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator).to(dtype)

        def happens(*shape, probability):
            return torch.rand(*shape, generator=generator) < probability

        scale = 0.5 / math.sqrt(N)  # neither dies nor explodes, with relu, in 63 steps
        alpha_shape = [N if size == "N" else size for size in ALPHA_SHAPES[alpha]]
        tensors = {
            "u": normal(T, B, N) * 0.5,
            "w": normal(N, N) * scale,
            "alpha": normal(*alpha_shape) * scale,
            "eta": torch.tensor(eta).to(dtype),
            "hidden": normal(B, N) * 0.5,
            "trace": normal(B, N, N) * 0.5,
        }
        if clamps:
            tensors["clamp"] = torch.where(happens(T, B, N, probability=0.3), normal(T, B, N), math.nan)
        if starts:
            options["episode_start"] = happens(T, B, probability=0.1)
            options["episode_start"][T // 2, B // 2] = True
        return cls(tensors, (normal(T, B, N), normal(B, N), normal(B, N, N)), options)

    def to(self, dtype, device="cpu") -> "Problem":
        options = {k: v.to(device) if torch.is_tensor(v) else v for k, v in self.options.items()}
        return replace(
            self,
            tensors={name: tensor.to(device, dtype) for name, tensor in self.tensors.items()},
            upstream=tuple(gradient.to(device, dtype) for gradient in self.upstream),
            options=options,
        )

    def run(self, engine="fused", **changes):
        outputs, state = plastic_rnn(**{**self.tensors, **self.options, "engine": engine, **changes})
        return outputs, state.hidden, state.trace

    def solve(self, engine="fused") -> dict[str, torch.Tensor]:
        """Return every result and every gradient, by name."""
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in self.tensors.items()}
        results = self.run(engine, **leaves)
        torch.autograd.backward(results, self.upstream)
        named = dict(zip(("outputs", "last hidden", "last trace"), results, strict=True))
        named |= {f"gradient of {name}": leaf.grad for name, leaf in leaves.items()}
        return {name: tensor.detach() for name, tensor in named.items()}


def assert_close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    """Compare results and gradients, each against its own largest entry.

    The gradient of eta is one sum over every step and connection, whose terms cancel for the most part.
    """
    assert actual.keys() == expected.keys()
    for name, want in expected.items():
        have = actual[name].to(want)  # dtype and device
        assert have.shape == want.shape, name
        error = (have - want).abs().max().item()
        scale = max(want.abs().max().item(), 1e-3) * (20 if name == "gradient of eta" else 1)
        assert error <= tolerance * scale, f"{name} is off by {error}"


@pytest.fixture(name="Problem")
def problem_class():
    return Problem


@pytest.fixture(name="assert_close")
def assert_close_function():
    return assert_close


@pytest.fixture
def two_threads():
    """Give PyTorch two threads, and what it had back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)

import math
from dataclasses import dataclass, field, replace

import pytest
import torch

from plastic_rl.ops import Modulation, plastic_lstm, plastic_rnn
from plastic_rl.rules import Clip

ALPHA_SHAPES = {"connection": ("N", "N"), "neuron": (1, "N"), "shared": (1,)}


@dataclass
class Problem:
    """Arguments of plastic_rnn or plastic_lstm, and gradients of its results; every number fits float32.

    ``tensors`` names those of a modulator with the prefix ``modulation_``.
    """

    tensors: dict[str, torch.Tensor]
    upstream: tuple[torch.Tensor, ...]
    options: dict = field(default_factory=dict)

    @classmethod
    def draw(
        cls, T, B, N, *, dtype=torch.float64, alpha="connection", eta=0.1, clamps=False, starts=False, seed=0,
        rule="hebb", bound=None, modulation=None, fan_out=True, given=False, lstm=False, modulator="tanh", **options
    ):  # fmt: skip
        """Draw a problem.

        Args:
            bound: that of the rule clip, and no matter to others.
            modulation: its kind, or None; with ``modulator`` as its nonlinearity.
            fan_out: whether the modulator has a gain and an offset of each neuron.
            given: whether the modulator's signal is given, and not computed.
            lstm: whether it is a problem of plastic_lstm.
        """
        options["rule"] = Clip(bound) if rule == "clip" and bound is not None else rule
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator).to(dtype)

        def happens(*shape, probability):
            return torch.rand(*shape, generator=generator) < probability

        scale = 0.5 / math.sqrt(N)  # neither dies nor explodes, with relu, in 63 steps
        alpha_shape = [N if size == "N" else size for size in ALPHA_SHAPES[alpha]]
        tensors = {
            "u": normal(T, B, 4 * N if lstm else N) * 0.5,
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
        upstream = [normal(T, B, N), normal(B, N), normal(B, N, N)]
        if lstm:
            tensors |= {"cell": normal(B, N) * 0.5, "gates": normal(N, 3 * N) * scale}
            upstream.insert(2, normal(B, N))
        if modulation:
            options |= {"kind": modulation, "modulator": modulator}
            tensors |= cls._modulator(T, B, N, normal, fan_out, given)
            if modulation == "retroactive":
                tensors["eligibility"] = normal(B, N, N) * 0.5
                upstream.append(normal(B, N, N))
        return cls(tensors, tuple(upstream), options)

    @staticmethod
    def _modulator(T, B, N, normal, fan_out, given):
        """Draw the tensors of a modulator whose rates are mostly small, so that traces stay bounded."""
        if given:
            tensors = {"signal": normal(T, B) * 0.1}
        else:
            tensors = {"weight": normal(N) / math.sqrt(N), "bias": normal(1)[0]}
        if fan_out:
            tensors |= {"gain": normal(N) * 0.2, "offset": normal(N) * 0.1}
        return {f"modulation_{name}": tensor for name, tensor in tensors.items()}

    def to(self, dtype, device="cpu") -> "Problem":
        options = {k: v.to(device) if torch.is_tensor(v) else v for k, v in self.options.items()}
        return replace(
            self,
            tensors={name: tensor.to(device, dtype) for name, tensor in self.tensors.items()},
            upstream=tuple(gradient.to(device, dtype) for gradient in self.upstream),
            options=options,
        )

    def run(self, engine="fused", **changes):
        arguments = {**self.tensors, **self.options, "engine": engine, **changes}
        kind, nonlinearity = (arguments.pop(name, None) for name in ("kind", "modulator"))
        if kind:
            names = [name for name in arguments if name.startswith("modulation_")]
            parts = {name.removeprefix("modulation_"): arguments.pop(name) for name in names}
            arguments["modulation"] = Modulation(kind=kind, nonlinearity=nonlinearity, **parts)
        outputs, state = (plastic_lstm if "gates" in arguments else plastic_rnn)(**arguments)
        return outputs, *state

    def solve(self, engine="fused") -> dict[str, torch.Tensor]:
        """Return every result and every gradient, by name."""
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in self.tensors.items()}
        results = self.run(engine, **leaves)
        torch.autograd.backward(results, self.upstream)
        state = [name for name in ("hidden", "cell", "trace", "eligibility") if name in leaves]
        named = dict(zip(("outputs", *(f"last {name}" for name in state)), results, strict=True))
        named |= {f"gradient of {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
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

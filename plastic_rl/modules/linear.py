"""A plastic layer between two populations of neurons."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plastic_rl.checks import check_choice, check_shape, whole_number
from plastic_rl.choices import Alpha
from plastic_rl.modules.connections import PlasticConnections, Plasticity
from plastic_rl.rules import Rule, RuleFunction, step_traces


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(-1)


def _identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": _softmax, "tanh": torch.tanh, "identity": _identity,
}  # fmt: skip


class PlasticLinear(PlasticConnections):
    r"""A layer whose connections from one population to another keep learning within an episode.

    Every connection has a fixed weight ``w`` and a plastic part ``alpha * trace``. The trace is zero when an episode
    begins, and changes at every step by the activity of its two neurons (Miconi et al. 2018, eq. 1 to 3, with inputs in
    place of the activity one step earlier): :math:`x_j(t) = f(\sum_i in_i(t) (w_{ij} + \alpha_{ij} H_{ij}(t)))`. A
    clamped output takes the given value instead, which is how a label is shown. As the last layer of a classifier, it
    learns new classes from a few labelled examples (paper, 4.4). There is no bias.

    Args:
        in_features: number of input neurons.
        out_features: number of output neurons.
        rule: ``"hebb"``, ``"oja"``, ``"clip"``, ``"soft_clip"``, or a function like those in ``plastic_rl.rules``.
        alpha: plasticity coefficients: one per ``"connection"`` (in, out), one per output ``"neuron"`` (1, out), or
            one ``"shared"`` by all connections (1,).
        activation: ``"softmax"``, ``"tanh"`` or ``"identity"``, for the outputs that are not clamped.
        eta: initial learning rate of the trace.
        learn_eta: whether eta is a parameter; otherwise it is a buffer.
        bound: the ``clip`` rule keeps the trace within [-bound, bound].

    Shape:
        - input: ``(T, B, in_features)``.
        - trace: ``(B, in_features, out_features)``; None: zeros, the start of an episode.
        - clamp: ``(T, B, out_features)`` of any dtype, NaN where an output is free.
        - returns: the outputs ``(T, B, out_features)``, and the trace after the last step.

    Raises:
        ValueError: an unknown rule, alpha or activation, no neurons, a negative bound, or a wrong shape.

    Example:
        >>> import torch
        >>> from plastic_rl import PlasticLinear
        >>> layer = PlasticLinear(64, 5)
        >>> features, labels = torch.randn(5, 32, 64), torch.eye(5)[:, None].expand(5, 32, 5)
        >>> _, trace = layer(features, clamp=labels)
        >>> layer.net_input(torch.randn(3, 32, 64), trace).shape  # three queries of each episode
        torch.Size([3, 32, 5])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rule: str | Rule | RuleFunction = "oja",
        alpha: Alpha = "connection",
        activation: str = "softmax",
        eta: float = 0.1,
        learn_eta: bool = True,
        bound: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_features = whole_number("in_features", in_features, 1)
        out_features = whole_number("out_features", out_features, 1)
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(in_features, out_features, Plasticity(rule, alpha, eta, learn_eta, bound), options)
        check_choice("activation", activation, ACTIVATIONS)
        self.in_features, self.out_features, self.activation = in_features, out_features, activation
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, uniform in +-1/sqrt(in_features) as in ``torch.nn.Linear``; eta stays as it is.

        All of alpha is 1/sqrt(in_features). It is above zero, so that an untrained layer excites those outputs that
        were active together with similar inputs.
        """
        nn.init.uniform_(self.w, -self.initial_bound, self.initial_bound)
        nn.init.constant_(self.alpha, self.initial_bound)

    def initial_trace(self, batch_size: int) -> Tensor:
        """Return the trace at the start of an episode: zeros, ``(B, in_features, out_features)``."""
        return self.w.new_zeros(batch_size, self.in_features, self.out_features)

    def net_input(self, input: Tensor, trace: Tensor) -> Tensor:
        """Return the net input of the outputs, before the activation, without changing the trace.

        This answers several queries independently from one trace; with ``"softmax"`` these are the logits.

        Args:
            input: ``(Q, B, in_features)``, Q queries of each episode.
            trace: ``(B, in_features, out_features)``.

        Returns:
            ``(Q, B, out_features)``.
        """
        check_shape("input", input, (*input.shape[:1], *trace.shape[:1], self.in_features))
        check_shape("trace", trace, (*trace.shape[:1], self.in_features, self.out_features))
        return torch.einsum("qbi,bio->qbo", input, self.w + self.alpha * trace)

    def forward(
        self, input: Tensor, trace: Tensor | None = None, *, clamp: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence and change the trace at every step; see the class."""
        if input.ndim != 3 or input.shape[-1] != self.in_features:
            raise ValueError(f"input has shape {tuple(input.shape)}: expected (T, B, {self.in_features})")
        steps, batch = input.shape[:2]
        if trace is None:
            trace = self.initial_trace(batch)
        check_shape("trace", trace, (batch, self.in_features, self.out_features))
        free = None
        some_free = [True] * steps
        if clamp is not None:
            check_shape("clamp", clamp, (steps, batch, self.out_features))
            clamp = clamp.to(trace.dtype)
            free = clamp.isnan()
            some_free = free.flatten(1).any(1).tolist()
        rule = self.trace_rule
        outputs = []
        for t in range(steps):
            if clamp is not None and not some_free[t]:
                output = clamp[t]  # no output is free, so there is nothing to compute
            else:
                output = ACTIVATIONS[self.activation](self.net_input(input[t : t + 1], trace)[0])
                if clamp is not None and free is not None:
                    output = torch.where(free[t], output, clamp[t])
            outputs.append(output)
            trace = step_traces(rule, {"trace": trace}, input[t], output, self.eta)["trace"]
        return torch.stack(outputs) if outputs else input.new_zeros(0, batch, self.out_features), trace

    def extra_repr(self) -> str:
        """Describe the layer in its ``repr``."""
        return f"{self.in_features}, {self.out_features}, activation={self.activation}, {super().extra_repr()}"

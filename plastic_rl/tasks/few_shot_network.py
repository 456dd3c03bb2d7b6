"""The network of few-shot classification, and its settings (paper, 4.4)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plastic_rl.checks import check_at_least, check_choice
from plastic_rl.choices import NONLINEARITIES, OUTPUT_LAYERS, ROTATIONS, Nonlinearity, Rotation
from plastic_rl.modules import PlasticLinear
from plastic_rl.modules.cores import CoreSettings

LAYERS = 4
LEAST_SIZE = 2 ** (LAYERS + 1) - 1  # pixels a side of the smallest image; the last convolution outputs one pixel of it


@dataclass(frozen=True)
class FewShotSettings:
    """Settings of few-shot classification; the defaults are the paper's (4.4).

    Attributes:
        way: number of classes in an episode.
        shot: number of different drawings of each class in the support set.
        presentations: how often each drawing is shown with its label.
        queries: number of queries in an episode, spread evenly over its classes.
        training_way: number of classes in a training episode, which has proportionally more queries. Each class has its
            own output; tests use the first outputs. None: as in tests.
        rotation: ``"episode"`` rotates every class by a multiple of 90 degrees, drawn for each episode;
            ``"training"`` does so only in training; ``"class"`` treats rotated characters as classes of their own.
        distortion: standard deviation of the entries of the random affine map that distorts training drawings. 0: no
            distortion.
        width: number of features of each convolution.
        activation: ``"tanh"`` or ``"relu"``.
        batch_norm: whether there is batch normalization before each activation. Tests use the means and variances that
            training tracked, so that episodes are independent of each other.
        unit_features: whether an image's features are taken before the last activation and scaled to a mean square of
            1, so that images are compared only by the angle between their features.

    Raises:
        ValueError: a setting is unknown or out of bounds.
    """

    way: int = 5
    shot: int = 1
    presentations: int = 1
    queries: int = 1
    training_way: int | None = None
    rotation: Rotation = "episode"
    distortion: float = 0.0
    width: int = 64
    activation: Nonlinearity = "tanh"
    batch_norm: bool = False
    unit_features: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_at_least("way", self.way, 2)
        for name in ("shot", "presentations", "queries", "width"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("training_way", self.outputs, self.way)
        check_at_least("distortion", self.distortion, 0)
        check_choice("rotation", self.rotation, ROTATIONS)
        check_choice("activation", self.activation, NONLINEARITIES)

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return self.way if self.training_way is None else self.training_way


class FewShotNetwork(nn.Module):
    """Convolutions that embed each image by itself, and an output layer that learns the classes of the episode.

    There are four convolutions of 3 x 3 with stride 2. While an image is shown, its label clamps the outputs.

    Args:
        core: ``"plastic"``, a :class:`plastic_rl.PlasticLinear` with its rule, alpha and eta; or ``"fixed"``, the
            control: the same layer without plasticity, which cannot learn the classes of an episode.
        settings: settings of the convolutions, and the number of outputs.
        size: pixels a side of the images.

    Shape:
        - called with support, label, query and order as in :class:`FewShotEpisodes`; without an order, each support
          image is shown once, in the given order.
        - returns: logits ``(B, Q, outputs)``. The caller leaves out the logits of classes that were not shown.

    Raises:
        ValueError: another core, settings that its layer has no use for, or images that are too small; when called,
            images of another type or size, or labels without an output.
    """

    def __init__(self, core: CoreSettings, settings: FewShotSettings, size: int) -> None:
        super().__init__()
        if size < LEAST_SIZE:
            raise ValueError(f"image_size is {size}: expected at least {LEAST_SIZE}, for {LAYERS} convolutions")
        if core.core not in OUTPUT_LAYERS:
            raise ValueError(
                f"a core {core.core} cannot classify characters: expected one of {', '.join(OUTPUT_LAYERS)}"
            )
        if core.hidden_size is not None or core.init_alpha or core.modulation:
            raise ValueError("an output layer has no use for hidden_size, init_alpha and modulation: leave them out")
        self.settings, self.size = settings, size
        layers: list[nn.Module] = []
        features = 1
        for layer in range(LAYERS):
            layers.append(nn.Conv2d(features, settings.width, 3, stride=2, bias=not settings.batch_norm))
            if settings.batch_norm:
                layers.append(nn.BatchNorm2d(settings.width))
            bare = settings.unit_features and layer == LAYERS - 1
            layers.append(nn.Identity() if bare else nn.ReLU() if settings.activation == "relu" else nn.Tanh())
            features, size = settings.width, (size - 3) // 2 + 1
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.output = _output_layer(core, features * size * size, settings.outputs)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features of images ``(..., size, size)``: ``(..., features)``."""
        flat = images.flatten(0, -3).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        features = self.convolutions(flat)
        if self.settings.unit_features:
            features = F.normalize(features, dim=-1) * math.sqrt(features.shape[-1])
        return features.unflatten(0, images.shape[:-2])

    def forward(self, support: Tensor, label: Tensor, query: Tensor, order: Tensor | None = None) -> Tensor:
        """See the class. All images are embedded in one call."""
        for name, images in (("support", support), ("query", query)):
            if images.ndim != 4 or images.shape[2:] != (self.size, self.size) or not images.is_floating_point():
                given, expected = f"{images.dtype} {tuple(images.shape)}", ("count", "episodes", self.size, self.size)
                raise ValueError(f"{name} is {given}: expected floating point {expected}, ink 1 and paper 0")
        features = self.embed(torch.cat([support, query]))
        shown, asked = features[: len(support)], features[len(support) :]
        if isinstance(self.output, nn.Linear):
            return self.output(asked).transpose(0, 1)
        if order is not None:
            shown = shown.gather(0, order.unsqueeze(-1).expand(-1, -1, shown.shape[-1]))
            label = label.gather(0, order)
        outputs = self.output.out_features
        # Only on the CPU: a GPU would have to wait for the result.
        if label.device.type == "cpu" and not ((label >= 0) & (label < outputs)).all():
            raise ValueError(f"labels are from {label.min()} to {label.max()}: expected from 0 to {outputs - 1}")
        clamp = F.one_hot(label, outputs).to(shown.dtype)
        _, trace = self.output(shown, clamp=clamp)
        return self.output.net_input(asked, trace).transpose(0, 1)


def _output_layer(core: CoreSettings, features: int, outputs: int) -> PlasticLinear | nn.Linear:
    """Return a new output layer, plastic or fixed."""
    if core.core == "fixed":
        return nn.Linear(features, outputs, bias=False)
    assert core.rule is not None
    layer = PlasticLinear(
        features, outputs, rule=core.rule, alpha=core.alpha, eta=core.eta, learn_eta=core.learn_eta, bound=core.bound
    )
    # An output stands for another class in every episode, so that fixed weights carry no information: they begin small.
    nn.init.normal_(layer.w, std=0.01 if core.init_scale is None else core.init_scale)
    return layer

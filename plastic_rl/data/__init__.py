"""Datasets: found or downloaded, verified, and read without trusting their content."""

from plastic_rl.data.characters import Characters, SplitCharacters, split_characters
from plastic_rl.data.glyphs import glyph_characters
from plastic_rl.data.images import cifar10_images, synthetic_images
from plastic_rl.data.omniglot import omniglot_characters

__all__ = [
    "Characters",
    "SplitCharacters",
    "cifar10_images",
    "glyph_characters",
    "omniglot_characters",
    "split_characters",
    "synthetic_images",
]

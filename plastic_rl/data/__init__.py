"""Datasets: found or downloaded, verified, and read without trusting what is in them."""

from plastic_rl.data.images import cifar10_images, synthetic_images

__all__ = ["cifar10_images", "synthetic_images"]

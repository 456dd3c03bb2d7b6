"""Drawings of characters in memory, and their split into characters for training, validation and tests."""

from dataclasses import dataclass

import numpy as np

from plastic_rl.checks import check_choice
from plastic_rl.choices import SPLITS, Split

VALIDATION = 60  # characters for validation, where a split names none
TESTED = 100  # characters for tests in the paper's split
# The split of Vinyals et al. (2016) that the field uses: the last 423 of all characters in order are for tests, and the
# others of five alphabets are for validation.
VINYALS_TESTED = 423
VINYALS_VALIDATION = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
OMNIGLOT = 1623  # characters


@dataclass(frozen=True)
class Characters:
    """Drawings of characters.

    Attributes:
        images: ``(characters, drawings, size, size)`` uint8, ink 255, paper 0.
        names: ``(characters,)``, sorted, each ``part/alphabet/character``.

    Raises:
        ValueError: the arrays are not as described.
    """

    images: np.ndarray
    names: np.ndarray

    def __post_init__(self) -> None:
        """Check that the arrays fit each other."""
        images, count = self.images, len(self.names)
        fits = images.ndim == 4 and len(images) == count and images.shape[2] == images.shape[3]
        if not fits or images.dtype != np.uint8 or self.names.dtype.kind != "U":
            expected = f"uint8 ({count}, drawings, size, size) and as many names"
            raise ValueError(f"images are {images.dtype} {images.shape}: expected {expected}")

    @property
    def alphabets(self) -> np.ndarray:
        """The index of each character's alphabet, ``(characters,)``."""
        return np.unique([name.rpartition("/")[0] for name in self.names], return_inverse=True)[1]

    def chosen(self, which: np.ndarray) -> "Characters":
        """Return some of the characters, by their indices."""
        return Characters(self.images[which], self.names[which])


@dataclass(frozen=True)
class SplitCharacters:
    """Characters for training, for validation, and for tests; no character is in two parts."""

    training: Characters
    validation: Characters
    test: Characters


def split_characters(characters: Characters, split: Split, seed: int = 0) -> SplitCharacters:
    """Split characters into those for training, validation and tests.

    Args:
        characters: all characters.
        split: ``"paper"``: 100 random characters are for tests, the others (1,523 of Omniglot) for training (paper,
            4.4). ``"lake"``: the alphabets of the background set are for training, those of the evaluation set for
            tests (Lake et al., 2015). ``"vinyals"``: 1,028 are for training, 172 for validation, 423 for tests,
            by the list of Vinyals et al. (2016) that the field uses. ``"glyphs"``: a random fifth is for tests, a
            random tenth for validation. Where a split names no characters for validation, 60 random characters of
            those for training are set aside for it.
        seed: seed of all random choices.

    Raises:
        ValueError: the split is unknown or does not fit these characters.
    """
    check_choice("split", split, SPLITS)
    count, generator = len(characters.names), np.random.default_rng(seed)
    parts = np.array([name.partition("/")[::2] for name in characters.names])
    if split == "vinyals":
        if count != OMNIGLOT:
            raise ValueError(f"the split vinyals is of all {OMNIGLOT} characters of Omniglot: there are {count}")
        tested = np.arange(count) >= count - VINYALS_TESTED
        validated = np.isin([rest.partition("/")[0] for rest in parts[:, 1]], VINYALS_VALIDATION)
        return SplitCharacters(
            *(characters.chosen(np.flatnonzero(w)) for w in (~(tested | validated), validated, tested))
        )
    if split == "lake":
        test = np.flatnonzero(parts[:, 0] == "images_evaluation")
        rest = generator.permutation(np.flatnonzero(parts[:, 0] == "images_background"))
        held = VALIDATION
    else:
        order = generator.permutation(count)
        tests, held = (count // 5, count // 10) if split == "glyphs" else (TESTED, VALIDATION)
        test, rest = order[:tests], order[tests:]
    if len(rest) <= held or not len(test):
        raise ValueError(f"the split {split} sets {held} characters aside: there are {len(rest)} to train on")
    return SplitCharacters(*(characters.chosen(np.sort(w)) for w in (rest[held:], rest[:held], test)))

"""Splits of characters: sizes, nothing in two parts, what is drawn at random; and the stand-in for Omniglot."""

import itertools
import re

import numpy as np
import pytest

from plastic_rl.data import Characters, glyph_characters, split_characters
from plastic_rl.data.glyphs import _characters

PARTS = ("training", "validation", "test")
# Alphabets of the background and of the evaluation set, and how many characters each has.
BACKGROUND = {
    "Alphabet_of_the_Magi": 20, "Anglo-Saxon_Futhorc": 29, "Arcadian": 26, "Armenian": 41,
    "Asomtavruli_(Georgian)": 40, "Balinese": 24, "Bengali": 46, "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14,
    "Braille": 26, "Burmese_(Myanmar)": 34, "Cyrillic": 33, "Early_Aramaic": 22, "Futurama": 26, "Grantha": 43,
    "Greek": 24, "Gujarati": 48, "Hebrew": 22, "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
    "Japanese_(hiragana)": 52, "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26, "Malay_(Jawi_-_Arabic)": 40,
    "Mkhedruli_(Georgian)": 41, "N_Ko": 33, "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit": 42,
    "Syriac_(Estrangelo)": 23, "Tagalog": 17, "Tifinagh": 55,
}  # fmt: skip
EVALUATION = {
    "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26, "Ge_ez": 26,
    "Glagolitic": 45, "Gurmukhi": 45, "Kannada": 41, "Keble": 26, "Malayalam": 47, "Manipuri": 40, "Mongolian": 30,
    "Old_Church_Slavonic_(Cyrillic)": 45, "Oriya": 46, "Sylheti": 28, "Syriac_(Serto)": 23, "Tengwar": 25,
    "Tibetan": 42, "ULOG": 26,
}  # fmt: skip


@pytest.fixture(scope="module")
def omniglot():
    """All names of Omniglot, with drawings of one pixel that tell which character they are of."""
    names = sorted(
        f"images_{part}/{alphabet}/character{number:02}"
        for part, alphabets in (("background", BACKGROUND), ("evaluation", EVALUATION))
        for alphabet, count in alphabets.items()
        for number in range(1, count + 1)
    )
    numbers = np.arange(len(names))
    images = np.stack([numbers // 256, numbers % 256], 1).astype(np.uint8)
    return Characters(images[:, :, None, None], np.array(names))


def names_of(split):
    return [set(getattr(split, part).names) for part in PARTS]


@pytest.mark.parametrize(
    ("split", "sizes"), [("paper", (1463, 60, 100)), ("lake", (904, 60, 659)), ("vinyals", (1028, 172, 423))]
)
def test_no_character_is_in_two_parts_and_all_are_in_one(omniglot, split, sizes):
    found = split_characters(omniglot, split, seed=3)
    names = names_of(found)
    assert tuple(map(len, names)) == sizes
    assert not any(a & b for a, b in itertools.combinations(names, 2))
    assert set.union(*names) == set(omniglot.names)
    for part in PARTS:  # drawings go with their names
        characters = getattr(found, part)
        numbers = characters.images[:, 0, 0, 0].astype(int) * 256 + characters.images[:, 1, 0, 0].astype(int)
        assert (omniglot.names[numbers] == characters.names).all()


def test_paper_split_is_drawn_by_the_seed(omniglot):
    first, again, other = (names_of(split_characters(omniglot, "paper", seed)) for seed in (1, 1, 2))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_lake_split_is_by_alphabets(omniglot):
    training, validation, test = names_of(split_characters(omniglot, "lake"))
    assert {name.split("/")[1] for name in test} == set(EVALUATION)
    assert {name.split("/")[1] for name in training | validation} <= set(BACKGROUND)


def test_vinyals_split_is_the_field_s_list(omniglot):
    found = split_characters(omniglot, "vinyals")
    alphabets = {part: {name.split("/")[1] for name in getattr(found, part).names} for part in PARTS}
    assert alphabets["validation"] == {"Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"}
    assert alphabets["test"] == set(sorted(EVALUATION)[7:])
    assert [name for name in found.test.names if "Gurmukhi" in name] == [
        f"images_evaluation/Gurmukhi/character{number}" for number in (42, 43, 44, 45)
    ]
    assert "images_evaluation/Gurmukhi/character41" in set(found.training.names)


def few(count, part="images_background"):
    names = np.array([f"{part}/A/character{k:02}" for k in range(count)])
    return Characters(np.zeros((count, 2, 1, 1), np.uint8), names)


@pytest.mark.parametrize(
    ("characters", "split", "says"),
    [
        (few(50), "vinyals", "of all 1623 characters of Omniglot: there are 50"),
        (few(150), "paper", "sets 60 characters aside: there are 50 to train on"),
        (few(90), "lake", "sets 60 characters aside"),  # none to test on
        (few(1), "glyphs", "sets 0 characters aside"),
        (few(9), "nonsense", "unknown split 'nonsense': expected one of paper, lake, vinyals, glyphs"),
    ],
)
def test_a_split_that_cannot_be(characters, split, says):
    with pytest.raises(ValueError, match=says):
        split_characters(characters, split)


def test_characters_may_have_any_names():
    images = np.zeros((200, 1, 1, 1), np.uint8)
    characters = Characters(images, np.array([f"{k}" if k % 2 else f"a/{k}" for k in range(200)]))
    parts = split_characters(characters, "paper")
    assert [len(part.names) for part in (parts.training, parts.validation, parts.test)] == [40, 60, 100]


def test_alphabets_of_the_same_name_in_two_parts_differ():
    characters = Characters(np.zeros((3, 1, 1, 1), np.uint8), np.array(["a/X/1", "a/X/2", "b/X/1"]))
    assert characters.alphabets.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3, 4, 5), np.uint8), np.zeros((2, 3, 4, 4)), np.zeros((1, 3, 4, 4), np.uint8),
        np.zeros((2, 4, 4), np.uint8),
    ],
)  # fmt: skip
def test_arrays_that_are_no_characters(images):
    with pytest.raises(ValueError, match="images are"):
        Characters(images, np.array(["a/b/1", "a/b/2"]))


@pytest.fixture(scope="module")
def glyphs():
    return glyph_characters(31, 20)


def test_glyphs_are_of_many_scripts(glyphs):
    assert glyphs.images.shape[1:] == (20, 31, 31)
    assert len(glyphs.names) > 300
    assert len(np.unique(glyphs.alphabets)) == 11
    assert all(re.fullmatch(r"glyphs/[A-Za-z_]+/U\+[0-9A-F]{5}", name) for name in glyphs.names)
    assert list(glyphs.names) == sorted(set(glyphs.names))


def test_glyphs_have_ink_within_their_margins(glyphs):
    ink = glyphs.images / 255
    assert ink.max() == 1
    shares = ink.mean((2, 3))
    assert 0.005 < shares.min() < shares.max() < 0.6
    assert ink[:, :, [0, -1]].mean() < 0.01 * ink.mean()


def test_no_two_glyphs_are_the_same_and_drawings_of_one_are_alike(glyphs):
    flat = glyphs.images.reshape(len(glyphs.names), 20, -1).astype(float)
    assert len({drawing.tobytes() for drawing in glyphs.images.reshape(-1, 31, 31)}) == flat.shape[0] * 20
    flat -= flat.mean(2, keepdims=True)
    flat /= np.linalg.norm(flat, axis=2, keepdims=True)
    within = np.einsum("cdp,cep->cde", flat[:, :5], flat[:, 5:10]).mean()
    between = np.einsum("cdp,bdp->cb", flat[:, :5], flat[:, :5])[~np.eye(len(flat), dtype=bool)].mean() / 5
    assert within > between + 0.2


def test_glyphs_are_repeatable():
    first = glyph_characters(15, 2)
    kept = first.images.copy()
    first.images[:] = 0  # the caller's own
    assert np.array_equal(glyph_characters(15, 2).images, kept)
    _characters.cache_clear()
    assert np.array_equal(glyph_characters(15, 2).images, kept)
    for name in ("size", "drawings"):
        with pytest.raises(ValueError, match="is 0: expected at least 1"):
            glyph_characters(**{name: 0})

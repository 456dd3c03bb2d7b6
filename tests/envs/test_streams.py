import numpy as np

from plastic_rl.envs.streams import below, draw, keys_from_range, keys_from_seeds


def splitmix64(state):
    """The generator as published, on Python's whole numbers."""
    word = 2**64
    while True:
        state = (state + 0x9E3779B97F4A7C15) % word
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % word
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % word
        yield z ^ (z >> 31)


def test_draws_are_splitmix64():
    for key in (0, 1, 2**64 - 1, 1234567):
        generator = splitmix64(key)
        expected = [next(generator) for _ in range(20)]
        keys = np.full(20, key, dtype=np.uint64)
        assert draw(keys, np.arange(20)).tolist() == expected
        assert draw(keys[:1], 7).tolist() == expected[7:8]


def test_published_values():
    """Reference output for the seed 1234567, as circulated with the algorithm."""
    assert draw(np.array([1234567], dtype=np.uint64), 0).tolist() == [6457827717110365317]


def test_seeds_name_streams():
    seeds = [3, 4, 5, 2**64 + 3]
    assert keys_from_seeds(seeds)[:3].tolist() == keys_from_range(3, 3).tolist()
    assert keys_from_seeds(seeds)[3] == keys_from_seeds([3])[0]
    # Counting on past the largest word.
    assert keys_from_range(2**64 - 1, 2).tolist() == keys_from_seeds([2**64 - 1, 0]).tolist()
    assert len(np.unique(keys_from_range(0, 10_000))) == 10_000


def test_below_is_uniform_and_in_range():
    keys = keys_from_range(0, 100_000)
    for bound in (1, 2, 7, 64):
        values = below(draw(keys, 5), bound)
        counts = np.bincount(values, minlength=bound)
        assert len(counts) == bound
        expected = len(keys) / bound
        # Mean bound - 1; five standard deviations above it.
        assert ((counts - expected) ** 2 / expected).sum() < bound + 5 * np.sqrt(2 * bound)


def test_draws_of_neighbouring_streams_are_unrelated():
    bits = draw(keys_from_range(0, 4000)[:, None], np.arange(8))
    values = (bits >> np.uint64(40)).astype(float) / 2**24
    correlations = np.corrcoef(np.concatenate([values[:-1], values[1:]], axis=1).T)
    assert np.abs(correlations - np.eye(16)).max() < 5 / np.sqrt(4000)

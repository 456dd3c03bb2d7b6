"""What happens in lifetimes of the cue tasks, drawn for many of them at once before they begin.

No action changes what comes next, so that a lifetime can be drawn as a whole: its cues, and a table of its steps.
"""

from typing import NamedTuple

import numpy as np

from plastic_rl.envs.base import Bools, Ints, Observations
from plastic_rl.envs.cues.config import AnyCueConfig, CueActionConfig, CueConfig, CueRewardConfig
from plastic_rl.envs.streams import Keys, below, draw

# The streams that a lifetime's random stream is split into.
_CUES, _HIDDEN, _BLANKS, _PRESENT, _CHOICE, _ORDER = range(6)
_LAST = np.uint64(2**64 - 1)  # sorts behind every draw, but for one in 2**64


class Lifetimes(NamedTuple):
    """Lifetimes of E environments with S steps, and a blank step after the last.

    Attributes:
        codes: the cues, ``(E, cues + 1, bits)``; the last row is blank, all zeros.
        hidden: what must be learned: the number of the target cue ``(E, 1)``, or each cue's action ``(E, cues)``.
        cue: number of the cue shown at each step, -1 for none, ``(E, S + 1)``.
        go: whether the action at each step counts, ``(E, S + 1)``.
        trial: number of the trial that each step belongs to, from 0, ``(E, S + 1)``.
        right: the right action of that trial, ``(E, S + 1)``.
    """

    codes: Observations
    hidden: Ints
    cue: Ints
    go: Bools
    trial: Ints
    right: Ints


def draw_lifetimes(config: AnyCueConfig, lives: Keys) -> Lifetimes:
    """Draw lifetimes from their random streams, shape (E,)."""
    codes = draw_codes(config, draw(lives, _CUES))
    if isinstance(config, CueRewardConfig):
        return _cue_reward(config, lives, codes)
    return _cue_action(config, lives, codes)


def draw_codes(config: CueConfig, keys: Keys) -> Observations:
    """Draw different cues for each stream, all sets of them equally likely; see ``Lifetimes.codes``."""
    codes = np.zeros((len(keys), config.cues + 1, config.bits), dtype=np.float32)
    if config.code == "one-hot":
        codes[:, : config.cues] = np.eye(config.cues, config.bits)
        return codes
    drawn = np.zeros((len(keys), 0), dtype=np.int64)
    for number in range(config.cues):
        # The whole numbers that are not drawn yet, counted upwards.
        new = below(draw(keys, number), 2**config.bits - number)
        for earlier in np.sort(drawn, axis=1).T:
            new += new >= earlier
        drawn = np.concatenate([drawn, new[:, None]], axis=1)
    codes[:, : config.cues] = 2 * (drawn[..., None] >> np.arange(config.bits) & 1) - 1
    return codes


def _cue_reward(config: CueRewardConfig, lives: Keys, codes: Observations) -> Lifetimes:
    """Trials of ``shown`` cues, in half of which the target is among them."""
    count, width = config.most_trials, config.shown + config.blanks
    trials = np.arange(count)
    target = below(draw(draw(lives, _HIDDEN), 0), config.cues)
    blanks = below(draw(draw(lives, _BLANKS)[:, None], trials), config.blanks + 1)
    present = below(draw(draw(lives, _PRESENT)[:, None], trials), 2)
    # The cues with the lowest draws are shown: the target's is lower or higher than all others.
    ranks = draw(draw(lives, _CHOICE)[:, None, None], trials[:, None] * config.cues + np.arange(config.cues))
    ranks[np.arange(len(lives))[:, None], trials, target[:, None]] = np.where(present, np.uint64(0), _LAST)
    chosen = ranks.argsort(axis=-1)[..., : config.shown]
    # Each goes to one of the first places, as many as there are cues and blanks, in random order.
    ranks = draw(draw(lives, _ORDER)[:, None, None], trials[:, None] * width + np.arange(width))
    ranks[np.arange(width) >= config.shown + blanks[..., None]] = _LAST
    places = ranks.argsort(axis=-1)[..., : config.shown]

    lengths = config.shortest_trial + blanks
    starts = lengths.cumsum(axis=1) - lengths
    rows = np.arange(len(lives))[:, None]
    cue = np.full((len(lives), count * (config.shortest_trial + config.blanks)), -1, dtype=np.int64)
    cue[rows[..., None], starts[..., None] + 1 + places] = chosen
    go = np.zeros(cue.shape, dtype=np.bool_)
    go[rows, starts + lengths - 2] = True
    begins = np.zeros(cue.shape, dtype=np.int64)
    begins[rows, starts] = 1
    trial = begins[:, : config.lifetime].cumsum(axis=1) - 1
    right = np.take_along_axis(present, trial, axis=1)
    return _padded(codes, target[:, None], cue[:, : config.lifetime], go[:, : config.lifetime], trial, right)


def _cue_action(config: CueActionConfig, lives: Keys, codes: Observations) -> Lifetimes:
    """Rounds in which each cue is met once, in random order."""
    length, count = config.trial_length, config.most_trials
    hidden = below(draw(draw(lives, _HIDDEN)[:, None], np.arange(config.cues)), config.actions)
    draws = np.arange(count).reshape(config.meetings, config.cues)
    order = draw(draw(lives, _ORDER)[:, None, None], draws).argsort(axis=-1).reshape(len(lives), count)
    cue = np.full((len(lives), config.lifetime), -1, dtype=np.int64)
    cue.reshape(len(lives), count, length)[..., :-1] = order[..., None]  # all but the blank step at a trial's end
    go = np.zeros(cue.shape, dtype=np.bool_)
    go[:, config.delay :: length] = True
    trial = np.broadcast_to(np.arange(config.lifetime) // length, cue.shape)
    right = np.take_along_axis(hidden, order, axis=1).repeat(length, axis=1)
    return _padded(codes, hidden, cue, go, trial, right)


def _padded(codes: Observations, hidden: Ints, cue: Ints, go: Bools, trial: Ints, right: Ints) -> Lifetimes:
    """Add the blank step after the last one, in which the last reward is seen; it belongs to the last trial."""
    end = ((0, 0), (0, 1))
    return Lifetimes(
        codes,
        hidden,
        np.pad(cue, end, constant_values=-1),
        np.pad(go, end),
        np.pad(trial, end, mode="edge"),
        np.pad(right, end, mode="edge"),
    )

"""What the tests of viewing share."""

from dataclasses import replace

import numpy as np
import pytest

from plastic_rl.viewing.mind import Mind

pytest.importorskip("pygame")


def mind(neurons=20, steps=30, seed=0, traced=True, retroactive=False, **changes):
    """Return what a network of random numbers does."""
    rng = np.random.default_rng(seed)
    made = Mind(
        activity=np.tanh(rng.normal(size=(steps, neurons))).astype(np.float32),
        plastic=rng.normal(scale=0.1, size=(neurons, neurons)).astype(np.float32) if traced else None,
        strengths=tuple(np.linspace(0, 0.1, steps)) if traced else (),
        values=tuple(rng.normal(size=steps)),
        actions=np.array([0.1, 0.2, 0.3, 0.4]),
        chosen=2,
        names=("up", "right", "down", "left"),
        hits=(5,),
        outcomes=("goal reached", ""),
    )
    if retroactive:
        eligible = rng.normal(scale=0.01, size=(neurons, neurons)).astype(np.float32)
        made = replace(made, eligibility=eligible, modulation=tuple(np.tanh(rng.normal(size=steps))))
    return replace(made, **changes)

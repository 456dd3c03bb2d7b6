"""Speed of the maze environments on one core: ``python benchmarks/env.py``.

It steps the batched environments with random actions over whole lifetimes, with observations, infos and autoresets.
The baseline is Gymnasium's SyncVectorEnv over single environments.
"""

import argparse
import os
import platform
import time

import gymnasium as gym
import numpy as np

import plastic_rl

COUNTS = (1, 30, 256, 4096)


def seconds_per_step(envs: gym.vector.VectorEnv, budget: float) -> float:
    """Return the time of one vector step, as the median over passes of about one lifetime each."""
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(4, size=(250, envs.num_envs))
    began = time.perf_counter()
    envs.step(actions[0])
    once = time.perf_counter() - began
    # Large and slow batches get shorter passes, but at least three.
    length = int(np.clip(budget / 3 / once, 10, 250))
    passes = []
    began = time.perf_counter()
    while len(passes) < 3 or time.perf_counter() - began < budget:
        start = time.perf_counter()
        for row in actions[:length]:
            envs.step(row)
        passes.append((time.perf_counter() - start) / length)
    envs.close()
    return float(np.median(passes))


def check_equal(env_id: str) -> None:
    """Check that both give the same lifetimes before their speeds are compared."""
    native = gym.make_vec(env_id, 3, lifetime=40)
    sync = gym.make_vec(
        env_id, 3, "sync", vector_kwargs={"autoreset_mode": native.metadata["autoreset_mode"]}, lifetime=40
    )
    np.testing.assert_array_equal(native.reset(seed=0)[0], sync.reset(seed=0)[0])
    for row in np.random.default_rng(0).integers(4, size=(100, 3)):
        for ours, theirs in zip(native.step(row)[:4], sync.step(row)[:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each measurement")
    budget = parser.parse_args().seconds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    print(
        f"plastic-rl {plastic_rl.__version__}, numpy {np.__version__}, gymnasium {gym.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, one core"
    )
    for env_id in ("PlasticRL/GridMaze-v0", "PlasticRL/RandomMaze-v0"):
        check_equal(env_id)
        print(f"\n{env_id} (size 11, lifetime 250, view 3); both give the same lifetimes (checked)")
        print("| mazes | batched: us/step | env steps/s | SyncVectorEnv: us/step | env steps/s | ratio |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for count in COUNTS:
            batched = seconds_per_step(gym.make_vec(env_id, count), budget)
            single = seconds_per_step(gym.make_vec(env_id, count, "sync"), budget)
            print(
                f"| {count:,} | {batched * 1e6:,.1f} | {count / batched:,.0f} "
                f"| {single * 1e6:,.1f} | {count / single:,.0f} | {single / batched:,.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

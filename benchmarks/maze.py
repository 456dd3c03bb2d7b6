"""Environment steps per second of training PlasticA2C on the maze, by part: ``python benchmarks/maze.py``.

Stable-Baselines3 is in the loop, with its logger, callbacks and monitor. The reference points are the original
authors' scripts on a machine of 2 cores (11,300 and 3,800 steps/s); RecurrentPPO is measured in the same run if
sb3-contrib is installed.
"""

import argparse
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numba
import stable_baselines3
import torch
from stable_baselines3.common.vec_env import VecMonitor

import plastic_rl
from plastic_rl.agents import GymnasiumVecEnv, PlasticA2C
from plastic_rl.ops import get_num_threads, set_num_threads
from plastic_rl.text import table

AUTHORS = {("plastic", 100, 200): 11_300, ("plastic", 200, 250): 3_800}


class Clock:
    """Adds up the time spent in functions."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, holder: Any, name: str, part: str) -> None:
        """Count the time of a method under the name of a part."""
        function: Callable = getattr(holder, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - begin

        setattr(holder, name, timed)


def measure(core: str, neurons: int, lifetime: int, updates: int, repeats: int) -> tuple[float, dict[str, float]]:
    """Return environment steps per second (median of the repeats) and milliseconds per update by part."""
    env = gym.make_vec("PlasticRL/GridMaze-v0", num_envs=30, lifetime=lifetime)
    agent = PlasticA2C(
        "PlasticPolicy", env, n_steps=lifetime, seed=0, device="cpu",
        policy_kwargs={"core": core, "hidden_size": neurons},
    )  # fmt: skip
    steps = 30 * lifetime
    agent.learn(2 * steps)  # compiles, and warms up
    rates = []
    for _ in range(repeats):
        begin = time.perf_counter()
        agent.learn(updates * steps)
        rates.append(updates * steps / (time.perf_counter() - begin))
    clock = Clock()
    clock.watch(agent, "collect_rollouts", "acting, all")
    clock.watch(agent.env, "step", "  environment")
    clock.watch(agent.policy, "act", "  heads")
    make_stepper = agent.policy.core.stepper

    def stepper(*args: Any) -> Any:
        made = make_stepper(*args)
        clock.watch(made, "step", "  core")
        return made

    agent.policy.core.stepper = stepper  # type: ignore[method-assign]
    clock.watch(agent, "train", "training, all")
    clock.watch(agent.policy, "replay", "  replay")
    clock.watch(agent.policy.optimizer, "step", "  optimizer")
    agent.learn(updates * steps)
    env.close()
    return statistics.median(rates), {part: 1e3 * s / updates for part, s in clock.seconds.items()}


def recurrent_ppo(lifetime: int, updates: int) -> float | None:
    """Return RecurrentPPO's environment steps per second with an LSTM of 100, or None without sb3-contrib."""
    try:
        from sb3_contrib import RecurrentPPO
    except ImportError:
        return None
    env = VecMonitor(GymnasiumVecEnv(gym.make_vec("PlasticRL/GridMaze-v0", num_envs=30, lifetime=lifetime)))
    steps = 30 * lifetime
    kwargs = {"lstm_hidden_size": 100, "net_arch": []}
    agent = RecurrentPPO(
        "MlpLstmPolicy", env, n_steps=lifetime, batch_size=steps, n_epochs=1, device="cpu", policy_kwargs=kwargs
    )
    agent.learn(steps)
    begin = time.perf_counter()
    agent.learn(updates * steps)
    return updates * steps / (time.perf_counter() - begin)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the fused engine")
    parser.add_argument("--updates", type=int, default=10, help="gradient steps per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    set_num_threads(options.threads)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}, "
        f"stable-baselines3 {stable_baselines3.__version__}, plastic-rl {plastic_rl.__version__}"
    )
    print(f"30 mazes side by side; median of {options.repeats} x {options.updates} updates\n")
    rows = [["agent, neurons x steps", "env steps/s", "authors'", "ratio"]]
    parts: list[list[str]] = []
    for core, neurons, lifetime in (("plastic", 100, 200), ("plastic", 200, 250), ("rnn", 100, 200)):
        rate, times = measure(core, neurons, lifetime, options.updates, options.repeats)
        theirs = AUTHORS.get((core, neurons, lifetime))
        name = f"PlasticA2C {core}, {neurons} x {lifetime}"
        rows.append([name, f"{rate:,.0f}", f"{theirs:,}" if theirs else "", f"{rate / theirs:.1f}" if theirs else ""])
        parts += [[name, "ms per update"], *([part, f"{ms:.1f}"] for part, ms in times.items()), ["", ""]]
    ppo = recurrent_ppo(200, max(1, options.updates // 5))
    if ppo is not None:
        rows.append(["RecurrentPPO (one epoch), 100 x 200", f"{ppo:,.0f}", "", ""])
    print(table(rows))
    print()
    print(table(parts))


if __name__ == "__main__":
    main()

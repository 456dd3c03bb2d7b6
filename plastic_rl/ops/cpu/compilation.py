"""Says that the kernels are being compiled, which makes their first use slow."""

import sys
from typing import Any

import numba.core.event

from plastic_rl.ops.cpu import kernels


class _Announcer(numba.core.event.Listener):
    """Prints one line per process when Numba begins to compile a kernel."""

    announced = False

    def on_start(self, event: Any) -> None:
        dispatcher = event.data.get("dispatcher")
        if not self.announced and getattr(dispatcher, "__module__", None) == kernels.__name__:
            self.announced = True
            folder = dispatcher.stats.cache_path
            kept = f"kept in {folder}" if folder else "not kept: Numba can write to no cache folder"
            print(
                f"plastic_rl: compiling the CPU kernels, which takes up to a minute ({kept})",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: Any) -> None:
        pass


def announce() -> None:
    """From now on, print a line before this process first compiles a kernel."""
    numba.core.event.register("numba:compile", _ANNOUNCER)


_ANNOUNCER = _Announcer()

"""Seconds that a run has taken, over all of its launches."""

import contextlib
import time
from collections.abc import Iterator, Mapping

NAMES = ("wall_seconds", "compile_seconds", "train_seconds")


class Clock:
    """Wall, compile and training seconds. Training excludes compilation and validation.

    Args:
      runs: how many runs take the time together.
    """

    def __init__(self, runs: int = 1) -> None:
        self._runs = runs
        self._seconds = dict.fromkeys(NAMES, 0.0)  # of this one, up to the last stop
        self._since = {"wall_seconds": time.monotonic()}  # of those that run

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Adds the time inside, except where it is `paused`, to the seconds of this name."""
        self._since[name] = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self.seconds(name)
            self._since.pop(name, None)

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Excludes the time inside from `running`, in which it lies."""
        self._seconds[name] = self.seconds(name)
        del self._since[name]
        yield
        self._since[name] = time.monotonic()

    def seconds(self, name: str) -> float:
        """Seconds of this launch so far."""
        now = time.monotonic()
        return self._seconds[name] + now - self._since.get(name, now)

    def totals(self, earlier: Mapping[str, float]) -> dict[str, float]:
        """Seconds of a run: its equal share of this launch, and those of its `earlier` launches."""
        return {
            name: float(earlier.get(name, 0.0)) + self.seconds(name) / self._runs for name in NAMES
        }

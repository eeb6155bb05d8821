"""Seconds that a run has taken, over all of its launches."""

import contextlib
import time
from collections.abc import Iterator, Mapping

NAMES = ("wall_seconds", "compile_seconds", "train_seconds")


class Clock:
    """Wall, compile and training seconds. Training excludes compilation and validation."""

    def __init__(self) -> None:
        self._earlier = dict.fromkeys(NAMES, 0.0)  # of other launches
        self._seconds = dict.fromkeys(NAMES, 0.0)  # of this one, up to the last stop
        self._since = {"wall_seconds": time.monotonic()}  # of those that run

    def resume(self, earlier: Mapping[str, float]) -> None:
        """Adds the totals of earlier launches, as far as they are known."""
        self._earlier = {name: float(earlier.get(name, 0.0)) for name in NAMES}

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

    def totals(self) -> dict[str, float]:
        """Seconds so far, those of earlier launches included."""
        return {name: earlier + self.seconds(name) for name, earlier in self._earlier.items()}

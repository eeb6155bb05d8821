"""Seconds that a run has taken, over all of its launches."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Wall, compile and training seconds. Training excludes compilation and validation."""

    def __init__(self) -> None:
        self._earlier = {"wall_seconds": 0.0, "compile_seconds": 0.0, "train_seconds": 0.0}
        self._launched = time.monotonic()
        self._compiling, self._training = 0.0, 0.0
        self._since: float | None = None  # start of the current stretch of training

    def resume(self, earlier: dict[str, float]) -> None:
        """Adds the totals of earlier launches, as far as they are known."""
        self._earlier = {name: float(earlier.get(name, 0.0)) for name in self._earlier}

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """Adds the time inside to the compile seconds."""
        start = time.monotonic()
        yield
        self._compiling += time.monotonic() - start

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Adds the time inside, except where it is `paused`, to the training seconds."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._training, self._since = self.training_seconds(), None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time inside from `training`."""
        self._training, self._since = self.training_seconds(), None
        yield
        self._since = time.monotonic()

    def training_seconds(self) -> float:
        """Seconds of training in this launch."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._training + running

    def totals(self) -> dict[str, float]:
        """Seconds so far, those of earlier launches included."""
        now = {
            "wall_seconds": time.monotonic() - self._launched,
            "compile_seconds": self._compiling,
            "train_seconds": self.training_seconds(),
        }
        return {name: seconds + now[name] for name, seconds in self._earlier.items()}

"""SIGTERM and Ctrl-C: the run saves, then ends."""

import os
import signal
import threading
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupts:
    """While entered, the first signal is recorded. Another one, after a second, ends the process.

    A second signal within a second is ignored: the terminal and a wrapper may both send Ctrl-C.
    """

    PATIENCE_SECONDS = 1.0

    def __init__(self) -> None:
        self.signal: int | None = None
        self._first = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():  # no other one gets signals
            self._previous = {s: signal.signal(s, self._remember) for s in SIGNALS}
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def asked(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + signal, as a shell reports it: 143 after SIGTERM, 130 after Ctrl-C."""
        assert self.signal is not None
        return 128 + self.signal

    def _remember(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._first = number, now
        elif now - self._first > self.PATIENCE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

"""Several processes as one run: who writes, what all must agree on, and how all stop together.

With a single process every function here does what its name says, by itself.
"""

import signal
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.run.interrupts import Interrupts
from experiments.validate import ConfigError


def join(coordinator: str | None, count: int | None, index: int | None, patience: int) -> None:
    """Makes this process one of several; before JAX sees its devices.

    Args:
      coordinator: HOST:PORT of process 0. count, index: of processes, and of this one. All three
        are found by themselves on Cloud TPU VMs, on SLURM and on GKE.
      patience: seconds without a sign of a peer after which this process ends too.

    Raises:
      ConfigError: some of the three are given and some are not, or they make no sense.
    """
    given = (coordinator, count, index)
    if any(value is not None for value in given) and None in given:
        raise ConfigError(
            "--coordinator, --process_count and --process_index are given together, or, where "
            f"JAX finds them by itself, not at all; here {given}"
        )
    if count is not None and index is not None and not 0 <= index < count:
        raise ConfigError(f"--process_index={index} must be at least 0 and less than {count}")
    try:
        jax.distributed.initialize(coordinator, count, index, heartbeat_timeout_seconds=patience)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"--multihost: the processes do not find each other: {error}") from error


def primary() -> bool:
    """Whether this process writes logs and results."""
    return jax.process_index() == 0


def agreed(value: int) -> int:
    """What process 0 says, to all."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def wait_for_all(name: str) -> None:
    """Returns when every process has come to the place of that name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


class PeerError(RuntimeError):
    """Process 0 could not go on; it says why."""


def decided_by_primary(decide: Callable[[], bool]) -> bool:
    """What `decide` says on process 0, to all.

    Raises:
      PeerError: it raised there, which raises its own error.
    """
    error: Exception | None = None
    answer = 0
    if primary():
        try:
            answer = int(decide())
        except Exception as raised:
            error, answer = raised, -1
    answer = agreed(answer)
    if error is not None:
        raise error
    if answer < 0:
        raise PeerError("process 0 could not go on; its own output says why")
    return bool(answer)


class SharedInterrupts(Interrupts):
    """Interrupts that all processes hear of at the same step; `asked` is called by all in turn.

    With several processes JAX's runtime listens for SIGTERM, and tells all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shared, self._polls = jax.process_count() > 1, 0

    def __enter__(self) -> "SharedInterrupts":
        if not self._shared:
            super().__enter__()
        return self

    def asked(self) -> bool:
        """Whether a signal came to any process."""
        if self._shared and self.signal is None:
            self._polls += 1
            if multihost_utils.reached_preemption_sync_point(self._polls):
                self.signal = signal.SIGTERM
        return self.signal is not None

"""Several processes as one run: who writes, what all agree on, and how all stop together.

With a single process, every function here does the same without communication.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from plasticity.experiments.run.interrupts import Interrupts
from plasticity.experiments.validate import ConfigError


class Place(NamedTuple):
    """Which process this is, as the flags give it; JAX finds what is None, if it can."""

    coordinator: str | None  # HOST:PORT of process 0
    count: int | None  # of processes
    index: int | None  # of this one, from 0


def join(place: Place, connect_timeout: int, heartbeat_timeout: int) -> None:
    """Makes this process one of several; call it before JAX looks for devices.

    Ends the process with exit code 2 if the others have not come in time.

    Args:
      place: all of it, or nothing of it on Cloud TPU VMs, on SLURM and on GKE.
      connect_timeout: seconds to wait for the other processes.
      heartbeat_timeout: seconds without a sign of another process after which this one ends.

    Raises:
      ConfigError: the place is incomplete or makes no sense, its host is unknown, or its port is in
        use.
    """
    whom = "the other processes"
    if place.coordinator and place.count is not None and place.index is not None:
        _check(place.coordinator, place.count, place.index)
        others = f"all {place.count} processes" if place.index == 0 else "process 0"
        whom = f"{others} at --coordinator={place.coordinator}"
    elif place != (None, None, None):
        raise ConfigError(
            "--coordinator, --process_count and --process_index are given together, or, where "
            f"JAX finds them by itself, not at all; here {tuple(place)}"
        )
    print(f"waiting for {whom}, for at most {connect_timeout} s", flush=True)

    def give_up() -> None:
        print(f"error: {whom} did not come within {connect_timeout} s", file=sys.stderr, flush=True)
        os._exit(2)

    # JAX aborts the process when its own timeout is over; this one ends before, with a message.
    timer = threading.Timer(connect_timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            *place,
            initialization_timeout=connect_timeout + 60,
            heartbeat_timeout_seconds=heartbeat_timeout,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--multihost: JAX finds no other processes here ({error}): give --coordinator="
            "HOST:PORT, --process_count and --process_index"
        ) from error
    finally:
        timer.cancel()


def _check(coordinator: str, count: int, index: int) -> None:
    """Raises ConfigError unless process 0 can be found at its address."""
    given = f"--coordinator={coordinator}"
    if index >= count:
        raise ConfigError(f"--process_index={index} must be less than --process_count={count}")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"{given} must be HOST:PORT, for example 10.0.0.1:1234")
    what = f"the host {host} is unknown"
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
        what = "the port cannot be used"
        if index == 0:
            socket.create_server(("", int(port))).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{given}: {what}: {why}") from error


def primary() -> bool:
    """Whether this process writes logs and results."""
    return jax.process_index() == 0


def agreed(value: int) -> int:
    """The value of process 0, on every process."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def wait_for_all(name: str) -> None:
    """Returns when every process has called it with this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


class PeerError(RuntimeError):
    """Process 0 cannot go on; its own output has the reason."""


def decided_by_primary(decide: Callable[[], bool]) -> bool:
    """What `decide` returns on process 0, on every process.

    Raises:
      PeerError: `decide` raised an error on process 0, where that error is raised.
    """
    error: Exception | None = None
    answer = 0
    if primary():
        try:
            answer = int(decide())
        except Exception as raised:
            error, answer = raised, -1
    answer = agreed(answer)
    if answer < 0:
        raise error or PeerError("process 0 cannot go on; its own output has the reason")
    return bool(answer)


class SharedInterrupts(Interrupts):
    """Interrupts that reach all processes at the same step; each calls `asked` equally often.

    With several processes, JAX's runtime receives SIGTERM and passes it on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shared, self._polls = jax.process_count() > 1, 0

    def __enter__(self) -> "SharedInterrupts":
        if not self._shared:
            super().__enter__()
        return self

    def __exit__(self, kind: object = None, *error: object) -> None:
        if kind is None:  # a process that leaves first would break what others still exchange
            wait_for_all("end of the run")
        super().__exit__(kind, *error)

    def asked(self) -> bool:
        """Whether a signal came to any process."""
        if self._shared and self.signal is None:
            self._polls += 1
            if multihost_utils.reached_preemption_sync_point(self._polls):
                self.signal = signal.SIGTERM
        return self.signal is not None

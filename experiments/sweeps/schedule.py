"""Points of a sweep, dealt out to workers until each is complete or has failed too often."""

import collections
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.cli import RUN_ERROR
from experiments.run.interrupts import Interrupts
from experiments.run.program import shape_of
from experiments.sweeps.executors import Executor, Job
from experiments.sweeps.points import InterruptedRunError, Point

POLL_SECONDS = 0.2


class Batch(NamedTuple):
    """What one worker does."""

    points: list[Point]
    log: pathlib.Path


def in_batches(points: Sequence[Point], slots: int) -> list[list[Point]]:
    """Points that share a compiled program together, in batches small enough to fill all slots."""
    shapes: dict[str, list[Point]] = collections.defaultdict(list)
    for point in points:
        shapes[shape_of(point.config())].append(point)
    most = max(1, math.ceil(len(points) / slots))
    return [own[i : i + most] for own in shapes.values() for i in range(0, len(own), most)]


class Schedule:
    """Runs points by an executor.

    Args:
      executor: where. command: of a worker that runs points with these identities in turn.
      logs: folder of the workers' output. retries: how often a point is tried again.
    """

    def __init__(
        self,
        executor: Executor,
        command: Callable[[Sequence[str]], list[str]],
        logs: pathlib.Path,
        retries: int,
    ):
        self._executor, self._command, self._retries = executor, command, retries
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._tries: dict[str, int] = collections.Counter()
        self._started = 0
        self.failed: list[Point] = []

    def run(self, points: Sequence[Point], done: Callable[[Point], None]) -> None:
        """Calls `done` for every point that becomes complete; the rest is in `failed`.

        Raises:
          InterruptedRunError: by a signal, once all workers have saved and ended.
        """
        queue = collections.deque(in_batches(points, self._executor.slots))
        running: list[tuple[Job, Batch]] = []
        with Interrupts() as interrupts:
            try:
                while queue or running:
                    if interrupts.asked():
                        raise InterruptedRunError(interrupts.exit_code)
                    while queue and len(running) < self._executor.slots:
                        running.append(self._start(queue.popleft()))
                    time.sleep(POLL_SECONDS)
                    for job, batch in list(running):
                        code = job.poll()
                        if code is not None:
                            running.remove((job, batch))
                            queue.extend(self._settle(batch, code, done))
            finally:  # none is left behind, whatever ends this
                _stop_all([job for job, _ in running])

    def _start(self, points: list[Point]) -> tuple[Job, Batch]:
        self._started += 1
        batch = Batch(points, self._logs / f"worker-{self._started}.log")
        names = ", ".join(point.name for point in points)
        print(f"started: {names} (output: {batch.log})", flush=True)
        command = self._command([point.identity for point in points])
        return self._executor.start(command, batch.log), batch

    def _settle(self, batch: Batch, code: int, done: Callable[[Point], None]) -> list[list[Point]]:
        """Notes what came of a batch; what is to be started again, in batches."""
        for point in batch.points:
            if point.complete:
                done(point)
        left = [point for point in batch.points if not point.complete]
        # A worker that is lost was at the first of them; the others have not had their turn.
        tried = left if code == RUN_ERROR else left[:1]
        again = [[point] for point in tried if self._may_try_again(point, code, batch.log)]
        waiting = left[len(tried) :]
        return [*again, waiting] if waiting else again

    def _may_try_again(self, point: Point, code: int, log: pathlib.Path) -> bool:
        self._tries[point.identity] += 1
        if self._tries[point.identity] > self._retries:
            self.failed.append(point)
            return False
        print(f"again: {point.name} (exit code {code}: {log})", flush=True)
        return True


def _stop_all(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.stop()
    while any(job.poll() is None for job in jobs):
        time.sleep(POLL_SECONDS)

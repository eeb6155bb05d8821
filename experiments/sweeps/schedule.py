"""Distributes the points of a sweep over workers until each is complete or has failed too often."""

import collections
import math
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from plasticity.commands import program
from plasticity.experiments.cli import RUN_ERROR, USAGE_ERROR
from plasticity.experiments.run.interrupts import Interrupts
from plasticity.experiments.run.program import shape_of
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps.executors import Executor, Job
from plasticity.experiments.sweeps.points import Failure, Point, by_state

POLL_SECONDS = 0.2


class Batch(NamedTuple):
    """A worker and its points, which it runs in turn."""

    job: Job
    points: list[Point]
    log: pathlib.Path


def worker_command(name: str, by_study: bool = False) -> Callable[[Sequence[Point]], list[str]]:
    """The command of a worker, by its points: that of program `name` with --only=HASH,....

    Args:
      by_study: name points by STUDY/HASH, since two studies may have points of equal configs.
    """
    this = [sys.executable, "-m", program(name), *sys.argv[1:]]

    def of(points: Sequence[Point]) -> list[str]:
        names = [f"{p.folder.name}/{p.identity}" if by_study else p.identity for p in points]
        return [*this, f"--only={','.join(names)}"]

    return of


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
      executor: where workers run.
      command: of a worker that runs these points in turn.
      logs: folder for the output of workers.
      retries: number of times that a failed point is tried again. A worker that was ended from
        outside after it had saved further steps does not count.
    """

    def __init__(
        self,
        executor: Executor,
        command: Callable[[Sequence[Point]], list[str]],
        logs: pathlib.Path,
        retries: int,
    ):
        self._executor, self._command, self._retries = executor, command, retries
        self._logs, self._started = logs, 0
        self._tries: dict[pathlib.Path, int] = collections.Counter()
        self._saved: dict[pathlib.Path, int] = collections.Counter()  # steps of each point
        self._failed: list[Failure] = []

    def run(self, points: Sequence[Point], done: Callable[[Point], object]) -> list[Failure]:
        """Calls `done` for every point that becomes complete; returns the others.

        A signal stops all workers; once they have saved and ended, SystemExit ends the program.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        queue = collections.deque(in_batches(points, self._executor.slots))
        running: list[Batch] = []
        with Interrupts() as interrupts:
            try:
                while queue or running:
                    if interrupts.asked():
                        raise SystemExit(interrupts.exit_code)
                    while queue and len(running) < self._executor.slots:
                        running.append(self._start(queue.popleft()))
                    time.sleep(POLL_SECONDS)
                    for batch in list(running):
                        code = batch.job.poll()
                        if code is not None:
                            running.remove(batch)
                            queue.extend(self._settle(batch, code, done))
            finally:  # no worker outlives this process
                for batch in running:
                    batch.job.stop()
                while any(batch.job.poll() is None for batch in running):
                    time.sleep(POLL_SECONDS)
        return self._failed

    def _start(self, points: list[Point]) -> Batch:
        self._started += 1
        log = self._logs / f"worker-{self._started}.log"
        print(f"started: {', '.join(p.name for p in points)} (output: {log})", flush=True)
        return Batch(self._executor.start(self._command(points), log), points, log)

    def _settle(self, batch: Batch, code: int, done: Callable) -> list[list[Point]]:
        """Records the results of a worker that has ended: the batches to start again."""
        complete, left, damaged = by_state(batch.points)
        self._failed += damaged
        for point in complete:
            done(point)
        # A worker that was killed was at the first of these; the others have not been tried.
        tried = left if code in (RUN_ERROR, USAGE_ERROR) else left[:1]
        again = [[point] for point in tried if self._may_try_again(point, code, batch.log)]
        waiting = left[len(tried) :]
        return [*again, waiting] if waiting else again

    def _went_on(self, point: Point) -> bool:
        """Whether a point has saved further steps since its last try here."""
        try:
            steps = max(Workdir(str(point.workdir)).saved_steps(), default=0)
        except WorkdirError:
            return False
        before, self._saved[point.workdir] = self._saved[point.workdir], steps
        return steps > before

    def _may_try_again(self, point: Point, code: int, log: pathlib.Path) -> bool:
        # A worker that was preempted after it had saved further steps did not fail.
        if not self._went_on(point) or code in (RUN_ERROR, USAGE_ERROR):
            self._tries[point.workdir] += 1
        if self._tries[point.workdir] <= self._retries:
            print(f"again: {point.name} (exit code {code}: {log})", flush=True)
            return True
        # The worker has printed the reason, unless something else ended it.
        text = log.read_text(errors="replace") if log.exists() else ""
        _, _, own = text.rpartition(point.command())  # an earlier launch may have had this log
        _, reported, rest = own.rpartition(str(Failure(point, "")))
        why = rest.partition("\n")[0] if reported else f"exit code {code}, see {log}"
        # Python's own exit code for an error is that of an untrainable point, see `worker_code`.
        self._failed.append(Failure(point, why, untrainable=code == RUN_ERROR and bool(reported)))
        return False

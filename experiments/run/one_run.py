"""One of the runs that train in a program: its folder, its rows, and how its seeds fare."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from plasticity.checks import PlasticityError
from plasticity.experiments import build
from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.clock import Clock
from plasticity.experiments.run.curriculum import Curriculum
from plasticity.experiments.run.explosions import Explosions
from plasticity.experiments.run.footprint import check_footprint
from plasticity.experiments.run.manifest import write_manifest
from plasticity.experiments.run.outcome import check_plasticity_learns, cures
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.run.tracked import check_trackers, open_log, write_identity
from plasticity.experiments.run.warm_start import check_start
from plasticity.experiments.run.workdir import Workdir
from plasticity.learner import TrainState


class Run:
    """A run, with files of its own, whoever trains beside it.

    Attributes:
      seeds: its seeds.
      error: why it ends without a result; None: it does not.
      checkpoints, log: once they are opened.
      named: how messages begin; empty if it trains alone.
      places: of its seeds among those of all runs that train with it.
    """

    def __init__(self, config: ConfigDict, path: str):
        self.config, self.workdir, self.seeds = config, Workdir(path), Seeds(config)
        self.error: Exception | None = None
        self.named, self.places = "", slice(0, len(self.seeds.numbers))
        self._earlier: Mapping[str, Any] = {}  # the record of the checkpoint that it goes on from
        self._diverged: set[int] = set()  # indices of seeds

    def begin(self, held: contextlib.ExitStack, group: str, together: int) -> bool:
        """Locks the workdir and opens it for the run; False: the run is complete.

        Args:
          held: what holds the lock.
          group: the name of the sweep, for trackers. together: how many runs train in one program.
        """
        workdir, config = self.workdir, self.config
        workdir.check(config)  # before the lock too: a folder that is refused gets no .lock
        if workdir.result_steps() == config.train.steps:
            print(f"{workdir.path} is complete: see {workdir.result}. Nothing to do.")
            return False
        check_trackers(config)
        if not workdir.saved_steps():  # later it is in the checkpoints
            check_start(config)
        check_footprint(config)
        checksum = build.make_task(config).checksum
        held.enter_context(workdir.lock())
        workdir.open(config)
        write_manifest(workdir, config, checksum, together)
        write_identity(workdir, config, group)
        return True

    def open_checkpoints(self, which: int, runs: int) -> None:
        """Opens the checkpoints of the run, number `which` of `runs`, from 0.

        Raises:
          CheckpointError: they cannot be opened.
        """
        if runs > 1:
            seeds = len(self.seeds.numbers)
            self.named = f"{self.workdir.path.name}: "
            self.places = slice(which * seeds, (which + 1) * seeds)
        self.checkpoints = Checkpoints(self.workdir.checkpoints, self.config.checkpoint.keep)

    def restore(self, like: TrainState, there: Any, step: int | None) -> TrainState:
        """The state in the newest checkpoint that is whole, or in that of a step.

        Raises:
          WorkdirError: the checkpoint has the state of another step.
        """
        state, self._earlier = self.checkpoints.restore(like, there, step)
        newest, done = self.checkpoints.latest() if step is None else step, int(np.max(state.step))
        if newest != done:
            raise WorkdirError(f"{self.workdir.checkpoints}/{newest} is the state of step {done}")
        return state

    def open_log(self, steps: np.ndarray, step: int, curriculum: Curriculum) -> None:
        """Opens the log; call it once the run is restored.

        Args:
          steps: [S] finite updates of each seed. step: updates so far.
        """
        curriculum.resume(self._earlier)
        self._diverged = set(behind(steps, step))
        self.log = open_log(self.config, self.workdir, self.seeds.numbers, step)
        self.explosions = Explosions(self.seeds.numbers, self.log.earlier, curriculum.stage)

    def seconds(self, clock: Clock) -> dict[str, float]:
        """Of all launches of the run; of time that runs share, its part."""
        return clock.totals(self._earlier)

    def save(self, step: int, state: TrainState, clock: Clock, curriculum: Curriculum) -> None:
        """Saves the state after `step` updates."""
        self.checkpoints.save(step, state, self.seconds(clock) | curriculum.record())

    def see(
        self,
        step: int,
        values: Mapping[str, np.ndarray],
        bad: np.ndarray,
        due: bool,
        why: Callable[[int, Mapping[str, float]], str],
        say: Callable[[str], object],
    ) -> None:
        """Logs the metrics of update `step`, if they are due or a seed diverged in it.

        A seed whose loss or gradient is not finite keeps its state; the others go on.

        Args:
          values: {metric: [S]}. bad: [S] bool, seeds with such metrics. due: whether rows are.
          why: explains the metrics of a seed, which is named by its index. say: prints.

        Raises:
          PlasticityError: no seed is left, or plasticity is not learned.
        """
        new = [int(which) for which in np.flatnonzero(bad) if which not in self._diverged]
        if not (due or new or step == 1):
            return
        seeds = rows_of(values)
        if due or new:
            self.log.write(step, train=seeds)
            for message in self.explosions.see(step, [own["loss"] for own in seeds]):
                say(f"{self.named}{message}")
        for which in new:
            self._diverged.add(which)
            left = cures(f"{self.workdir.checkpoints}/{self.checkpoints.latest()}")
            number = self.seeds.numbers[which]
            message = f"step {step}, seed {number}: {why(which, seeds[which])} {left}"
            if bad.all():
                raise PlasticityError(message)
            text = f"one seed diverged and stays as it was; the others go on: {message}"
            say(f"{self.named}{text}")
        if step == 1:
            good = [own for own, gone in zip(seeds, bad, strict=True) if not gone]
            check_plasticity_learns(self.config, good)


def rows_of(values: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """[{metric: number}] of S seeds, from {metric: [S]}."""
    columns = [column.tolist() for column in values.values()]
    return [dict(zip(values, row, strict=True)) for row in zip(*columns, strict=True)]


def behind(steps: np.ndarray, step: int) -> dict[int, int]:
    """{index: last finite update} of the seeds that diverged, of [S] finite updates."""
    return {which: int(done) for which, done in enumerate(steps) if done < step}

"""The runs that train in one program: the state of each is a part of the state of all."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from plasticity.experiments.run.clock import Clock
from plasticity.experiments.run.curriculum import Curriculum
from plasticity.experiments.run.one_run import Run
from plasticity.experiments.run.program import Program
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.warm_start import initial_state
from plasticity.learner import Hyperparameters, TrainState
from plasticity.types import Array


class Runs:
    """Runs with opened folders, at one step.

    Attributes:
      all: the runs. configs: theirs. seeds: of all of them.
    """

    def __init__(self, runs: Sequence[Run], clock: Clock, curriculum: Curriculum):
        self.all, self.configs = list(runs), [run.config for run in runs]
        self.seeds = Seeds(*self.configs)
        self._clock, self._curriculum = clock, curriculum
        for which, run in enumerate(runs):
            run.open_checkpoints(which, len(runs))

    @property
    def left(self) -> list[Run]:
        """Those that have not failed."""
        return [run for run in self.all if run.error is None]

    def first_state(
        self, program: Program, mesh: jax.sharding.Mesh, seed: Array, hyper: Hyperparameters
    ) -> TrainState:
        """The state to go on from: the initial one, or of the newest step that all have saved."""
        like = jax.eval_shape(program.init, seed, hyper)
        there = program.shardings(like, mesh)
        saved = [run.checkpoints.latest() for run in self.all]
        if None in saved:
            state = initial_state(self.configs[0], program, seed, hyper)
            state = jax.device_put(state, there)
            # On disk before metrics.jsonl exists, so that a folder with metrics and no checkpoint
            # has lost one. A full disk is found out here too, before anything is compiled.
            self._save([run for run in self.all if run.checkpoints.latest() is None], 0, state)
            for run in self.all:
                run.checkpoints.wait()
            if saved == [None] * len(saved):
                return state
        part = jax.eval_shape(lambda state: self.seeds.of_run(state, 0), like)
        of_run = program.shardings(part, mesh, of_run=True)
        step = min(step or 0 for step in saved) if len(saved) > 1 else None
        states = [run.restore(part, of_run, step) for run in self.all]
        for run in self.all if step is not None else ():
            run.checkpoints.drop_after(step)  # or a later launch would find no rows up to them
        return jax.device_put(self.seeds.joined(states), there)

    def open_logs(self, step: int, state: TrainState) -> None:
        """Opens the logs, to go on after `step` updates."""
        for run in self.all:
            run.open_log(self.updates(run, state), step, self._curriculum)

    def updates(self, run: Run, state: TrainState) -> np.ndarray:
        """[S] finite updates of each seed of a run."""
        return np.atleast_1d(jax.device_get(state.step))[run.places]

    def save(self, step: int, state: TrainState) -> None:
        """Saves the state of each run that is left, and first its rows.

        A run that resumes here does not write these rows again.
        """
        for run in self.left:
            run.log.flush()
        self._save(self.left, step, state)

    def _save(self, runs: Sequence[Run], step: int, state: TrainState) -> None:
        for run in runs:
            own: Any = self.seeds.of_run(state, self.all.index(run))
            run.save(step, own, self._clock, self._curriculum)

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """All checkpoints are written at the end."""
        with contextlib.ExitStack() as held:
            for run in self.all:
                held.callback(run.checkpoints.close)
            yield

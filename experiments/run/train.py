"""One training run, from config to result.json. After a kill it resumes bit for bit."""

import contextlib
import math
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from plasticity.checks import PlasticityError
from plasticity.experiments import build
from plasticity.experiments.run import hosts
from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.clock import Clock
from plasticity.experiments.run.curriculum import Curriculum
from plasticity.experiments.run.explosions import Explosions
from plasticity.experiments.run.footprint import check_footprint, plan_in_words
from plasticity.experiments.run.manifest import write_manifest
from plasticity.experiments.run.measurements import Measurements, Summaries
from plasticity.experiments.run.metrics import Progress
from plasticity.experiments.run.outcome import (
    add_ends,
    check_plasticity_learns,
    cures,
    headline,
    post_mortem,
    result_of,
)
from plasticity.experiments.run.program import program_for
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.storage import WorkdirError, check_open_files, write_json
from plasticity.experiments.run.tracked import check_trackers, open_log, write_identity
from plasticity.experiments.run.warm_start import check_start, initial_state
from plasticity.experiments.run.workdir import Workdir
from plasticity.learner import TrainState
from plasticity.records import FINITE
from plasticity.sharding import replicate


def train(config: ConfigDict, path: str, group: str = "") -> int:
    """Trains in the workdir `path`, or resumes there.

    Args:
      group: the name of the sweep that the run belongs to, for trackers; "": none.

    Returns:
      0 when result.json is written; 128 + signal if a signal ended the run after a save.

    Raises:
      ConfigError: training needs far more memory than there is, or a tracker is not installed.
      WorkdirError: the workdir cannot be used; see `Workdir.check`.
      CheckpointError: checkpoints cannot be saved or read.
      PlasticityError: plasticity cannot be learned, or no seed's loss is finite.
    """
    check_open_files()
    workdir = Workdir(path)
    with contextlib.ExitStack() as held:
        if not hosts.decided_by_primary(lambda: _begin(held, workdir, config, group)):
            return 0
        with hosts.SharedInterrupts() as interrupts:
            return _Run(config, workdir, interrupts).run()


def _begin(held: contextlib.ExitStack, workdir: Workdir, config: ConfigDict, group: str) -> bool:
    """Locks the workdir and opens it for the run; False: the run is complete."""
    workdir.check(config)  # before the lock too: a folder that is refused gets no .lock
    if workdir.result_steps() == config.train.steps:
        print(f"{workdir.path} is complete: see {workdir.result}. Nothing to do.")
        return False
    check_trackers(config)
    check_start(config)
    check_footprint(config)
    checksum = build.make_task(config).checksum
    held.enter_context(workdir.lock())
    workdir.open(config)
    write_manifest(workdir, config, checksum)
    write_identity(workdir, config, group)
    return True


class _Run:
    """The state of a run, and the loop."""

    def __init__(self, config: ConfigDict, workdir: Workdir, interrupts: hosts.SharedInterrupts):
        self.config, self.workdir, self.interrupts = config, workdir, interrupts
        self.steps = config.train.steps
        self.program = program_for(config)
        self.learner = self.program.learner
        self.mesh = self.learner.layout.mesh(config.train.batch)
        hyper = build.make_hyperparameters(config, self.learner.task)
        self.seeds = Seeds(config)
        self.seed, self.hyper = replicate((self.seeds.array, hyper), self.mesh)
        self.checkpoints = Checkpoints(workdir.checkpoints, config.checkpoint.keep)
        self.clock = Clock()
        self.curriculum = Curriculum.of(config, self.learner.task.main_metric)
        self.state = self._initial_state()
        # Updates so far. The count in the state of a seed that diverged stands still.
        self.step = int(np.max(self.state.step))
        self.diverged = set(self._behind())
        self.log = open_log(config, workdir, self.seeds.numbers, self.step)
        told = self.log.earlier
        self.explosions = Explosions(self.seeds.numbers, told, self.curriculum.stage)
        batch, metric = config.train.batch * config.train.num_seeds, self.learner.task.main_metric
        quiet, every = not hosts.primary(), config.log.every
        self.progress = Progress(self.steps, self.step, batch, metric, every, quiet)
        tools = (self.program, self.log, self.progress, interrupts.asked)
        self.measurements = Measurements(config, *tools)

    def run(self) -> int:
        """Trains to the end, evaluates, writes the result."""
        complete = False
        try:
            summaries = self._train_and_test()
            if summaries is not None and hosts.primary():
                self._write_result(summaries)
                complete = True
        finally:
            self.log.close(complete)
        if summaries is None:
            self.progress.say(f"saved at step {self.step}; the same command resumes there")
            return self.interrupts.exit_code
        return 0

    def _train_and_test(self) -> Summaries | None:
        """The summaries of the test, or None once a signal came; all checkpoints are written."""
        with contextlib.closing(self.checkpoints):
            self._train()
            self._save()  # before the evaluation, so that a kill there costs no training
            finished = self.step == self.steps
            return self.measurements.test(self.step, self.state.params) if finished else None

    def _initial_state(self) -> TrainState:
        like = jax.eval_shape(self.program.init, self.seed, self.hyper)
        there = self.program.shardings(like, self.mesh)
        if self.checkpoints.latest() is None:
            state = initial_state(self.config, self.program, self.seed, self.hyper)
            state = jax.device_put(state, there)
            # On disk before metrics.jsonl exists, so that a folder with metrics and no checkpoint
            # has lost one. A full disk is found out here too, before anything is compiled.
            self.checkpoints.save(0, state, self.clock.totals())
            self.checkpoints.wait()
            return state
        state, record = self.checkpoints.restore(like, there)
        newest, done = self.checkpoints.latest(), int(np.max(state.step))
        if newest != done:
            raise WorkdirError(f"{self.workdir.checkpoints}/{newest} is the state of step {done}")
        self.clock.resume(record)
        self.curriculum.resume(record)
        return state

    def _behind(self) -> dict[int, int]:
        """{index: last finite step} of the seeds that diverged."""
        steps = np.atleast_1d(jax.device_get(self.state.step))
        return {which: int(done) for which, done in enumerate(steps) if done < self.step}

    def _train(self) -> None:
        """Trains until all steps are done, or a signal comes: stage by stage of the curriculum."""
        if self.step == self.steps:
            return
        self.progress.say(plan_in_words(self.config))
        self.measurements.resume(self.step, self.state.params)
        going = True
        while going and self.step < self.steps:
            value = self.curriculum.value(self.step)
            if value is not None:
                self.progress.say(f"step {self.step}: {self.curriculum.in_words(self.step)}")
            self.learner = self.program.learner_at(value)
            going = self._loop(self._compile(value))

    def _compile(self, stage: int | None) -> Any:
        with self.clock.running("compile_seconds"):
            step = self.program.compiled_step(self.state, self.seed, self.hyper, stage)
            hosts.wait_for_all(f"compiled at step {self.step}")  # or the next would be charged
            return step

    def _loop(self, train_step: Any) -> bool:
        """Trains to the end of the stage; False: until a signal came."""
        pending: tuple[int, dict[str, jax.Array]] | None = None
        stage, going = self.curriculum.stage(self.step), True
        with self.clock.running("train_seconds"):
            while self.step < self.steps and self.curriculum.stage(self.step) == stage:
                if not (going := not self.interrupts.asked()):
                    break
                self.state, metrics = train_step(self.state, self.seed, self.hyper)
                self.step += 1
                if pending:  # one step late: the device computes while the host logs
                    self._report(*pending)
                pending = (self.step, metrics)
                saves = self.step % self.config.checkpoint.every == 0
                if saves or self.measurements.due(self.step):
                    self._report(*pending)  # an error ends the run before its state is saved
                    pending = None
                    with self.clock.paused("train_seconds"):
                        if self.measurements.stream.ends(self.step):  # once: a save comes later
                            self.state = self.program.end_task(self.state, self.seed, self.hyper)
                        if saves:
                            self._save()
                        self.measurements.at(self.step, self.state.params)
            if pending:
                self._report(*pending)
        return going

    def _save(self) -> None:
        self.log.flush()  # a run that resumes here does not write these rows again
        record = self.clock.totals() | self.curriculum.record()
        self.checkpoints.save(self.step, self.state, record)

    def _report(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Logs the metrics of update `step`.

        A seed whose loss or gradient is not finite keeps its state; the others go on.

        Raises:
          PlasticityError: no seed is left.
        """
        seeds = [{k: float(v) for k, v in own.items()} for own in self.seeds.split(metrics)]
        if (value := self.curriculum.value(step - 1)) is not None:
            self.curriculum.see(step - 1, seeds)
            seeds = [own | {"curriculum": value} for own in seeds]
        bad = [
            i for i, v in enumerate(seeds) if not math.isfinite(sum(v.get(n, 0.0) for n in FINITE))
        ]
        new = [i for i in bad if i not in self.diverged]
        if step % self.config.log.every == 0 or step == self.steps or new:
            self.log.write(step, train=seeds)
            for message in self.explosions.see(step, [values["loss"] for values in seeds]):
                self.progress.say(message)
        for which in new:
            self.diverged.add(which)
            state, seed = self.seeds.pick((self.state, self.seed), which)
            why = post_mortem(self.learner, state, seed, self.hyper, seeds[which])
            left = cures(f"{self.workdir.checkpoints}/{self.checkpoints.latest()}")
            message = f"step {step}, seed {self.seeds.numbers[which]}: {why} {left}"
            if len(bad) == len(seeds):
                self.progress.say()
                raise PlasticityError(message)
            self.progress.say(f"one seed diverged and stays as it was; the others go on: {message}")
        seeds = [values for i, values in enumerate(seeds) if i not in bad]
        if step == 1:
            check_plasticity_learns(self.config, seeds)
        mean = {name: sum(v[name] for v in seeds) / len(seeds) for name in seeds[0]}
        self.progress.update(step, mean, self.clock.seconds("train_seconds"))

    def _write_result(self, summaries: Summaries) -> None:
        task, clock = self.learner.task, self.clock.totals()
        result = result_of(self.config, task, self.seeds, summaries, clock)
        losses = [on["loss"]["mean"] for on, _ in summaries]
        ends = {"diverged_after": self._behind(), "exploded_after": self.explosions.after(losses)}
        add_ends(result, ends, self.curriculum)
        self.measurements.stream.add_matrices(result)
        self.log.flush()  # result.json is written last
        write_json(self.workdir.result, result)
        self.measurements.say("test", summaries)
        self.progress.say(f"result: {self.workdir.result}")
        self.log.result(self.step, **headline(result, build.is_static(self.config)))

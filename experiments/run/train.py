"""Training runs, from configs to result.json. After a kill a run resumes bit for bit.

A run trains alone, or beside others that differ in numbers only: their seeds are one axis of one
program.
"""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from plasticity.checks import PlasticityError
from plasticity.experiments import build
from plasticity.experiments.run import hosts
from plasticity.experiments.run.clock import Clock
from plasticity.experiments.run.curriculum import Curriculum
from plasticity.experiments.run.footprint import plan_in_words
from plasticity.experiments.run.measurements import Measurements, Summaries
from plasticity.experiments.run.metrics import Progress
from plasticity.experiments.run.one_run import Run, behind, rows_of
from plasticity.experiments.run.outcome import add_ends, headline, post_mortem, result_of
from plasticity.experiments.run.program import companions_of, inputs_of, program_for
from plasticity.experiments.run.runs import Runs
from plasticity.experiments.run.storage import check_open_files, write_json
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
    (outcome,) = train_together([config], [path], group)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def train_together(
    configs: Sequence[ConfigDict], paths: Sequence[str], group: str = ""
) -> list[int | Exception]:
    """Trains runs in one program, each in its workdir, or resumes there.

    Each writes the files that it writes alone. Runs that go on are at the same step: the newest
    that all of them have saved.

    Args:
      configs: of equal `companions_of`, unless there is but one.
      paths: the workdirs. group: as of `train`.

    Returns:
      For each run what `train` returns, or the error that ended it and not the others.

    Raises:
      ValueError: the configs cannot train together.
      WorkdirError, CheckpointError: as of `train`, of a run that had begun. It ends all.
    """
    if len(configs) > 1 and (len(keys := {*map(companions_of, configs)}) > 1 or None in keys):
        raise ValueError("configs: runs of these configs cannot train in one program")
    check_open_files()
    runs = [Run(config, path) for config, path in zip(configs, paths, strict=True)]
    with contextlib.ExitStack() as held:
        begun = []
        for run in runs:
            begin = functools.partial(run.begin, held, group, len(runs))
            try:
                begun += [run] if hosts.decided_by_primary(begin) else []
            except Exception as error:  # of any kind: `train` raises it again
                run.error = error
        code = 0
        if begun:
            with hosts.SharedInterrupts() as interrupts:
                code = _Training(begun, interrupts).run()
        return [run.error or (code if run in begun else 0) for run in runs]


class _Training:
    """The state of runs that train in one program, and the loop."""

    def __init__(self, runs: Sequence[Run], interrupts: hosts.SharedInterrupts):
        self.config, self.interrupts = runs[0].config, interrupts  # what all have in common
        self.steps = self.config.train.steps
        self.program = program_for(*(run.config for run in runs))
        self.learner, self.clock = self.program.learner, Clock(len(runs))
        self.mesh = self.learner.layout.mesh(self.config.train.batch)
        metric = self.learner.task.main_metric
        self.curriculum = Curriculum.of(self.config, metric)
        self.runs = Runs(runs, self.clock, self.curriculum)
        self.seeds, hyper = self.runs.seeds, inputs_of(self.runs.configs, self.learner.task)
        self.seed, self.hyper = replicate((self.seeds.array, hyper), self.mesh)
        self.state = self.runs.first_state(self.program, self.mesh, self.seed, self.hyper)
        # Updates so far. The count in the state of a seed that diverged stands still.
        self.step = int(np.max(self.state.step))
        self.runs.open_logs(self.step, self.state)
        batch, every = self.config.train.batch * len(self.seeds.numbers), self.config.log.every
        quiet = not hosts.primary()
        self.progress = Progress(self.steps, self.step, batch, metric, every, quiet)
        tools = (self.program, self.progress, interrupts.asked)
        self.measurements = Measurements(runs, *tools)

    def run(self) -> int:
        """Trains to the end, evaluates, writes results: 0, or 128 + the signal that ended it."""
        complete = False
        try:
            summaries = self._train_and_test()
            if summaries is not None and hosts.primary():
                for run in self.runs.left:
                    self._write_result(run, summaries[run.places])
                complete = True
        finally:
            for run in self.runs.all:
                run.log.close(complete and run.error is None)
        if summaries is None and self.runs.left:
            self.progress.say(f"saved at step {self.step}; the same command resumes there")
            return self.interrupts.exit_code
        return 0

    def _train_and_test(self) -> Summaries | None:
        """The summaries of the test of all seeds; None once a signal came, or no run is left.

        All checkpoints are written.
        """
        with self.runs.closing():
            self._train()
            # Before the evaluation, so that a kill there costs no training.
            self.runs.save(self.step, self.state)
            finished = self.step == self.steps and self.runs.left
            return self.measurements.test(self.step, self.state.params) if finished else None

    def _train(self) -> None:
        """Trains until all steps are done, or a signal comes: stage by stage of the curriculum."""
        if self.step == self.steps:
            return
        if (runs := len(self.runs.all)) > 1:
            self.progress.say(f"{runs} runs train in one program. Of each:")
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
        """Trains to the end of the stage; False: until a signal came, or no run is left."""
        pending: tuple[int, dict[str, jax.Array]] | None = None
        stage, going = self.curriculum.stage(self.step), True
        with self.clock.running("train_seconds"):
            while self.step < self.steps and self.curriculum.stage(self.step) == stage:
                if not (going := bool(self.runs.left) and not self.interrupts.asked()):
                    break
                self.state, metrics = train_step(self.state, self.seed, self.hyper)
                self.step += 1
                if pending:  # one step late: the device computes while the host logs
                    self._report(*pending)
                pending = (self.step, metrics)
                saves = self.step % self.config.checkpoint.every == 0
                if saves or self.measurements.due(self.step):
                    self._report(*pending)  # an error ends a run before its state is saved
                    pending = None
                    if not self.runs.left:
                        return False
                    with self.clock.paused("train_seconds"):
                        if self.measurements.stream.ends(self.step):  # once: a save comes later
                            self.state = self.program.end_task(self.state, self.seed, self.hyper)
                        if saves:
                            self.runs.save(self.step, self.state)
                        self.measurements.at(self.step, self.state.params)
            if pending:
                self._report(*pending)
        return going

    def _report(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Logs the metrics of update `step`; a run none of whose seeds is finite has ended."""
        values = {name: np.atleast_1d(v) for name, v in jax.device_get(metrics).items()}
        if (value := self.curriculum.value(step - 1)) is not None:
            self.curriculum.see(step - 1, rows_of(values))
            values["curriculum"] = np.full(len(self.seeds.numbers), value)
        bad = ~np.isfinite(sum(np.float64(values[name]) for name in FINITE if name in values))
        due = step % self.config.log.every == 0 or step == self.steps
        shown = np.zeros_like(bad)
        for run in self.runs.left:
            own = {name: column[run.places] for name, column in values.items()}
            why = functools.partial(self._why, run)
            try:
                run.see(step, own, bad[run.places], due, why, self.progress.say)
                shown[run.places] = ~bad[run.places]
            except PlasticityError as error:
                run.error = error
                if self.runs.left:
                    self.progress.say(f"{run.named}{error} The other runs go on.")
        if not self.runs.left:
            self.progress.say()
            return
        mean = {name: float(column[shown].mean()) for name, column in values.items()}
        self.progress.update(step, mean, self.clock.seconds("train_seconds"))

    def _why(self, run: Run, which: int, values: Mapping[str, float]) -> str:
        """Explains the metrics of a seed of a run, not all of them finite."""
        state, seed = self.seeds.pick((self.state, self.seed), run.places.start + which)
        hyper = build.make_hyperparameters(run.config, self.learner.task)
        return post_mortem(self.learner, state, seed, hyper, values)

    def _write_result(self, run: Run, summaries: Summaries) -> None:
        seconds = run.seconds(self.clock)
        result = result_of(run.config, self.learner.task, run.seeds, summaries, seconds)
        forgets = self.learner.stream is not None
        losses = None if forgets else [on["loss"]["mean"] for on, _ in summaries]
        diverged = behind(self.runs.updates(run, self.state), self.step)
        ends = {"diverged_after": diverged, "exploded_after": run.explosions.after(losses)}
        add_ends(result, ends, self.curriculum)
        self.measurements.stream.add_matrices(result)
        run.log.flush()  # result.json is written last
        write_json(run.workdir.result, result)
        self.measurements.say("test", run, summaries)
        self.progress.say(f"result: {run.workdir.result}")
        run.log.result(self.step, **headline(result, build.is_static(run.config)))

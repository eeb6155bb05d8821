"""One training run, from config to result.json. Killed at any moment, it resumes bit for bit."""

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import build
from experiments.checkpoint import Checkpoints
from experiments.evaluate import Evaluator, contrast
from experiments.interrupts import Interrupts
from experiments.metrics import MetricsLog, Progress, check_tensorboard
from experiments.workdir import Workdir, device_name, write_json, write_manifest
from plasticity.checks import (
    PlasticityError,
    check_meta_gradient,
    first_nonfinite,
)
from plasticity.learner import Knobs, Stream, TrainState
from plasticity.sharding import episode_mesh, replicate


def train(config: ConfigDict, path: str) -> int:
    """Trains in the workdir `path`, or resumes there.

    Returns:
      0 when result.json is there; 128 + signal if a signal ended the run after it had saved.

    Raises:
      WorkdirError: the workdir belongs to something else.
      PlasticityError: plasticity cannot be learned, or the loss is not finite.
    """
    check_tensorboard(config.log.tensorboard)
    workdir = Workdir(path)
    with workdir.lock():
        workdir.open(config)
        if workdir.result.exists():
            print(f"{workdir.path} is complete: see {workdir.result}. Nothing to do.")
            return 0
        write_manifest(workdir, config)
        with Interrupts() as interrupts:
            return _Run(config, workdir, interrupts).run()


class Stopwatch:
    """Seconds between starts and stops."""

    def __init__(self) -> None:
        self._total = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Runs from now."""
        self._started = time.monotonic()

    def stop(self) -> None:
        """Pauses."""
        self._total, self._started = self.seconds(), None

    def seconds(self) -> float:
        """The total so far."""
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self._total + running


class _Run:
    """The state of a run, and the loop."""

    def __init__(self, config: ConfigDict, workdir: Workdir, interrupts: Interrupts):
        self.config, self.workdir, self.interrupts = config, workdir, interrupts
        self.learner = build.make_learner(config)
        self.mesh = episode_mesh(config.train.batch)
        knobs = Knobs(*(jnp.asarray(k, jnp.float32) for k in build.make_knobs(config)))
        seed = jnp.asarray(config.seed, jnp.int32)
        self.seed, self.knobs = replicate((seed, knobs), self.mesh)
        self.evaluator = Evaluator(self.learner, self.seed, self.knobs, config)
        self.checkpoints = Checkpoints(workdir.checkpoints, config.checkpoint.keep)
        self.earlier = {"wall_seconds": 0.0, "compile_seconds": 0.0, "train_seconds": 0.0}
        self.compile_seconds = 0.0
        self.launched = time.monotonic()
        self.stopwatch = Stopwatch()
        self.state = replicate(self._initial_state(), self.mesh)
        self.step = int(self.state.step)  # host's count of updates; the state's own may stall
        self.log = MetricsLog(workdir.metrics, self.step, config.log.tensorboard)
        self.progress = Progress(
            config.train.steps,
            self.step,
            config.train.batch,
            self.learner.task.main_metric,
            config.log.every,
        )

    def run(self) -> int:
        """Trains to the end, evaluates, writes the result."""
        try:
            finished = self.step == self.config.train.steps or self._loop(self._compile())
            # Before the evaluation, so that a kill there costs no training.
            self.checkpoints.save(self.step, self.state, self._clock())
            summaries = (
                self.evaluator(self.state.params, Stream.TEST, self.interrupts.asked)
                if finished
                else None
            )
        finally:
            self.log.close()
            self.checkpoints.close()
        if summaries is None:
            self.progress.say(f"saved at step {self.step}; the same command goes on from there")
            return self.interrupts.exit_code
        self._write_result(*summaries)
        return 0

    def _initial_state(self) -> TrainState:
        init = jax.jit(self.learner.init)
        if self.checkpoints.latest() is None:
            return init(self.seed, self.knobs)
        state, clock = self.checkpoints.restore(jax.eval_shape(init, self.seed, self.knobs))
        self.earlier |= clock
        return state

    def _compile(self) -> Any:
        shapes = self.learner.make_network(self.knobs).backbone.shapes.values()
        if not self.learner.make_network(self.knobs).rule.static:
            engine, chunk = build.choose_memory(self.config, shapes, self.learner.task.steps)
            asked = self.config.memory.engine
            self.progress.say(
                f"memory: {engine}, chunk {chunk or 'whole episode'} (asked: {asked})"
            )
        start = time.monotonic()
        step = jax.jit(self.learner.train_step, donate_argnums=0)
        compiled = step.lower(self.state, self.seed, self.knobs).compile()
        self.compile_seconds = time.monotonic() - start
        return compiled

    def _learns_plasticity(self) -> bool:
        static = self.learner.make_network(self.knobs).rule.static
        full = self.config.rule.meta_gradient == "full"
        return full and self.config.rule.eta0 > 0 and not static

    def _loop(self, train_step: Any) -> bool:
        """True when all steps are done, False when a signal asked to stop."""
        pending: tuple[int, dict[str, jax.Array]] | None = None
        if self.step > 0 and not self.log.has_validation:  # killed between saving and validating
            self._validate_if_due()
        self.stopwatch.start()
        while self.step < self.config.train.steps and not self.interrupts.asked():
            self.state, metrics = train_step(self.state, self.seed, self.knobs)
            self.step += 1
            if pending:  # one step late, so that the device never waits for the log
                self._report(*pending)
            pending = (self.step, metrics)
            if not self._at_boundary():
                continue
            self._report(*pending)
            pending = None
            self.stopwatch.stop()
            self._boundary()
            self.stopwatch.start()
        if pending:
            self._report(*pending)
        self.stopwatch.stop()
        return self.step == self.config.train.steps

    def _at_boundary(self) -> bool:
        return self._due(self.config.checkpoint.every) or self._due(self.config.evaluate.every)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _boundary(self) -> None:
        """Checkpoint and validation, of a state that is known to be good."""
        if self._due(self.config.checkpoint.every):
            self.checkpoints.save(self.step, self.state, self._clock())
        self._validate_if_due()

    def _validate_if_due(self) -> None:
        if not self._due(self.config.evaluate.every) or self.step == self.config.train.steps:
            return
        summaries = self.evaluator(self.state.params, Stream.VALIDATION, self.interrupts.asked)
        if summaries is None:
            return
        on, off = ({k: v["mean"] for k, v in summary.items()} for summary in summaries)
        self.log.write(self.step, validation=on, validation_off=off)
        self.progress.say("validation  " + contrast(self.learner.task.main_metric, *summaries))

    def _report(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Logs the metrics of update `step`.

        Raises:
          PlasticityError: loss or gradient is not finite. The state is still the one before.
        """
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        finite = math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
        if step % self.config.log.every == 0 or step == self.config.train.steps or not finite:
            self.log.write(step, train=values)
        if not finite:
            self.progress.say()
            raise PlasticityError(self._post_mortem(step, values))
        if step == 1 and self._learns_plasticity():
            # Plasticity without a gradient is never learned, and looks fine otherwise.
            check_meta_gradient(values)
        self.progress.update(step, values, self.stopwatch.seconds())

    def _post_mortem(self, step: int, values: dict[str, float]) -> str:
        try:
            culprit = first_nonfinite(self.learner, self.state, self.seed, self.knobs)
        except Exception as error:  # the run is over: say what is known rather than this
            culprit = f"not found, for the replay failed: {error}"
        saved = self.checkpoints.latest()
        last = f"{self.workdir.checkpoints}/{saved}" if saved is not None else "none yet"
        return (
            f"step {step}: loss {values['loss']}, gradient norm {values['grad_norm']}. First "
            f"quantity that is not finite: {culprit}. Last good checkpoint: {last}. Usual cures: a "
            "smaller train.learning_rate or rule.eta0; rule.max_norm > 0."
        )

    def _clock(self) -> dict[str, float]:
        """Seconds so far, those of earlier launches included."""
        now = {
            "wall_seconds": time.monotonic() - self.launched,
            "compile_seconds": self.compile_seconds,
            "train_seconds": self.stopwatch.seconds(),
        }
        return {name: seconds + now[name] for name, seconds in self.earlier.items()}

    def _write_result(self, on: dict, off: dict) -> None:
        clock, config = self._clock(), self.config
        episodes = self.step * config.train.batch
        result = {
            "status": "complete",
            "task": config.task.name,
            "rule": config.rule.name,
            "seed": config.seed,
            "steps": self.step,
            "train_episodes": episodes,
            "metrics": on,
            "metrics_plasticity_off": off,
            "wall_seconds": clock["wall_seconds"],
            "compile_seconds": clock["compile_seconds"],
            "episodes_per_second": episodes / clock["train_seconds"],
            "device": device_name(),
        }
        write_json(self.workdir.result, result)
        self.progress.say("test        " + contrast(self.learner.task.main_metric, on, off))
        self.progress.say(f"result: {self.workdir.result}")

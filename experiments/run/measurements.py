"""What a run measures of its network: by validation, at the boundaries of a stream, in the test."""

from collections.abc import Callable

from ml_collections import ConfigDict

from plasticity.experiments.run import hosts
from plasticity.experiments.run.evaluate import Summary, contrast_of, evaluate_parameters
from plasticity.experiments.run.metrics import MetricsLog, Progress
from plasticity.experiments.run.program import Program
from plasticity.experiments.run.task_stream import StreamLog
from plasticity.learner import RandomStream
from plasticity.network import Parameters

Summaries = list[tuple[Summary, Summary]]  # (plasticity on, plasticity off) of each seed


class Measurements:
    """Evaluations of a run, each written once.

    Args:
      config, program, log, progress: of the run.
      stop: once it is true, an evaluation ends without a result.
    """

    def __init__(
        self,
        config: ConfigDict,
        program: Program,
        log: MetricsLog,
        progress: Progress,
        stop: Callable[[], bool],
    ):
        self._config, self._program, self._log = config, program, log
        self._progress, self._stop = progress, stop
        self.stream = StreamLog(config, program, log)

    def due(self, step: int) -> bool:
        """Whether there is anything to measure, or a task ends, after `step` updates."""
        return self._validates(step) or self.stream.over(step) is not None

    def _validates(self, step: int) -> bool:
        every = self._config.evaluate.every
        return every > 0 and step % every == 0 and step < self._config.train.steps

    def resume(self, step: int, params: Parameters) -> None:
        """Measures what a kill between a save and an evaluation, or an extension, left out."""
        if step == 0 or hosts.agreed(self._log.has_validation):
            self.stream.measure(step, params, self._stop)
        else:
            self.at(step, params)

    def at(self, step: int, params: Parameters) -> None:
        """Measures what is due after `step` updates, with these parameters."""
        self.stream.measure(step, params, self._stop)
        if not self._validates(step):
            return
        summaries = self._evaluate(params, RandomStream.VALIDATION)
        if summaries is None:
            return
        means = [[{k: v["mean"] for k, v in own.items()} for own in pair] for pair in summaries]
        on, off = zip(*means, strict=True)
        self._log.write(step, validation=on, validation_off=off)
        self.say("validation", summaries)

    def test(self, step: int, params: Parameters) -> Summaries | None:
        """The summaries of a run that has ended after `step` updates; None once it is to stop."""
        self.stream.measure(step, params, self._stop)
        summaries = self._evaluate(params, RandomStream.TEST)
        return summaries and self.stream.with_measures(summaries)

    def _evaluate(self, params: Parameters, split: RandomStream) -> Summaries | None:
        return evaluate_parameters(self._program, self._config, params, split, self._stop)

    def say(self, title: str, summaries: Summaries) -> None:
        """Prints the headline metric."""
        metric = self._program.learner.task.main_metric
        self._progress.say(f"{title:12}{contrast_of(self._config, metric, summaries)}")

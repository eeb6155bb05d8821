"""What a run measures of its network: by validation, at the boundaries of a stream, in the test."""

from collections.abc import Callable, Sequence

from plasticity.experiments.run import hosts
from plasticity.experiments.run.evaluate import Summary, contrast_of, evaluate_parameters
from plasticity.experiments.run.metrics import Progress
from plasticity.experiments.run.one_run import Run
from plasticity.experiments.run.program import Program
from plasticity.experiments.run.task_stream import StreamLog
from plasticity.learner import RandomStream
from plasticity.network import Parameters

Summaries = list[tuple[Summary, Summary]]  # (plasticity on, plasticity off) of each seed


class Measurements:
    """Evaluations of the runs of a program, each written once.

    Args:
      runs: of one schedule, with open logs; in a stream of tasks, a single one.
      program, progress: of all of them.
      stop: once it is true, an evaluation ends without a result.
    """

    def __init__(
        self, runs: Sequence[Run], program: Program, progress: Progress, stop: Callable[[], bool]
    ):
        self._runs, self._config = runs, runs[0].config
        self._program, self._progress, self._stop = program, progress, stop
        self.stream = StreamLog(self._config, program, runs[0].log)

    def due(self, step: int) -> bool:
        """Whether there is anything to measure, or a task ends, after `step` updates."""
        return self._validates(step) or self.stream.over(step) is not None

    def _validates(self, step: int) -> bool:
        every = self._config.evaluate.every
        return every > 0 and step % every == 0 and step < self._config.train.steps

    def resume(self, step: int, params: Parameters) -> None:
        """Measures what a kill between a save and an evaluation, or an extension, left out."""
        lack = [run for run in self._runs if not hosts.agreed(run.log.has_validation)]
        self._measure(step, params, lack if step > 0 else [])

    def at(self, step: int, params: Parameters) -> None:
        """Measures what is due after `step` updates, with these parameters."""
        self._measure(step, params, [run for run in self._runs if run.error is None])

    def _measure(self, step: int, params: Parameters, runs: Sequence[Run]) -> None:
        """The stream, and a validation of these runs if it is due."""
        self.stream.measure(step, params, self._stop)
        if not runs or not self._validates(step):
            return
        summaries = self._evaluate(params, RandomStream.VALIDATION)
        if summaries is None:
            return
        for run in runs:
            own = summaries[run.places]
            means = [[{k: v["mean"] for k, v in one.items()} for one in pair] for pair in own]
            on, off = zip(*means, strict=True)
            run.log.write(step, validation=on, validation_off=off)
            self.say("validation", run, own)

    def test(self, step: int, params: Parameters) -> Summaries | None:
        """The summaries of runs that have ended after `step` updates; None once they are to stop.

        Those of a run are at its `places`.
        """
        self.stream.measure(step, params, self._stop)
        summaries = self._evaluate(params, RandomStream.TEST)
        return summaries and self.stream.with_measures(summaries)

    def _evaluate(self, params: Parameters, split: RandomStream) -> Summaries | None:
        configs = [run.config for run in self._runs]
        return evaluate_parameters(self._program, configs, params, split, self._stop)

    def say(self, title: str, run: Run, summaries: Summaries) -> None:
        """Prints the headline metric of a run."""
        metric = self._program.learner.task.main_metric
        text = f"{title:12}{contrast_of(run.config, metric, summaries)}"
        self._progress.say(f"{run.named}{text}")

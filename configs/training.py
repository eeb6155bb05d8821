"""Settings of the outer loop: training, evaluation, checkpoints and logs."""

import dataclasses
import re

from plasticity.experiments.trackers import TRACKERS
from plasticity.outer.optimizer import SCHEDULES
from plasticity.outer.task_stream import METHODS
from plasticity.registry import lookup, shown
from plasticity.settings import Settings, setting, size

MOST_STAGES = 1000  # of a curriculum: each is a program of its own


@dataclasses.dataclass(frozen=True)
class TrainSettings(Settings):
    """The outer loop."""

    section = "train"
    steps: int = setting(1000, "updates of the slow weights", above=0)
    batch: int = size(64, "episodes per step")
    microbatch: int = setting(
        0, "most episodes that a device differentiates at once, to save memory; 0: all", low=0
    )
    num_seeds: int = size(
        1, "seeds, from `seed` on, trained side by side in one program", high=10_000
    )
    learning_rate: float = setting(1e-3, "learning rate", above=0)
    warmup: int = setting(50, "steps of linear warm-up", low=0)
    schedule: str = setting(
        "constant",
        "learning rate after the warm-up; cosine: to 0 at train.steps",
        choices=SCHEDULES,
    )
    eta0_warmup: int = setting(
        0, "steps of training in which rule.eta0 rises linearly to its value; 0: none", low=0
    )
    weight_decay: float = setting(1e-4, "weight decay, of slow weights only", low=0)
    clip: float = setting(5.0, "largest global norm of the outer gradient", above=0)

    def check(self) -> None:
        """Raises ValueError for warm-ups that outlast the run."""
        if self.warmup > self.steps:
            raise ValueError(
                f"train.warmup={self.warmup} must be at most train.steps={self.steps}, or the "
                f"learning rate is never reached: add --config.train.warmup={self.steps // 10}"
            )
        if self.eta0_warmup > self.steps:
            raise ValueError(
                f"train.eta0_warmup={self.eta0_warmup} must be at most train.steps={self.steps}, "
                "or the network never trains with the rule.eta0 that it is evaluated with"
            )


@dataclasses.dataclass(frozen=True)
class CurriculumSettings(Settings):
    """A setting of the task that grows while the network trains.

    For example, with task.delay=100, train.steps=1000 and

      curriculum.field="delay"   curriculum.stages="10,20,50"   curriculum.share=0.6

    steps 0 to 199 train with a delay of 10, then 200 with 20, 200 with 50, and the last 400 with
    100. With curriculum.until=.98 the network earns each stage instead: it goes on to the next one
    when the headline metric has reached .98. Every evaluation has the task's own value.
    """

    section = "curriculum"
    field: str = setting("", "integer setting of the task that grows; empty: none")
    stages: str = setting("", "its values in turn before the task's own, as in 10,20,50 or 2..9")
    share: float = setting(0.5, "part of train.steps that they share equally", above=0, below=1)
    until: float = setting(
        0.0, "a stage ends when metrics in training have reached this; 0: by share", low=0
    )
    metrics: str = setting(
        "", "of the task, joined by commas: they must all reach it; empty: the headline metric"
    )
    window: int = size(20, "updates that a metric is a mean over, for curriculum.until")

    def check(self) -> None:
        """Raises ValueError for values that are not integers, or without a field."""
        if bool(self.field) != bool(self.stages):
            raise ValueError(
                f"curriculum.field={self.field!r} and curriculum.stages={self.stages!r}: give "
                "both, as in delay and 10,20,50, or neither"
            )
        for name in ("until", "metrics"):
            if getattr(self, name) and not self.field:
                raise ValueError(
                    f"curriculum.{name}={getattr(self, name)!r} needs a curriculum.field"
                )
        if self.metrics and not self.until:
            raise ValueError(f"curriculum.metrics={self.metrics!r} needs a curriculum.until")
        _ = self.parsed

    @property
    def names(self) -> list[str]:
        """The metrics; empty: the headline metric."""
        return [name.strip() for name in self.metrics.split(",")] if self.metrics else []

    @property
    def parsed(self) -> tuple[int, ...]:
        """The values."""
        low, dots, high = self.stages.partition("..")
        try:
            if dots:
                found = tuple(range(int(low), int(high) + 1))
            else:
                found = tuple(int(value) for value in self.stages.split(",") if self.stages)
        except ValueError as error:
            raise ValueError(
                f"curriculum.stages={self.stages!r} must be integers with commas between them, "
                "as in 10,20,50, or a range, as in 2..9"
            ) from error
        if len(found) > MOST_STAGES or (dots and not found):
            raise ValueError(
                f"curriculum.stages={self.stages!r} are {len(found)} stages: 1 to {MOST_STAGES} "
                "are possible"
            )
        return found

    def starts(self, steps: int, own: int | None) -> list[int]:
        """The first update of each stage, if they share a part of `steps`; `own` is the last."""
        count = len(self.parsed) + (own not in self.parsed[-1:])
        share = self.share * steps / max(len(self.parsed), 1)
        return [round(share * which) for which in range(count)]


@dataclasses.dataclass(frozen=True)
class StreamSettings(Settings):
    """How a stream is learned: a task with task.tasks above 1, each in an equal part of the run.

    Methods: see `plasticity.outer.task_stream.METHODS`.
    """

    section = "stream"
    method: str = setting("plain", "against forgetting; joint: all tasks at once", choices=METHODS)
    boundaries: str = setting(
        "told", "hidden: replay takes all updates so far", choices=("told", "hidden")
    )
    share: float = setting(
        0.5, "part of a batch that replay takes from earlier tasks", above=0, below=1
    )
    strength: float = setting(3000.0, "of the penalty of ewc and online_ewc", low=0)
    decay: float = setting(0.9, "what online_ewc keeps of the Fisher information", low=0, high=1)
    fisher_episodes: int = size(64, "of a task that is over, for its Fisher information")
    repetitions: int = size(1, "how often every episode of a task is seen")
    spacing: str = setting(
        "massed",
        "order of the repetitions; spaced: all tasks but the last take turns",
        choices=("massed", "spaced"),
    )

    def check(self) -> None:
        """Raises ValueError for a method that needs boundaries which are hidden or not there."""
        if self.boundaries == "hidden" and METHODS[self.method].protects:
            raise ValueError(
                f"stream.method={self.method!r} needs to know where a task ends: "
                "stream.boundaries='hidden' must be 'told'"
            )
        if METHODS[self.method].joint and self.repetitions > 1:
            raise ValueError(
                f"stream.repetitions={self.repetitions} must be 1 for stream.method='joint', in "
                "which all tasks are mixed"
            )
        if self.spacing == "massed":
            return
        if self.repetitions == 1:
            raise ValueError(
                "stream.spacing='spaced' needs something to space: stream.repetitions above 1"
            )
        if self.method != "plain" and (self.method, self.boundaries) != ("replay", "hidden"):
            raise ValueError(
                f"stream.spacing='spaced' has no boundary where a task is over: stream.method="
                f"{self.method!r} must be 'plain', or 'replay' with stream.boundaries='hidden'"
            )


@dataclasses.dataclass(frozen=True)
class ConsolidationSettings(Settings):
    """Fast weights that flow into slow ones; see `plasticity.outer.consolidation`."""

    section = "consolidation"
    rate: float = setting(
        0.0,
        "part of the mean fast weights of a batch that is added to the slow weights after each "
        "update; 0: none",
        low=0,
    )
    what: str = setting(
        "fast", "what is added; shuffled: a control, at other places", choices=("fast", "shuffled")
    )

    def check(self) -> None:
        """Raises ValueError for a control of nothing."""
        if self.what != "fast" and not self.rate:
            raise ValueError(f"consolidation.what={self.what!r} needs a consolidation.rate above 0")


@dataclasses.dataclass(frozen=True)
class EncoderStart(Settings):
    """Where the encoder's weights come from."""

    section = "encoder"
    start_from: str = setting(
        "", "workdir of a run on images, with whose encoder training starts; empty: random weights"
    )


@dataclasses.dataclass(frozen=True)
class EvaluateSettings(Settings):
    """Evaluation on fixed episodes."""

    section = "evaluate"
    episodes: int = setting(1024, "episodes, fixed by the seed: the n of every interval", low=2)
    batch: int = size(128, "episodes evaluated at once")
    every: int = setting(200, "steps between validations; 0: only at the end", low=0)


@dataclasses.dataclass(frozen=True)
class CheckpointSettings(Settings):
    """When the state is saved."""

    section = "checkpoint"
    every: int = setting(100, "steps between checkpoints", above=0)
    keep: int = setting(2, "newest checkpoints kept", above=0)


@dataclasses.dataclass(frozen=True)
class LogSettings(Settings):
    """What is logged."""

    section = "log"
    every: int = setting(20, "steps between lines of metrics.jsonl", above=0)
    trackers: str = setting(
        "", f"of {', '.join(TRACKERS)}, joined by commas: also log there; each is an extra"
    )
    project: str = setting("plasticity", "the project that trackio and wandb put the run into")

    def check(self) -> None:
        """Raises ValueError for a tracker that is unknown or named twice, and for no project."""
        for name in self.names:
            lookup(TRACKERS, name, "log.trackers")
            if self.names.count(name) > 1:
                raise ValueError(f"log.trackers={self.trackers!r} names {name!r} twice")
        if not re.fullmatch(r"[\w.-]{1,100}", self.project, re.ASCII):
            raise ValueError(
                f"log.project={shown(self.project)} must be 1 to 100 letters, digits, _, . or -"
            )

    @property
    def names(self) -> list[str]:
        """The trackers."""
        return [name.strip() for name in self.trackers.split(",")] if self.trackers else []

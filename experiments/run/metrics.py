"""Where metrics go: metrics.jsonl, trackers and the terminal; and their intervals."""

import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from plasticity.experiments.run.checked import read_lines
from plasticity.experiments.run.intervals import mean_interval
from plasticity.experiments.run.storage import GrowingFile
from plasticity.experiments.run.workdir import ROW
from plasticity.experiments.trackers.tracker import Row, Tracker


def summarise(values: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Means over episodes with 95 % intervals: {name: {mean, ci95, n}} from {name: [n]}."""
    intervals = {name: mean_interval(own) for name, own in values.items()}
    return {
        name: {"mean": mean, "ci95": half, "n": len(values[name])}
        for name, (mean, half) in intervals.items()
    }


def across_seeds(summaries: Sequence[Mapping[str, dict[str, float]]]) -> dict[str, Any]:
    """The summary over n seeds: the mean of their means, with Student's t interval.

    The summary of a single seed is its own, over episodes.
    """
    if len(summaries) == 1:
        return dict(summaries[0])
    return summarise({name: [own[name]["mean"] for own in summaries] for name in summaries[0]})


class JsonLines:
    """metrics.jsonl, as a `Tracker`: the one whose errors end a run."""

    def __init__(self, path: pathlib.Path, lines: list[str]):
        """Replaces the file by these lines."""
        self._file = GrowingFile(path, lines)

    def log(self, rows: Sequence[Row]) -> None:
        """Adds a line {"step", "split", scalars} for each row.

        With several seeds, each line has a field "seed". A value that is not finite becomes null.
        All lines of a call are written at once: a kill leaves all of them or none.
        """
        lines = []
        for row in rows:
            line = {"step": row.step, "split": row.split}
            line |= {} if row.seed is None else {"seed": row.seed}
            line |= {k: v if math.isfinite(v) else None for k, v in row.scalars.items()}
            lines.append(json.dumps(line) + "\n")
        self._file.add("".join(lines))

    def flush(self) -> None:
        """Returns when every line is in the file."""
        self._file.flush()

    def close(self, complete: bool) -> None:
        """Flushes."""
        self.flush()


class MetricsLog:
    """Where a run logs: metrics.jsonl, and then the trackers that are attached.

    Attributes:
      earlier: rows of the launches before that are kept.
      told: (step, split) of all their rows, also of those that are dropped.
    """

    def __init__(self, path: pathlib.Path | None, first_step: int, seeds: Sequence[int]):
        """Opens the log of a run of these seeds that goes on after `first_step` updates.

        None: a process that is not to write logs; nothing is kept.
        What a killed process logged after its last checkpoint is dropped: those steps are run
        again and would stand there twice.
        """
        self._seeds = list(seeds) if len(seeds) > 1 else [None]
        self._open: list[Tracker] = []
        rows = read_lines(path, ROW) if path is not None and path.exists() else []
        self.told = frozenset((row["step"], row["split"]) for row in rows)
        self.earlier = kept = [row for row in rows if row["step"] <= first_step]
        self.has_validation = (first_step, "validation") in self.told
        if path is not None:
            self._open.append(JsonLines(path, [json.dumps(row) for row in kept]))

    def attach(self, trackers: Sequence[Tracker]) -> None:
        """From now on logs to these as well."""
        self._open += trackers

    def write(self, step: int, **splits: Sequence[Mapping[str, float]]) -> None:
        """Logs the scalars of each split and seed, {split: [scalars of each seed]}."""
        rows = [
            Row(step, split, seed, scalars)
            for split, own in splits.items()
            for seed, scalars in zip(self._seeds, own, strict=True)
        ]
        for tracker in self._open:
            tracker.log(rows)

    def result(self, step: int, **splits: Mapping[str, float]) -> None:
        """Tells the trackers, for which there is no result.json, how the run ended."""
        for tracker in self._open[1:]:
            tracker.log([Row(step, split, None, scalars) for split, scalars in splits.items()])

    def flush(self) -> None:
        """Returns when every line is in the file."""
        for tracker in self._open:
            tracker.flush()

    def close(self, complete: bool) -> None:
        """Flushes and ends all. `complete`: the run has its result."""
        for tracker in self._open:
            tracker.close(complete)


class Progress:
    """How far a run is: a bar in a terminal, a line now and then elsewhere."""

    def __init__(
        self, total: int, first_step: int, batch: int, metric: str, every: int, quiet: bool = False
    ):
        self._first, self._batch, self._metric = first_step, batch, metric
        self._every, self._quiet = every, quiet
        self._bar = tqdm(
            total=total,
            initial=first_step,
            unit="step",
            file=sys.stdout,
            disable=quiet or not sys.stdout.isatty(),
            dynamic_ncols=True,
        )
        self._total = total

    def update(self, step: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Shows the state after `step` updates, if it is time to.

        `seconds`: spent in training steps since this launch, without compiling and validating.
        """
        rate = (step - self._first) / max(seconds, 1e-9)
        state = (
            f"loss {metrics['loss']:.4f}  {self._metric} {metrics[self._metric]:.3f}  "
            f"{rate * self._batch:.0f} episodes/s"
        )
        if not self._bar.disable:
            self._bar.set_postfix_str(state, refresh=False)
            self._bar.update(step - self._bar.n)
            if step == self._total:
                self._bar.close()
        elif not self._quiet and (step == self._total or step % self._every == 0):
            left = tqdm.format_interval(math.ceil((self._total - step) / rate))
            print(f"step {step}/{self._total}  {state}  {left} left", flush=True)

    def say(self, text: str = "") -> None:
        """Prints a line above the bar; without text, ends the bar."""
        if text and not self._quiet:
            self._bar.write(text, file=sys.stdout)
            sys.stdout.flush()
        elif not text:
            self._bar.close()

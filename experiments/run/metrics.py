"""Metrics on their way out: metrics.jsonl, TensorBoard, the progress line, and intervals."""

import json
import math
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from experiments.run.intervals import mean_interval
from experiments.run.storage import GrowingFile
from experiments.validate import ConfigError


def summarise(values: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Means over episodes with 95 % intervals: {name: {mean, ci95, n}} from {name: [n]}."""
    return {name: _summary(own) for name, own in values.items()}


def across_seeds(summaries: Sequence[Mapping[str, dict[str, float]]]) -> dict[str, Any]:
    """The summary of the only seed; of several, means and intervals of the seeds' means."""
    if len(summaries) == 1:
        return dict(summaries[0])
    return {
        name: _summary([summary[name]["mean"] for summary in summaries]) for name in summaries[0]
    }


def _summary(values: np.ndarray | Sequence[float]) -> dict[str, float]:
    mean, half = mean_interval(values)
    return {"mean": mean, "ci95": half, "n": len(values)}


class MetricsLog:
    """metrics.jsonl, and TensorBoard if asked for."""

    def __init__(
        self, path: pathlib.Path | None, first_step: int, seeds: Sequence[int], tensorboard: bool
    ):
        """Opens the log of a run of these seeds that goes on after `first_step` updates.

        None: a process that is not to write logs; nothing is kept.
        What a killed process logged after its last checkpoint is dropped: those steps are run
        again and would stand there twice.
        """
        self._seeds = [{"seed": seed} if len(seeds) > 1 else {} for seed in seeds]
        self.has_validation, self._board = False, None
        self._file: GrowingFile | None = None
        if path is None:
            return
        kept = []
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _up_to(line, first_step)]
        self.has_validation = any(_is_validation_of(line, first_step) for line in kept)
        self._file = GrowingFile(path, kept)
        self._board = _board(path.parent / "tensorboard", first_step) if tensorboard else None

    def write(self, step: int, **splits: Sequence[Mapping[str, float]]) -> None:
        """A line {"step", "split", scalars} for each split and seed.

        Of several seeds, each line names its own, "seed". What is not finite becomes null. Lines
        that belong together are written at once, so that a kill leaves all or none.
        """
        if self._file is None:
            return
        lines = []
        for split, seeds in splits.items():
            for seed, scalars in zip(self._seeds, seeds, strict=True):
                finite = {k: v if math.isfinite(v) else None for k, v in scalars.items()}
                lines.append(json.dumps({"step": step, "split": split} | seed | finite) + "\n")
                if self._board:
                    tag = "/".join([split, *(f"seed_{number}" for number in seed.values())])
                    for name, value in scalars.items():
                        self._board.add_scalar(f"{tag}/{name}", value, step)
        self._file.add("".join(lines))

    def flush(self) -> None:
        """Returns when everything is there."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flushes."""
        if self._file is not None:
            self._file.close()
        if self._board:
            self._board.close()


def _up_to(line: str, step: int) -> bool:
    try:
        return json.loads(line)["step"] <= step
    except (ValueError, KeyError):  # half a line, from a kill
        return False


def _is_validation_of(line: str, step: int) -> bool:
    row = json.loads(line)
    return row["step"] == step and row["split"] == "validation"


def _board(directory: pathlib.Path, first_step: int) -> Any:
    return _summary_writer()(str(directory), purge_step=first_step + 1)


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "log.tensorboard=True needs the extra `tensorboard`: pip install '.[tensorboard]'"
        ) from error
    return SummaryWriter


def check_tensorboard(wanted: bool) -> None:
    """Raises ConfigError if TensorBoard is asked for and not installed."""
    if wanted:
        _summary_writer()


class Progress:
    """One line that follows the run: redrawn in a terminal, appended now and then to a log."""

    REDRAW_SECONDS = 0.2

    def __init__(
        self, total: int, first_step: int, batch: int, metric: str, every: int, quiet: bool = False
    ):
        self._total, self._first, self._batch = total, first_step, batch
        self._metric, self._every = metric, every
        self._out: TextIO = sys.stdout
        self._quiet = quiet
        self._live = self._out.isatty()
        self._drawn = time.monotonic()
        self._width = 0

    def update(self, step: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Shows the state after `step` updates, if it is time to.

        `seconds`: spent in training steps since this launch; compiling and validating left out.
        """
        now = time.monotonic()
        last = step == self._total
        due = now - self._drawn >= self.REDRAW_SECONDS if self._live else step % self._every == 0
        if self._quiet or not (due or last):
            return
        self._drawn = now
        rate = (step - self._first) / max(seconds, 1e-9)
        line = (
            f"step {step}/{self._total}  loss {metrics['loss']:.4f}  "
            f"{self._metric} {metrics[self._metric]:.3f}  "
            f"{rate * self._batch:.0f} episodes/s  {_clock((self._total - step) / rate)} left"
        )
        if self._live:
            self._out.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
        else:
            self._out.write(line + "\n")
        self._out.flush()

    def say(self, text: str = "") -> None:
        """A line of its own; without text, only ends the line that is being redrawn."""
        if self._quiet:
            return
        self._out.write("\r" + " " * self._width + "\r" if self._live else "")
        self._out.write(f"{text}\n" if text else "")
        self._out.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

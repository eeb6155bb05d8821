"""Where metrics go: metrics.jsonl, TensorBoard and the terminal; and their intervals."""

import importlib.util
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from plasticity.commands import install
from plasticity.experiments.run.checked import read_lines
from plasticity.experiments.run.intervals import mean_interval
from plasticity.experiments.run.storage import GrowingFile
from plasticity.experiments.run.workdir import ROW
from plasticity.experiments.validate import ConfigError


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


class MetricsLog:
    """metrics.jsonl, and TensorBoard's files if `log.tensorboard` is set."""

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
        self.earlier: list[dict[str, Any]] = []  # rows of the launches before
        if path is None:
            return
        rows = read_lines(path, ROW) if path.exists() else []
        self.earlier = kept = [row for row in rows if row["step"] <= first_step]
        self.has_validation = (first_step, "validation") in ((r["step"], r["split"]) for r in kept)
        self._file = GrowingFile(path, [json.dumps(row) for row in kept])
        if tensorboard:
            from tensorboardX import SummaryWriter

            folder = str(path.parent / "tensorboard")
            self._board = SummaryWriter(folder, purge_step=first_step + 1)

    def write(self, step: int, **splits: Sequence[Mapping[str, float]]) -> None:
        """Adds a line {"step", "split", scalars} for each split and seed.

        With several seeds, each line has a field "seed". A value that is not finite becomes null.
        All lines of a call are written at once: a kill leaves all of them or none.
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
        """Returns when every line is in the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flushes."""
        self.flush()
        if self._board:
            self._board.close()


def check_tensorboard(wanted: bool) -> None:
    """Raises ConfigError if TensorBoard is `wanted` but not installed."""
    if wanted and importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError(
            f"log.tensorboard=True needs the extra `tensorboard`: {install('tensorboard')}"
        )


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

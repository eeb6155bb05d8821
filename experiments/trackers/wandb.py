"""Weights & Biases. WANDB_MODE=offline writes into the workdir; `wandb sync` sends that later."""

import pathlib
from collections.abc import Sequence

from plasticity.experiments.trackers.tracker import Kind, Launch, Row, merged

# Seconds that the end of a run waits for an upload; what is left lies on the disk.
UPLOAD_SECONDS = 300


class WeightsAndBiases:
    """A run of W&B, the same in every launch. Environment variables WANDB_* have its settings."""

    def __init__(self, launch: Launch):
        import wandb

        local = isinstance(launch.folder, pathlib.Path)  # or it is in a bucket
        self._run = wandb.init(
            project=launch.project,
            id=launch.identity,
            name=launch.name,
            group=launch.group or None,
            config=launch.config,
            dir=str(launch.folder) if local else None,
            resume="allow",
            # The terminal belongs to the program.
            settings=wandb.Settings(console="off", finish_timeout=UPLOAD_SECONDS),
        )
        # W&B's own count of steps never goes back, not even to the step of a checkpoint.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, rows: Sequence[Row]) -> None:
        """As `Tracker`. The summary of W&B has the last value of each metric."""
        self._run.log({"step": rows[0].step} | merged(rows))

    def flush(self) -> None:
        """Nothing: another process holds what was logged, and outlives this one."""

    def close(self, complete: bool) -> None:
        """As `Tracker`; W&B shows a run that is not complete as failed until it is resumed."""
        self._run.finish(exit_code=0 if complete else 1)


WANDB = Kind("wandb", WeightsAndBiases, rewinds=False)

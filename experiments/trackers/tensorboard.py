"""TensorBoard: event files in the folder `tensorboard` of the workdir, without an account."""

import json
from collections.abc import Sequence

from plasticity.experiments.trackers.tracker import Kind, Launch, Row


class TensorBoard:
    """A scalar per metric and seed; the config is a text."""

    def __init__(self, launch: Launch):
        """TensorBoard hides what earlier launches logged from `first_step` + 1 on."""
        from tensorboardX import SummaryWriter

        folder = str(launch.folder / "tensorboard")
        # The suffix keeps apart files of launches within a second, by which they are named.
        start = launch.first_step
        self._writer = SummaryWriter(folder, purge_step=start + 1, filename_suffix=f".{start}")
        text = json.dumps(launch.config, indent=2)
        self._writer.add_text("config", f"```json\n{text}\n```", start)

    def log(self, rows: Sequence[Row]) -> None:
        """As `Tracker`."""
        for row in rows:
            for name, value in row.named().items():
                self._writer.add_scalar(name, value, row.step)

    def flush(self) -> None:
        """As `Tracker`."""
        self._writer.flush()

    def close(self, complete: bool) -> None:
        """As `Tracker`."""
        self._writer.close()


TENSORBOARD = Kind("tensorboardX", TensorBoard, rewinds=True)

"""trackio: an SQLite database under TRACKIO_DIR, without an account; `trackio show` displays it."""

from collections.abc import Sequence

from plasticity.experiments.trackers.tracker import Kind, Launch, Row, merged


class Trackio:
    """A run in the project of the database, found again by its name."""

    def __init__(self, launch: Launch):
        import trackio

        self._trackio = trackio
        self._run = trackio.init(
            launch.project,
            name=f"{launch.name}-{launch.identity}",
            group=launch.group or None,
            config=launch.config,
            resume="allow",
            embed=False,
        )

    def log(self, rows: Sequence[Row]) -> None:
        """As `Tracker`."""
        self._run.log(merged(rows), step=rows[0].step)

    def flush(self) -> None:
        """Nothing: a thread of trackio writes twice a second."""

    def close(self, complete: bool) -> None:
        """As `Tracker`."""
        self._trackio.finish()  # of this module: it forgets the run, which `Run.finish` does not


TRACKIO = Kind("trackio", Trackio, rewinds=False)

"""What a tracker is, and what it is told of a run."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Row(NamedTuple):
    """Metrics after `step` updates, of one split and one seed."""

    step: int
    split: str  # such as "train", "validation", "validation_off"
    seed: int | None  # None: of the only seed, or over all seeds
    scalars: Mapping[str, float]  # {metric: value, finite or not}

    def named(self) -> dict[str, float]:
        """The scalars as {"SPLIT/METRIC": value}; of several seeds, {"SPLIT/seed_N/METRIC": value}.

        A metric that is a mean over seeds has no place here: each seed has its own curve.
        """
        seed = [] if self.seed is None else [f"seed_{self.seed}"]
        return {"/".join([self.split, *seed, name]): v for name, v in self.scalars.items()}


def merged(rows: Sequence[Row]) -> dict[str, float]:
    """`Row.named` of all rows together."""
    return {name: value for row in rows for name, value in row.named().items()}


class Launch(NamedTuple):
    """The launch of a run that opens a tracker."""

    folder: pathlib.Path  # the workdir
    identity: str  # the same in every launch of the run, and no other run's
    group: str  # the name of the sweep; "": none
    project: str
    config: dict[str, Any]
    first_step: int  # updates that earlier launches have done

    @property
    def name(self) -> str:
        """The name of the workdir, shortened."""
        return self.folder.name[:100]


class Tracker(Protocol):
    """An open log of a run. Any method may raise an error."""

    def log(self, rows: Sequence[Row]) -> None:
        """Adds rows, at least one, of one step; a later call may add others of the same step."""

    def flush(self) -> None:
        """Hands on what was logged so far, as far as the tracker can."""

    def close(self, complete: bool) -> None:
        """Ends the log. `complete`: the run has its result; otherwise it may be resumed."""


class Kind(NamedTuple):
    """A tracker that a run can choose by its name, which is that of the extra as well.

    package: what has to be installed. open: makes the tracker; only then the package is imported.
    rewinds: opened, it drops what was logged after `first_step`. Others keep such rows, and are not
    given them again.
    """

    package: str
    open: Callable[[Launch], Tracker]
    rewinds: bool

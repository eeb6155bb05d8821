"""Trackers, which a run may log to beside metrics.jsonl: `log.trackers` names them.

metrics.jsonl is the source of truth. A tracker gets the same rows, and never ends a run.
"""

import importlib.util
from collections.abc import Sequence

from plasticity.commands import install
from plasticity.experiments.trackers.tensorboard import TENSORBOARD
from plasticity.experiments.trackers.tracker import Kind
from plasticity.experiments.trackers.trackio import TRACKIO
from plasticity.experiments.trackers.wandb import WANDB

TRACKERS: dict[str, Kind] = {"tensorboard": TENSORBOARD, "trackio": TRACKIO, "wandb": WANDB}


def missing(names: Sequence[str]) -> str:
    """Says which of these trackers are not installed, and how to install them; "": all are."""
    absent = [n for n in names if importlib.util.find_spec(TRACKERS[n].package) is None]
    return f"needs the extra `{','.join(absent)}`: {install(','.join(absent))}" if absent else ""

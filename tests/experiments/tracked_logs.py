"""Two launches of a run that log to a tracker, and readers of what the trackers wrote."""

import collections
import json
import math
import pathlib
import sqlite3
import struct

from plasticity.experiments.run.metrics import MetricsLog
from plasticity.experiments.run.tracked import Guarded
from plasticity.experiments.trackers.tracker import Launch

PROJECT = "two_launches"
CONFIG = {"seed": 3, "rule": {"name": "hebbian"}}


def log_two_launches(name, folder):
    """The first launch is killed at step 6, after a checkpoint of step 4; the second ends at 8."""
    folder = pathlib.Path(folder)
    for first_step, steps in ((0, (2, 4, 6)), (4, (6, 8))):
        log = MetricsLog(folder / "metrics.jsonl", first_step, [3, 4])
        launch = Launch(folder, "abc123abc123", "the_sweep", PROJECT, CONFIG, first_step)
        log.attach([Guarded(name, launch, log.told)])
        validation = {"validation": [{"loss": 0.5}, {"loss": 0.25}]}
        if first_step:  # the kill came between a checkpoint and its validation
            log.write(first_step, **validation)
        for step in steps:
            log.write(step, train=[{"loss": 1 / step}, {"loss": math.nan}])
        if first_step:
            log.write(8, **validation)
            log.result(8, test={"recall": 0.75}, test_off={"recall": 0.125})
        log.close(complete=bool(first_step))


def found(rows):
    """{(metric, step): values} of (step, {metric: value}), in the order in which they came."""
    by_name = collections.defaultdict(list)
    for step, scalars in rows:
        for name, value in scalars.items():
            by_name[name, step].append(value)
    return dict(by_name)


def read_trackio(folder):
    """(found, (name, config) of the runs) in the database of a TRACKIO_DIR."""
    with sqlite3.connect(folder / f"{PROJECT}.db") as database:
        rows = database.execute("select step, metrics from metrics order by id").fetchall()
        runs = database.execute("select run_name, config from configs").fetchall()
    return found((step, json.loads(text)) for step, text in rows), [
        (name, json.loads(text)) for name, text in runs
    ]


def read_wandb(folder):
    """(found, records of the runs) in the files of W&B under a folder, the oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, runs = [], []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in _level_db(path.read_bytes()):
            record = Record.FromString(data)
            if record.HasField("run"):
                runs.append(record.run)
            if record.HasField("history"):
                items = record.history.item
                row = {(*i.nested_key, i.key)[0]: json.loads(i.value_json) for i in items}
                rows.append((row.pop("step"), row))
    return found(rows), runs


def _level_db(log):
    """The records of a file of LevelDB: pieces with a header of 7 bytes, in blocks of 32 kB."""
    place, record = 7, b""  # after the header of the file
    while place + 7 <= len(log):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", log[place : place + 7])
        record += log[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def read_tensorboard(folder):
    """(found, steps from which later launches drop what was logged) in the files of TensorBoard."""
    from tensorboardX.proto.event_pb2 import Event

    rows, dropped = [], []
    for path in sorted(folder.glob("tensorboard/events*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack("<Q", data[place : place + 8])
            event = Event.FromString(data[place + 12 : place + 12 + size])
            place += size + 16
            if event.HasField("session_log"):
                dropped.append(event.step)
            scalars = {
                v.tag: v.simple_value for v in event.summary.value if not v.HasField("tensor")
            }
            rows.append((event.step, scalars))
    return found(rows), dropped

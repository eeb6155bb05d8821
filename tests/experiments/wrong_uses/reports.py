"""Wrong uses of `report` and `analysis`."""

import json
import os
import pathlib
from collections.abc import Callable

from plasticity.experiments.run.result import PARTS
from tests.experiments.run_folders import edit, make_run
from tests.experiments.wrong_uses.case import Case

GARBAGE = "garbage"


def damaged(name: str, content: str | bytes = GARBAGE):
    """A setup: one run, whose file of this name holds `content`."""

    def setup(tmp: pathlib.Path) -> None:
        path = make_run(tmp / "runs" / "a", seeds=1) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return setup


def changed(name: str, change: Callable[[dict], None]):
    """A setup: one run, whose JSON file of this name was changed."""

    def setup(tmp: pathlib.Path) -> None:
        edit(make_run(tmp / "runs" / "a", seeds=1) / name, change)

    return setup


def without(name: str):
    """A setup: one run, which lacks a file."""

    def setup(tmp: pathlib.Path) -> None:
        (make_run(tmp / "runs" / "a", seeds=1) / name).unlink()

    return setup


def a_folder_in_place_of(name: str):
    """A setup: one run, in which a folder has the name of a file."""

    def setup(tmp: pathlib.Path) -> None:
        path = make_run(tmp / "runs" / "a", seeds=1) / name
        path.unlink()
        path.mkdir()

    return setup


def a_pipe_in_place_of(name: str):
    """A setup: one run, in which a named pipe has the name of a file."""

    def setup(tmp: pathlib.Path) -> None:
        path = make_run(tmp / "runs" / "a", seeds=1) / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return setup


def an_output(name: str):
    """A setup: one run, and something that has the name of an output."""

    def setup(tmp: pathlib.Path) -> None:
        make_run(tmp / "runs" / "a", seeds=1)
        (tmp / name).mkdir()

    return setup


def nothing(tmp: pathlib.Path) -> None:
    """A setup: an empty folder."""
    (tmp / "runs").mkdir()


def a_run(tmp: pathlib.Path) -> None:
    """A setup: one run, of which there are no checkpoints."""
    make_run(tmp / "runs" / "a", seeds=1)


def prototypical(config: dict) -> None:
    """Changes a config to one of a prototypical network."""
    config["model"], config["rule"]["name"] = {"name": "prototypical"}, "none"


RUNS, OUT, RUN = "--runs={tmp}/runs", "--out={tmp}/report.html", "--run={tmp}/runs/a"
STALE = json.dumps({"step": 20, "events": ["a"], "seeds": []})
NO_METRICS = json.dumps({"step": 60, "events": ["a"], "seeds": [{"seed": 0, "metrics": None}]})

CASES = [
    Case("report", (), r"--runs is missing"),
    Case("report", (RUNS,), r"--out is missing", setup=a_run),
    Case("report", (RUNS, "--out="), r"--out is missing", setup=a_run),
    Case("report", (RUNS, OUT), r"--runs=.*/runs does not exist"),
    Case(
        "report", (RUNS, OUT), r"--runs=.*/runs holds no finished run:\n  no folder", setup=nothing
    ),
    Case("report", ("--runs={tmp}/runs/a/config.json", OUT), r"is a file, not a f", setup=a_run),
    Case("report", ("--runs=gs://bucket/x", OUT), r"--runs=gs://bucket/x (needs|must be)"),
    Case("report", ("--runs=http://x/y", OUT), r"--runs=http://x/y must be a local folder"),
    Case("report", (RUNS, OUT), r"a is not finished.*To resume it", setup=without("result.json")),
    Case("report", (RUNS, OUT), r"a/config\.json cannot be read", setup=without("config.json")),
    Case("report", (RUNS, OUT), r"a/result\.json is empty", setup=damaged("result.json", "")),
    Case(
        "report", (RUNS, OUT), r"result\.json is not JSON", setup=damaged("result.json", b"\0" * 9)
    ),
    Case(
        "report",
        (RUNS, OUT),
        r"result\.json has no field 'metrics",
        setup=damaged("result.json", "{}"),
    ),
    Case(
        "report",
        (RUNS, OUT),
        r"result\.json holds no JSON object, but \[1\]",
        setup=damaged("result.json", "[1]"),
    ),
    Case("report", (RUNS, OUT), r"result\.json cannot", setup=a_folder_in_place_of("result.json")),
    Case(
        "report", (RUNS, OUT), r"config\.json is not UTF-8", setup=damaged("config.json", b"\xff{}")
    ),
    Case(
        "report",
        (RUNS, OUT),
        r"result\.json: metrics\.recall_accuracy\.mean='nan' has the wrong type",
        setup=changed("result.json", lambda r: r["metrics"]["recall_accuracy"].update(mean="nan")),
    ),
    Case(
        "report",
        (RUNS, OUT),
        r"result\.json: metrics=None",
        setup=changed("result.json", lambda r: r.update(metrics=None)),
    ),
    Case("report", (RUNS, OUT), r"report\.html", setup=an_output("report.html")),
    Case("report", (RUNS, OUT), r"report_files, which exists", setup=an_output("report_files")),
    Case("report", (RUNS, OUT), r"not a regular", setup=a_pipe_in_place_of("result.json")),
    Case("report", (RUNS, OUT), r"not a regular", setup=a_pipe_in_place_of("config.json")),
    Case(
        "report",
        (RUNS, OUT),
        r"result\.json: seeds holds a seed twice",
        setup=changed(
            "result.json",
            lambda r: r.update(seeds=[{k: r[k] for k in ("seed", *PARTS.values())}] * 2),
        ),
    ),
    Case(
        "report",
        (RUNS, OUT),
        r"result\.json has no field 'metrics\.x'",
        setup=changed("result.json", lambda r: r.update(main_metric="x")),
    ),
    Case("report", ("--runs={tmp}/" + "x" * 300, OUT), r"--runs=.* File name too long"),
    Case("analysis", ("--run=" + "x" * 300,), r"--run=x.* File name too long"),
    Case("analysis", ("--run=http://x/y",), r"--run=http://x/y must be a local folder"),
    Case("analysis", (RUN,), r"analysis.*not a regular", setup=a_pipe_in_place_of("analysis.json")),
    Case("analysis", (RUN,), r"must be a folder", setup=a_pipe_in_place_of("checkpoints")),
    Case("analysis", (), r"--run is missing"),
    Case("analysis", ("--run={tmp}/nowhere",), r"--run=.*/nowhere is no run"),
    Case("analysis", ("--run={tmp}/runs",), r"--run=.*/runs is no run", setup=a_run),
    Case("analysis", (RUN,), r"a is not finished", setup=without("result.json")),
    Case("analysis", (RUN,), r"a/checkpoints holds no checkpoint", setup=a_run),
    Case("analysis", (RUN,), r"a/analysis\.json is not JSON", setup=damaged("analysis.json")),
    Case("analysis", (RUN,), r"after step 60", setup=damaged("analysis.json", STALE)),
    Case("analysis", (RUN,), r"metrics=None", setup=damaged("analysis.json", NO_METRICS)),
    Case("analysis", (RUN,), r"a/result\.json", setup=damaged("result.json", "")),
    Case("analysis", (RUN,), r"a/result\.json", setup=damaged("result.json", '{"steps": null}')),
    Case("analysis", (RUN,), r"a/config\.json", setup=damaged("config.json", '{"seed": ')),
    Case(
        "analysis",
        (RUN,),
        r"rule\.name='none'",
        setup=changed("config.json", lambda c: c["rule"].update(name="none")),
    ),
    Case("analysis", (RUN,), r"prototypical", setup=changed("config.json", prototypical)),
    Case(
        "analysis",
        (RUN,),
        r"rule\.eta0",
        setup=changed("config.json", lambda c: c["rule"].update(eta0=-1.0)),
    ),
]

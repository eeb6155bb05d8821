"""Workdirs that `launch` refuses to train or evaluate in. No case trains."""

import json
import os
import pathlib
from collections.abc import Callable

from plasticity.experiments.run.workdir import Workdir
from tests.experiments.wrong_uses.case import Case
from tests.launching import arguments, tiny_config

SHORT = {"train.steps": 6, "log.every": 2, "evaluate.every": 4}  # the config of `arguments`


def started(*damages):
    """The folder `run` of a run that was killed at once, to which the damages are done."""

    def setup(tmp: pathlib.Path) -> None:
        (tmp / "run").mkdir()
        Workdir(str(tmp / "run")).open(tiny_config(**SHORT))
        for damage in damages:
            damage(tmp / "run")

    return setup


def write(name: str, text: str | bytes | None):
    """The file `name` holds `text`; None: there is a folder in its place."""

    def damage(folder: pathlib.Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if text is None:
            path.mkdir()
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


def change(section: str, **fields):
    """The config of the run has other settings."""

    def damage(folder: pathlib.Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config[section] |= fields
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def replace(field: str, value: object):
    """The config of the run has another value, or another field."""

    def damage(folder: pathlib.Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {field: value}))

    return damage


def special(name: str, make: Callable[[pathlib.Path], object]):
    """There is no file, but what `make` puts in its place."""

    def damage(folder: pathlib.Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)

    return damage


def nowhere(path: pathlib.Path) -> None:
    path.symlink_to("/unmounted/file")


def itself(path: pathlib.Path) -> None:
    path.symlink_to(path.name)


def endless(path: pathlib.Path) -> None:
    path.symlink_to("/dev/zero")


def link(folder: pathlib.Path) -> None:
    os.symlink(folder / "nowhere", folder / "link")


def case(says: str, *damages, flags: tuple[str, ...] = (), workdir: str = "{tmp}/run") -> Case:
    command = ("launch", tuple(arguments(workdir, *flags)), says)
    return Case(*command, setup=started(*damages))


ROW = '{"step": 2, "split": "train"}\n'
EVALUATE = ("--mode=evaluate",)
SCORES = {"loss": {"mean": 1.0, "ci95": 0.1, "n": 4}}
RESULT = {"seed": 0, "steps": 6, "metrics": SCORES, "metrics_plasticity_off": SCORES}
CASES = [
    case("run/config.json is empty", write("config.json", "")),
    case("run/config.json is not JSON", write("config.json", '{"seed": 0, "rule"')),
    case("run/config.json holds no JSON object, but \\[\\]", write("config.json", "[]")),
    case("run/config.json is not UTF-8", write("config.json", b"\xff\xfe")),
    case("run/config.json cannot be read: Is a directory", write("config.json", None)),
    case("run/config.json has no field 'rule'", write("config.json", '{"task": {}, "model": {}}')),
    case("task.name='copyin' is unknown: did you mean 'copying'", change("task", name="copyin")),
    case("train.batch: there 4, here 2", change("train", batch=4)),
    case("run/manifest.json is not JSON", write("manifest.json", "\0" * 100)),
    case(
        "run/metrics.jsonl, line 1 holds no JSON object, but None", write("metrics.jsonl", "null\n")
    ),
    case(
        "line 1: step='2' has the wrong type",
        write("metrics.jsonl", '{"step": "2", "split": "train"}\n'),
    ),
    case("metrics.jsonl, but its checkpoints are gone", write("metrics.jsonl", "")),
    case("run/result.json is empty", write("result.json", "")),
    case("run/result.json cannot be read: Is a directory", write("result.json", None)),
    case("result.json has no field 'metrics'", write("result.json", '{"seed": 0, "steps": 6}')),
    case("steps='6' has the wrong type", write("result.json", json.dumps(RESULT | {"steps": "6"}))),
    case("steps=True has the wrong type", change("train", steps=True)),
    case("train.steps=nan has the wrong type", change("train", steps=float("nan"))),
    case("task=\\[1\\] has the wrong type", replace("task", [1])),
    case("seed: there 1, here 0", replace("seed", 1)),
    case("extra: there 3, here None", replace("extra", 3)),
    case("run/config.json is not JSON: Unexpected UTF-8 BOM", write("config.json", "\ufeff{}")),
    case("run/config.json is not JSON: maximum recursion", write("config.json", "[" * 100_000)),
    case("run/config.json cannot be read: it is not a regular", special("config.json", os.mkfifo)),
    case("run/config.json cannot be read: No such file", special("config.json", nowhere)),
    case("run/config.json cannot be read: Too many levels", special("config.json", itself)),
    case("run/manifest.json cannot be read: it is not a reg", special("manifest.json", endless)),
    case("run/metrics.jsonl cannot be read: it is not a reg", special("metrics.jsonl", os.mkfifo)),
    case("run/result.json cannot be read: No such file", special("result.json", nowhere)),
    case("run/checkpoints is a file", special("checkpoints", os.mkfifo)),
    case("checkpoints/2 is no part of a checkpoint", write("checkpoints/2", "mine")),
    case("checkpoints/2/clock is no part of", special("checkpoints/2/clock", os.mkfifo)),
    case("checkpoints/² is no part of", write("checkpoints/²/x", "")),
    case("run cannot be locked", special(".lock", os.mkfifo)),
    case("run cannot be locked", write(".lock", None)),
    case("less than the 900 steps", write("checkpoints/900/x", "")),
    case("run/checkpoints is a file", write("checkpoints", "x")),
    case("holds checkpoints-damaged, but its check", write("checkpoints-damaged/4-0.txt", "x")),
    case(
        "train.steps=4 is less than the 6 steps",
        write("result.json", json.dumps(RESULT)),
        flags=("--config.train.steps=4",),
    ),
    case(
        "train.steps=9 cannot extend the run of train.steps=6",
        change("train", schedule="cosine"),
        write("result.json", json.dumps(RESULT)),
        flags=("--config.train.steps=9", "--config.train.schedule=cosine"),
    ),
    case(
        "run/sub holds files but no config.json, so it is not a run.s: x",
        write("sub/x", ""),
        workdir="{tmp}/run/sub",
    ),
    case("config.json is a file, not a folder", workdir="{tmp}/run/config.json"),
    case("config.json is a file, not a folder", workdir="{tmp}/run/config.json/below/"),
    case("link is a link to .*nowhere, which does not exist", link, workdir="{tmp}/run/link"),
    case("File name too long", workdir="{tmp}/" + "a" * 300),
    case("~nobody-here is no user", workdir="~nobody-here/run"),
    case("holds no checkpoint yet", flags=EVALUATE),
    case("holds no run: there is no config.json", flags=EVALUATE, workdir="{tmp}/other"),
    case("run/config.json is empty", write("config.json", ""), flags=EVALUATE),
    case("run/config.json: train.batch=-1", change("train", batch=-1), flags=EVALUATE),
    case("run/checkpoints is a file", write("checkpoints", "x"), flags=EVALUATE),
    case("model.heads=1, but the net", flags=(*EVALUATE, "--config.model.heads=1")),
    case("config.json is a file", flags=EVALUATE, workdir="{tmp}/run/config.json"),
]

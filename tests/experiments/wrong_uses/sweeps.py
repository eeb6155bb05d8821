"""Sweeps and reproductions that are asked for in a wrong way, or meet damaged files."""

import os
import pathlib

from plasticity.experiments.sweeps.points import Point
from tests.experiments.wrong_uses.case import Case

CONFIG = """
from plasticity.configs.algebra import over, product, zip_
from plasticity.configs.copying import get_config

def strings(): return ["rule.eta0"]
def mapping(): return {"seed": [1, 2]}
def endless(): return ({"seed": i} for i in __import__("itertools").count())
def lists(): return [{"task.delay": [1, 2]}]
def section(): return [{"task": {"delay": 1}}]
def nothing_set(): return [{"train.steps": None}]
def nothing(): return None
def empty(): return []
def blank(): return [{}]
def wants(count): return over("seed", range(count))
def fails(): return [1 / 0]
def bad_zip(): return zip_(over("seed", [0, 1]), over("task.delay", [2]))
def twice(): return product(over("rule.eta0", [0.1]), over("rule.eta0", [0.2]))
def unknown(): return over("rule.eta", [0.1])
def typed(): return over("train.steps", ["many"])
def delays(): return over("task.delay", [1, 2])
"""


def config_file(tmp: pathlib.Path) -> None:
    (tmp / "mine.py").write_text(CONFIG)


def damaged_points(tmp: pathlib.Path) -> None:
    """Both points of a sweep over two delays."""
    for delay in (1, 2):
        point = Point("configs/copying.py", "", {"task.delay": delay}, {}, tmp / "sweep")
        point.workdir.mkdir(parents=True)
        (point.workdir / "result.json").write_text("null")


def pipes_for_results(tmp: pathlib.Path) -> None:
    """Both points of a sweep over two delays: reading a named pipe waits for its writer."""
    damaged_points(tmp)
    for path in list(tmp.rglob("result.json")):
        path.unlink()
        os.mkfifo(path)


def file_as_logs(tmp: pathlib.Path) -> None:
    (tmp / "sweep").mkdir()
    (tmp / "sweep" / "logs").write_text("notes")


def file_as_folder(tmp: pathlib.Path) -> None:
    (tmp / "sweep").write_text("notes")


def _sweep(*args: str, says: str, **further) -> Case:
    config = () if any(arg.startswith("--config=") for arg in args) else (
        "--config=configs/copying.py",
    )  # fmt: skip
    return Case("sweep", (*config, "--workdir={tmp}/sweep", *args), says, **further)


def _over(values: str, says: str, *args: str) -> Case:
    return _sweep(f"--sweep_over=config.{values}", *args, says=says)


def _mine(sweep: str, says: str, *args: str) -> Case:
    given = ("--config={tmp}/mine.py", f"--sweep={sweep}", *args)
    return _sweep(*given, says=says, setup=config_file)


def _reproduce(*args: str, says: str, **further) -> Case:
    return Case("reproduce", ("--preset=full", "--workdir={tmp}/sweep", *args), says, **further)


CASES = [
    Case("sweep", ("--config=configs/copying.py", "--sweep=rules"), "--workdir is missing"),
    _sweep(says="--sweep or --sweep_over is missing"),
    _over("train.learning_rate=.001:.01", "must be FIRST:END or FIRST:END:STEP in integers"),
    _over("task.delay=0:10:0", "'0:10:0' must be FIRST:END or FIRST:END:STEP"),
    _over("task.delay=0:1:2:3", "must be FIRST:END or FIRST:END:STEP"),
    _over("task.delay=:3", "':3' must be FIRST:END"),
    _over("task.delay=a:b", "'a:b' must be FIRST:END"),
    _over("task.delay=5:5", "'5:5' is empty: END is not included"),
    _over("task.delay=5:1", "'5:1' is empty"),
    _over("seed=0:1000000000000", "more than 10000 values"),
    _over("seed=0:5000", "the sweep has more than 10000 points", "--sweep=attention"),
    _over("task.delay=", "a value is empty"),
    _over("task.delay=1,2,", "a value is empty"),
    _over("task.delay=1,two", "task.delay='two' must be an integer"),
    _over("task.delay=None", "task.delay='None' must be an integer"),
    _over("train.learning_rate=.001,nan", "point train.learning_rate=nan: .*learning_rate=nan"),
    _over("train.learning_rate=.001,-1", "point train.learning_rate=-1.0: .*greater than 0"),
    _over("rule.modulated=true,maybe", "rule.modulated='maybe' must be True or False"),
    _over("rule.name=hebbian,hebian", "point rule.name=hebian: .*did you mean 'hebbian'"),
    _over("model.plastic=feed_forward,attention,head", "semicolons separate its values"),
    _over("curriculum.stages=1,2", "semicolons separate its values"),
    _over("curriculum.metrics=accuracy,loss", "semicolons separate its values"),
    _over("model=rnn", "config.model is a section"),
    _over("rule.eta=1", "did you mean config.rule.eta0"),
    _over(
        "model.name=rnn,lstm",
        "point model.name=rnn: config.model.feed_forward is not a field .*'transformer'",
        "--config.model.feed_forward=8",
    ),
    _sweep(
        "--sweep_over=task.delay=1",
        says="did you mean config.task.delay=1",
    ),
    _over("train.warmup=1,2", "train.warmup is varied twice", "--sweep_over=config.train.warmup=3"),
    _over("rule.name=none", "rule.name is varied twice", "--sweep=rules"),
    _over(
        "rule.name=hebbian,none",
        "point rule.name=none,rule.eta0=0.1: .*rule.eta0 .* of rule.name='hebbian' or",
        "--sweep_over=config.rule.eta0=.1",
    ),
    _over("seed=1,2", "--config.seed is what the sweep varies", "--config.seed=3"),
    _over("seed=0:3", "share seed=1.*config.seed=0:4:2", "--config.train.num_seeds=2"),
    _over("seed=0:2", "--only=abc is the hash of none of the 2 points", "--only=abc"),
    _over("seed=0:2", "'x' must be NAME=VALUE", "--executor_options=x"),
    _over("seed=0:2", "argument 'cpus'; 'local' takes none", "--executor_options=cpus=1"),
    _over("seed=0:2", r"--executor=ray needs .*pip install -e '.\[ray\]'", "--executor=ray"),
    _over("seed=0:2", "--workers=two", "--workers=two"),
    _over("seed=0:2", "--retries=-1", "--retries=-1"),
    _over("seed=0:2", "--together=-1", "--together=-1"),
    _sweep("--sweep=rule", says="--sweep=rule is unknown: did you mean 'rules'"),
    _sweep(
        "--sweep=get_config", says="--sweep=get_config is not a sweep, a function without arguments"
    ),
    _sweep("--sweep=rules", says="sweep is a file, not a folder", setup=file_as_folder),
    _sweep(
        "--config=configs/encoder.py", "--sweep=rules", says="point rule.name=.* must be 'none'"
    ),
    _sweep(
        "--sweep_over=config.task.delay=1,2",
        says="no point can be run: .*task.delay=1,.*result.json",
        setup=damaged_points,
    ),
    _sweep(
        "--sweep_over=config.task.delay=1,2",
        says="no point can be run: .*result.json cannot be read: it is not a regular file",
        setup=pipes_for_results,
    ),
    _sweep("--sweep=rules", says="logs is a file, not a folder", setup=file_as_logs),
    _over("seed=0:2", "--workers=99999 must be an integer in the range", "--workers=99999"),
    _over("seed=0:2", "'workers'; 'local' takes none", "--executor_options=workers=2"),
    _over("seed=2147483647:2147483649", "point seed=2147483648: .*at most 2147483647"),
    _over("rule.eta0=1:3:0.5", "must be FIRST:END or FIRST:END:STEP in integers"),
    _over("rule.name=none:hebbian", "rule.name='none:hebbian' is unknown"),
    _over("train.num_seeds=1,2", "share seed=0"),
    _sweep("--sweep_over=", says="--sweep_over= must be config.FIELD=VALUE"),
    _mine("mapping", "--sweep=mapping failed .*A sweep returns a list"),
    _mine("endless", "more than 10000 points"),
    _mine("lists", "--sweep=lists failed"),
    _mine("section", "--sweep=section failed|config.task is a section"),
    _mine("nothing_set", "point train.steps=None: "),
    _mine("strings", "--sweep=strings failed .*A sweep returns a list of {field: value}"),
    _mine("nothing", "--sweep=nothing failed .*A sweep returns a list of {field: value}"),
    _mine("empty", "varies no field"),
    _mine("blank", "varies no field"),
    _mine("wants", "--sweep=wants is not a sweep, a function without arguments"),
    _mine("product", "--sweep=product is not a sweep, a function without arguments"),
    _mine("fails", "--sweep=fails failed with ZeroDivisionError: division by zero"),
    _mine("bad_zip", "--sweep=bad_zip failed .*lengths differ"),
    _mine("twice", "--sweep=twice failed .*rule.eta0 is varied twice"),
    _mine("unknown", "point rule.eta=0.1: .*did you mean config.rule.eta0"),
    _mine("typed", "point train.steps=many: .*train.steps='many' must be of type int"),
    _mine("delay", "--sweep=delay is unknown: did you mean 'delays'"),
    Case("reproduce", ("--workdir={tmp}/x",), "--preset is missing"),
    Case("reproduce", ("--preset=full",), "--workdir is missing"),
    _reproduce("--tasks=copyng", says="--tasks=copyng is unknown: did you mean 'copying'"),
    _reproduce("--features=mnist:x.npz", says="must be DATASET:FILE, DATASET one of"),
    _reproduce("--features=omniglot:nothere.npz", says="there is no such file"),
    _reproduce("--tasks=", says="--tasks= names no task"),
    _reproduce("--workers=-1", says="--workers=-1 must be an integer in the range"),
    _reproduce("--tasks=copying", "--workers=2", says="logs is a file", setup=file_as_logs),
    _reproduce("--budget=huge", says="--budget=huge"),
    _reproduce("--tasks=copying", "--only=abc", says="--only=abc is the hash of none"),
    _reproduce("--config.train.steps=3", says="--config.train.steps"),
    _reproduce("--tasks=copying", says="sweep is a file, not a folder", setup=file_as_folder),
]

"""A sweep runs every point once, resumes where it was, and reports every failure."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import jax
import pytest

from plasticity.checks import PlasticityError
from plasticity.configs import copying
from plasticity.configs.algebra import chain, over, product, seeds, zip_
from plasticity.configs.sweeps import architectures
from plasticity.experiments.commandline import GivenConfig
from plasticity.experiments.configfile import load_config
from plasticity.experiments.sweeps import together
from plasticity.experiments.sweeps.overrides import points_of_sweep, values_of
from plasticity.experiments.sweeps.points import Failure, Point, check, select, worker_code
from plasticity.experiments.sweeps.schedule import Schedule, in_batches, worker_command
from plasticity.experiments.sweeps.together import run_all
from plasticity.experiments.validate import ConfigError
from plasticity.rules import feed_forward
from tests.conftest import ROOT

TINY = [
    "--config=configs/regression.py",
    "--config.model.width=8",
    "--config.model.feed_forward=8",
    "--config.model.heads=2",
    "--config.model.layers=1",
    "--config.memory.engine=dense",
    "--config.task.k_support=3",
    "--config.task.k_query=2",
    "--config.train.batch=2",
    "--config.train.steps=2",
    "--config.train.warmup=1",
    "--config.evaluate.episodes=4",
    "--config.evaluate.batch=2",
]


def test_algebra():
    a, b = over("x", [1, 2]), over("y", "ab")
    assert product(a, b) == [{"x": x, "y": y} for x in (1, 2) for y in "ab"]
    assert product(a) == a
    assert product() == [{}]
    assert zip_(a, b) == [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
    assert chain(a, over("x", [2, 3])) == over("x", [1, 2, 3])
    assert seeds(3) == [{"seed": 0, "train.num_seeds": 3}]
    with pytest.raises(ValueError, match=r"points: lengths differ"):
        zip_(a, over("y", "abc"))
    with pytest.raises(ValueError, match="x is varied twice"):
        product(a, b, over("x", [3]))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=2:5", [2, 3, 4]),
        ("seed=0:10:4,7", [0, 4, 8, 7]),
        ("seed=3:0:-1", [3, 2, 1]),
        ("rule.name=none, hebbian", ["none", "hebbian"]),
        ("rule.eta0=1,.5,1e-3", [1.0, 0.5, 0.001]),
        ("rule.modulated=False,true", [False, True]),
        ("model.plastic=feed_forward;attention,head", ["feed_forward", "attention,head"]),
        ("model.plastic=head", ["head"]),
    ],
)
def test_values_of_a_flag(text, values):
    """Wrong ones are in wrong_uses/sweeps.py."""
    field = text.partition("=")[0]
    assert values_of(f"config.{text}", copying.get_config()) == (field, values)


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_point_runs_once(program, tmp_path):
    """Two points of one shape, which one worker runs."""
    args = ["sweep", *TINY, "--config.rule.name=none", f"--workdir={tmp_path}"]
    args += ["--sweep_over=config.train.learning_rate=.001,.01"]
    code, out, err = program(*args)
    assert code == 0, err + out
    rows = read(tmp_path / "results.csv")
    assert [row["train.learning_rate"] for row in rows] == ["0.001", "0.01"]
    assert all(float(row["query_mse"]) > 0 and float(row["query_mse_off"]) > 0 for row in rows)
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert logs.count("result: ") == 2
    before = (tmp_path / "results.csv").read_bytes()
    code, out, _ = program(*args)
    assert code == 0
    assert "2 of 2 points are complete" in out
    assert "started" not in out
    assert (tmp_path / "results.csv").read_bytes() == before


@pytest.mark.slow
def test_a_killed_worker_costs_no_point(tmp_path):
    args = [*TINY, "--config.train.steps=1500", "--config.checkpoint.every=20"]
    args += ["--config.rule.name=none", "--sweep_over=config.seed=0:2", f"--workdir={tmp_path}"]
    command = [sys.executable, "-u", "-m", "experiments.sweep", *args, "--workers=2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    victim = wait_for_worker(process.pid, tmp_path)
    os.kill(victim, signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert out.count("again: ") == 1
    assert "2 of 2 points complete" in out
    for table in ("results.csv", "seeds.csv"):
        assert [row["seed"] for row in read(tmp_path / table)] == ["0", "1"]


def wait_for_worker(parent, folder):
    """The process of a worker, once it has saved something."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(path.is_dir() for path in folder.glob("*/checkpoints/[0-9]*")):
            listed = subprocess.run(
                ["pgrep", "-P", str(parent)], capture_output=True, text=True, check=True
            )
            return int(listed.stdout.split()[0])
        time.sleep(0.02)
    raise AssertionError("no worker has saved anything")


@pytest.mark.thorough
def test_rates_do_not_recompile(tmp_path):
    """Points that differ in what enters as numbers share one compilation."""
    fixed = dict(flag.removeprefix("--config.").split("=") for flag in TINY[1:])
    engine = {"memory.engine": fixed.pop("memory.engine")}
    fixed = engine | {field: int(value) for field, value in fixed.items()}
    chosen = zip_(
        over("train.learning_rate", [0.001, 0.01, 0.1]),
        over("rule.eta0", [0.1, 0.2, 0.3]),
        over("seed", [0, 1, 2]),
    )
    points = [Point("configs/regression.py", "hebbian", p, fixed, tmp_path) for p in chosen]
    compiled = []

    def count(event, _, **__):
        compiled.append(event) if event.endswith("backend_compile_duration") else None

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        counts = []
        assert not run_all(points, lambda _: counts.append(len(compiled)))
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert counts[0] > 0
    assert counts == [counts[0]] * 3


def test_dry_run_prints_commands(program, tmp_path):
    """The commands of points are those that run them: model and rule behind the colon."""
    flags = ["--config=configs/copying.py", "--sweep=architectures", f"--workdir={tmp_path / 's'}"]
    code, out, _ = program("sweep", *flags, "--dry_run", "--config.train.steps=70")
    assert code == 0
    commands = [shlex.split(line) for line in out.splitlines()]
    assert len(commands) == len(architectures()) == 4 * len(feed_forward())
    assert f"--config=configs/copying.py:lstm/{feed_forward()[-1]}" in commands[-1]
    assert "--config.train.steps=70" in commands[-1]
    assert not (tmp_path / "s").exists()


def test_identity_is_of_the_resolved_config(tmp_path):
    def point(chosen, fixed):
        return Point("configs/regression.py", "none", chosen, fixed, tmp_path)

    plain = point({"seed": 1}, {})
    assert plain.identity == point({}, {"seed": 1}).identity
    assert plain.identity == point({"seed": 1, "train.batch": 64}, {}).identity
    assert plain.identity != point({"seed": 2}, {}).identity
    assert re.fullmatch(r"seed=1,[0-9a-f]{10}", plain.workdir.name)
    assert plain.identity == "d8b49907eb"  # whatever settings are added: old runs are found


@pytest.mark.parametrize("value", ["/data/a.npz", "../../a.npz", "a/..", "é" * 300, "a\n\0b", ".."])
def test_a_value_with_a_slash_leaves_the_folder_of_a_point_in_its_sweep(value, tmp_path):
    fields = {"task.features": value}, {"task.features": f"{value} "}
    folders = {Point("configs/omniglot.py", "none", f, {}, tmp_path).workdir for f in fields}
    assert {pathlib.Path(os.path.normpath(folder)).parent for folder in folders} == {tmp_path}
    assert len(folders) == 2
    for folder in folders:
        folder.mkdir()


def points_of(tmp_path, *sweep_over, file="configs/copying.py", given="", sweep="", **overrides):
    config = load_config(file, given or None)
    return points_of_sweep(GivenConfig(file, given, overrides, config), sweep, sweep_over, tmp_path)


def test_a_config_is_one_point_however_often_it_is_named(tmp_path):
    for over_rates in (".001,1e-3", ".001,.001,0.0010"):
        (point,) = points_of(tmp_path, f"config.train.learning_rate={over_rates}")
        assert point.name == "train.learning_rate=0.001"
    file = tmp_path / "mine.py"
    file.write_text(
        "from configs.copying import get_config\nimport numpy as np\n"
        "def both(): return [{'seed': 1}, {'task.delay': 3}, {'seed': 1, 'task.delay': 3}, {}]\n"
        "def again(): return [{'seed': np.int64(0)}, {}, {'task.delay': 20}]\n"
    )
    assert len(points_of(tmp_path, file=str(file), sweep="both")) == 4
    assert [point.name for point in points_of(tmp_path, file=str(file), sweep="again")] == [
        "seed=0"
    ]


@pytest.mark.parametrize(
    ("config", "before"),
    [
        ("configs/copying.py:lstm/gradient", "lstm"),
        ("configs/paper.py", "copying"),
        ("configs/paper.py:regression", "regression"),
        ("configs/duan.py:mlp/lstm", "mlp/lstm"),
    ],
)
def test_the_argument_of_a_config_selects_the_rule(config, before, tmp_path):
    """Also where it names a task, too, or lacks what the file has a default for."""
    file, _, given = config.partition(":")
    points = points_of(tmp_path, file=file, given=given, sweep="rules")
    assert [point.argument for point in points] == [f"{before}/{rule}" for rule in feed_forward()]
    check(points)


def test_a_file_whose_argument_is_no_rule_gets_the_rule_as_a_field(tmp_path):
    (point,) = points_of(tmp_path, "config.rule.name=none", file="configs/encoder.py")
    assert point.argument == ""
    assert point.config().rule.name == "none"  # without its images, which may not be there


def test_a_hundred_points_are_checked_in_seconds(tmp_path):
    start = time.monotonic()
    check(points_of(tmp_path, "config.task.delay=0:10", "config.seed=0:10"))
    assert time.monotonic() - start < 20


METRIC = {"loss": {"mean": 1.234567, "ci95": 0.0512, "n": 4}}
RESULT = {"seed": 0, "train_episodes": 8, "metrics": METRIC, "metrics_plasticity_off": METRIC}


def finished_sweep(folder, results):
    """A sweep over as many seeds as there are contents of result.json."""
    for seed, text in enumerate(results):
        point = Point("configs/copying.py", "", {"seed": seed}, {}, folder)
        point.workdir.mkdir(parents=True)
        (point.workdir / "result.json").write_text(text)
    return ["sweep", "--config=configs/copying.py", f"--sweep_over=config.seed=0:{len(results)}",
            f"--workdir={folder}"]  # fmt: skip


def test_a_finished_sweep_writes_its_tables_again(program, tmp_path):
    """Also where something else has their names, which is kept."""
    args = finished_sweep(tmp_path, [json.dumps(RESULT | {"seed": seed}) for seed in (0, 1)])
    (tmp_path / "results.csv").mkdir()
    (tmp_path / "seeds.csv").write_text("name,mark\nme,1\n")
    code, out, err = program(*args)
    assert code == 0, err
    assert [row["seed"] for row in read(tmp_path / "results.csv")] == ["0", "1"]
    assert len(read(tmp_path / "seeds.csv")) == 2
    assert (tmp_path / "results.csv.kept-1").is_dir()
    assert (tmp_path / "seeds.csv.kept-1").read_text().startswith("name,mark")
    header, first, _ = [line for line in out.splitlines() if line[:4] in ("loss", "1.23")]
    assert header.split() == ["loss", "plasticity", "off", "seed"]
    assert first.split("  ")[0] == "1.23 +- 0.051"
    assert f"experiments.report --runs={tmp_path}" in out


DAMAGED = ["", "null", "[]", "\0" * 40, json.dumps(RESULT)[:60], '{"seed": 0}',
           json.dumps(RESULT | {"metrics": {"loss": 3}}), json.dumps(RESULT | {"metrics": {}}),
           json.dumps(RESULT | {"seeds": [1]}),
           json.dumps(RESULT | {"metrics": {"loss": {"mean": "x", "ci95": None}}})]  # fmt: skip


def test_damaged_results_are_listed_and_the_others_stand(program, tmp_path):
    args = finished_sweep(tmp_path, [json.dumps(RESULT), *DAMAGED])
    before = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    code, out, err = program(*args)
    assert code == 1
    assert "Traceback" not in out + err
    for seed in range(1, len(DAMAGED) + 1):
        assert re.search(rf"failed: .*/seed={seed},.*result.json", err), seed
    assert f"error: {len(DAMAGED)} of {len(DAMAGED) + 1} points failed" in err
    assert [row["loss"] for row in read(tmp_path / "results.csv")] == ["1.234567"]
    assert {path: path.read_bytes() for path in before} == before


def test_the_result_of_an_extended_run_is_not_that_of_its_point(tmp_path):
    (point,) = points_of(tmp_path, "config.train.steps=400")
    point.workdir.mkdir()
    for steps in (400, 800):
        (point.workdir / "result.json").write_text(json.dumps(RESULT | {"steps": steps}))
        assert point.complete == (steps == 400)


def test_a_point_that_raises_anything_does_not_end_the_others(tmp_path, monkeypatch):
    def broken(configs, paths, group):
        (config,) = configs
        if config.seed == 1:
            raise MemoryError("no room")
        return [PlasticityError("diverged") if config.seed else 0]

    monkeypatch.setattr(together, "train_together", broken)
    done = []
    failed = run_all(make_points(tmp_path, 3), done.append)
    assert [point.chosen["seed"] for point in done] == [0]
    assert [(why, lost) for _, why, lost in failed] == [
        ("MemoryError: no room", False), ("diverged", True)
    ]  # fmt: skip
    assert worker_code(failed[1:]) == 1
    assert worker_code(failed) == 2


class Script:
    """An executor that acts at once: `outcomes` of a point are used up try by try."""

    slots = 2

    def __init__(self, points, outcomes):
        self.points, self.outcomes, self.started = points, outcomes, []

    def start(self, command, log):
        code = 0
        self.started.append(command)
        for point in self.points:
            if point.identity in command:
                outcome = self.outcomes[point.chosen["seed"]].pop(0)
                if outcome == "preempted":
                    (point.workdir / "checkpoints" / str(len(self.started))).mkdir(parents=True)
                if outcome in ("killed", "preempted"):
                    return Done(-9)
                code = max(code, not outcome)
                if outcome:
                    point.workdir.mkdir(parents=True, exist_ok=True)
                    (point.workdir / "result.json").write_text(json.dumps(RESULT))
        return Done(code)


class Done:
    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code

    def stop(self):
        pass


def make_points(folder, count):
    file = str(pathlib.Path(ROOT) / "configs" / "regression.py")
    return [Point(file, "none", {"seed": seed}, {}, folder) for seed in range(count)]


def identities(points):
    return [point.identity for point in points]


def test_what_fails_is_tried_again_alone_and_then_given_up(tmp_path):
    points = make_points(tmp_path, 4)
    outcomes = [[True], [False, True], [False, False, False], [True]]
    executor, done = Script(points, outcomes), []
    schedule = Schedule(executor, identities, tmp_path / "logs", retries=2)
    failed = schedule.run(points, lambda point: done.append(point.chosen["seed"]))
    assert sorted(done) == [0, 1, 3]
    assert [point.chosen["seed"] for point, _, _ in failed] == [2]
    assert outcomes == [[], [], [], []]
    assert sorted(map(len, executor.started)) == [1, 1, 1, 2, 2]


def test_only_what_the_worker_says_of_a_point_is_held_against_it(tmp_path):
    """Python's exit code for any error, such as a missing package, is that of a divergence."""
    point, log = *make_points(tmp_path, 1), tmp_path / "log"
    for said, untrainable in (("ModuleNotFoundError", False), (Failure(point, "diverged"), True)):
        log.write_text(f"{point.command()}\n{said}\n")
        schedule = Schedule(Script([point], []), identities, tmp_path, retries=0)
        assert not schedule._may_try_again(point, 1, log)
        assert [one.untrainable for one in schedule._failed] == [untrainable]


def test_a_lost_worker_costs_a_try_only_where_it_was(tmp_path):
    """The points after it go on together."""
    points = make_points(tmp_path, 6)
    outcomes = [[True], ["killed", True], [True], [True], [True], [True]]
    executor, done = Script(points, outcomes), []
    Schedule(executor, identities, tmp_path / "logs", retries=1).run(points, done.append)
    assert len(done) == 6
    assert sorted(map(len, executor.started)) == [1, 1, 3, 3]


def test_a_preempted_worker_that_has_saved_costs_no_try(tmp_path):
    points = make_points(tmp_path, 1)
    outcomes = [["preempted"] * 5 + ["killed", True]]
    done = []
    schedule = Schedule(Script(points, outcomes), identities, tmp_path / "logs", retries=1)
    assert schedule.run(points, done.append) == []
    assert done == points
    outcomes = [["preempted", "killed", "killed", True]]
    again = make_points(tmp_path / "again", 1)
    schedule = Schedule(Script(again, outcomes), identities, tmp_path / "logs", retries=1)
    assert [failure.point for failure in schedule.run(again, done.append)] == again


def test_equal_points_of_two_studies_are_told_apart(tmp_path):
    """Each is tried as often, and a worker is told which of them is its own."""
    points = [*make_points(tmp_path / "one", 1), *make_points(tmp_path / "two", 1)]
    (name, other), command = identities(points), worker_command("reproduce", by_study=True)
    assert name == other
    assert [command([p])[-1] for p in points] == [f"--only=one/{name}", f"--only=two/{name}"]
    assert select(points, [f"two/{name}"]) == points[1:]
    assert select(points, [name]) == points
    with pytest.raises(ConfigError, match="--only= names no point"):
        select(points, [])
    schedule = Schedule(Script(points, []), identities, tmp_path, retries=1)
    assert all(schedule._may_try_again(point, 1, tmp_path / "log") for point in points)


def test_points_of_one_shape_go_together(tmp_path):
    points = make_points(tmp_path, 5)
    other = [
        dataclasses.replace(point, fixed={"model.width": 8}) for point in make_points(tmp_path, 1)
    ]
    assert [len(batch) for batch in in_batches(points + other, 1)] == [5, 1]
    assert [len(batch) for batch in in_batches(points + other, 2)] == [3, 2, 1]


def test_a_signal_stops_the_workers(tmp_path):
    class Endless(Done):
        def poll(self):
            return 143 if stopped else None

        def stop(self):
            stopped.append(self)

    class Executor(Script):
        def start(self, command, log):
            os.kill(os.getpid(), signal.SIGTERM)
            return Endless(0)

    stopped = []
    points = make_points(tmp_path, 1)
    schedule = Schedule(Executor(points, []), identities, tmp_path / "logs", 0)
    with pytest.raises(SystemExit) as caught:
        schedule.run(points, print)
    assert caught.value.code == 143
    assert len(stopped) == 1

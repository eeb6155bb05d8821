"""A sweep runs every point once, whatever happens, and says what came of it."""

import csv
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
from ml_collections import ConfigDict

from configs.algebra import chain, over, product, seeds, zip_
from configs.sweeps import architectures
from experiments.sweeps.overrides import values_of
from experiments.sweeps.points import InterruptedRunError, Point, run_all
from experiments.sweeps.schedule import Schedule, in_batches
from experiments.validate import ConfigError
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
    assert product(a, over("x", [3])) == over("x", [3, 3])
    assert zip_(a, b) == [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
    assert chain(a, over("x", [2, 3])) == over("x", [1, 2, 3])
    assert seeds(3) == [{"seed": 0, "train.num_seeds": 3}]
    with pytest.raises(ValueError, match=r"points: lengths differ"):
        zip_(a, over("y", "abc"))


def test_values_of_a_flag():
    config = ConfigDict({"seed": 0, "rule": {"name": "none", "eta0": 0.2, "modulated": True}})
    assert values_of("config.seed=2:5", config) == ("seed", [2, 3, 4])
    assert values_of("config.rule.name=a,b", config) == ("rule.name", ["a", "b"])
    assert values_of("config.rule.eta0=1,.5", config) == ("rule.eta0", [1.0, 0.5])
    assert values_of("config.rule.modulated=False", config) == ("rule.modulated", [False])
    for wrong, message in (
        ("config.rule.eta=1", "'rule.eta' is not a setting"),
        ("rule.eta0=1", "must be config.FIELD=VALUE"),
        ("config.seed", "must be config.FIELD=VALUE"),
        ("config.rule.eta0=x", "'x' must be of type float"),
    ):
        with pytest.raises(ConfigError, match=message):
            values_of(wrong, config)


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_point_runs_once(program, tmp_path):
    """Two points of one shape, which share a program, and one of another."""
    args = ["sweep", *TINY, "--sweep_over=config.rule.name=none,hebbian"]
    args += ["--sweep_over=config.train.learning_rate=.001,.01", f"--workdir={tmp_path}"]
    code, out, err = program(*args)
    assert code == 0, err + out
    rows = read(tmp_path / "results.csv")
    assert [(row["rule.name"], row["train.learning_rate"]) for row in rows] == [
        (rule, rate) for rule in ("none", "hebbian") for rate in ("0.001", "0.01")
    ]
    assert all(float(row["query_mse"]) > 0 and float(row["query_mse_off"]) > 0 for row in rows)
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert logs.count("result: ") == 4
    before = (tmp_path / "results.csv").read_bytes()
    code, out, _ = program(*args)
    assert code == 0
    assert "4 of 4 points are complete" in out
    assert "started" not in out
    assert (tmp_path / "results.csv").read_bytes() == before


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
        counts = [len(compiled) for _ in run_all(points, [])]
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert counts[0] > 0
    assert counts == [counts[0]] * 3


def test_every_point_is_checked_before_the_first_one_runs(program, tmp_path):
    flags = ["--config=configs/copying.py", f"--workdir={tmp_path / 'sweep'}"]
    for given, message in (
        (["--sweep=architectures", "--config.model.width=30"], "width"),
        (["--sweep=rules", "--config.rule.name=none"], "--config.rule.name is what the sweep"),
        (["--sweep=rule"], "--sweep='rule' is unknown: did you mean 'rules'"),
        ([], "--sweep or --sweep_over is missing"),
        (["--sweep_over=config.train.steps=60,-1"], "train.steps=-1 must be greater than 0"),
    ):
        code, _, err = program("sweep", *flags, *given)
        assert code == 2
        assert message in err
        assert not (tmp_path / "sweep").exists()


def test_dry_run_prints_commands(program, tmp_path):
    """The commands of points are those that run them: model and rule behind the colon."""
    flags = ["--config=configs/copying.py", "--sweep=architectures", f"--workdir={tmp_path / 's'}"]
    code, out, _ = program("sweep", *flags, "--dry_run", "--config.train.steps=70")
    assert code == 0
    commands = [shlex.split(line) for line in out.splitlines()]
    assert len(commands) == len(architectures()) == 12
    assert "--config=configs/copying.py:lstm/gradient" in commands[-1]
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
                if outcome == "killed":
                    return Done(-9)
                code = max(code, not outcome)
                if outcome:
                    point.workdir.mkdir(parents=True)
                    (point.workdir / "result.json").touch()
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


def test_what_fails_is_tried_again_alone_and_then_given_up(tmp_path):
    points = make_points(tmp_path, 4)
    outcomes = [[True], [False, True], [False, False, False], [True]]
    executor, done = Script(points, outcomes), []
    schedule = Schedule(executor, list, tmp_path / "logs", retries=2)
    schedule.run(points, lambda point: done.append(point.chosen["seed"]))
    assert sorted(done) == [0, 1, 3]
    assert [point.chosen["seed"] for point in schedule.failed] == [2]
    assert outcomes == [[], [], [], []]
    assert sorted(map(len, executor.started)) == [1, 1, 1, 2, 2]


def test_a_lost_worker_costs_a_try_only_where_it_was(tmp_path):
    """The points after it go on together."""
    points = make_points(tmp_path, 6)
    outcomes = [[True], ["killed", True], [True], [True], [True], [True]]
    executor, done = Script(points, outcomes), []
    Schedule(executor, list, tmp_path / "logs", retries=1).run(points, done.append)
    assert len(done) == 6
    assert sorted(map(len, executor.started)) == [1, 1, 3, 3]


def test_points_of_one_shape_go_together(tmp_path):
    points = make_points(tmp_path, 5)
    other = [point._replace(fixed={"model.width": 8}) for point in make_points(tmp_path, 1)]
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
    schedule = Schedule(Executor(points, []), list, tmp_path / "logs", 0)
    with pytest.raises(InterruptedRunError) as caught:
        schedule.run(points, print)
    assert caught.value.code == 143
    assert len(stopped) == 1

"""A sweep runs every point once, and says what came of it."""

import csv
import shlex

from configs.sweeps import architectures

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


def test_every_point_runs_once(program, tmp_path):
    args = ["sweep", *TINY, "--sweep=rules", f"--workdir={tmp_path}"]
    code, _, err = program(*args)
    assert code == 0, err
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rule.name"] for row in rows] == ["none", "hebbian", "gradient"]
    assert all(float(row["query_mse"]) > 0 and float(row["query_mse_off"]) > 0 for row in rows)
    before = (tmp_path / "results.csv").read_bytes()
    code, out, _ = program(*args)
    assert code == 0
    assert out.count("Nothing to do") == 3
    assert (tmp_path / "results.csv").read_bytes() == before


def test_every_point_is_checked_before_the_first_one_runs(program, tmp_path):
    flags = ["--config=configs/copying.py", f"--workdir={tmp_path / 'sweep'}"]
    wrong = "--config.model.width=30"  # not an option of the recurrent networks
    code, _, err = program("sweep", *flags, "--sweep=architectures", wrong)
    assert code == 2
    assert "width" in err
    assert not (tmp_path / "sweep").exists()
    code, _, err = program("sweep", *flags, "--sweep=rules", "--config.rule.name=none")
    assert code == 2
    assert "--config.rule.name is what the sweep varies" in err


def test_dry_run_prints_commands(program, tmp_path):
    """The commands of points are those that run them: model and rule behind the colon."""
    flags = ["--config=configs/copying.py", "--sweep=architectures", f"--workdir={tmp_path / 's'}"]
    code, out, _ = program("sweep", *flags, "--dry_run", "--config.train.steps=7")
    assert code == 0
    commands = [shlex.split(line) for line in out.splitlines()]
    assert len(commands) == len(architectures()) == 12
    assert "--config=configs/copying.py:lstm/gradient" in commands[-1]
    assert "--config.train.steps=7" in commands[-1]
    assert not (tmp_path / "s").exists()

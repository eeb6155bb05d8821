"""Trackers beside metrics.jsonl: what they get over two launches, and that none ends a run."""

import json

import pytest

from plasticity.configs.fields import where
from plasticity.configs.training import LogSettings
from plasticity.experiments.configfile import set_field
from plasticity.experiments.run import hosts
from plasticity.experiments.run.metrics import MetricsLog
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.run.tracked import open_log
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.trackers import TRACKERS
from plasticity.experiments.trackers.tracker import Kind, Row
from plasticity.experiments.validate import ConfigError, validate
from tests import programs
from tests.experiments import tracked_logs
from tests.launching import read, rows, tiny_config


class Recorder:
    """A tracker that remembers what it got, over all launches."""

    def __init__(self, launch):
        self.launches.append(launch)

    def log(self, rows):
        self.rows += rows

    def flush(self):
        pass

    def close(self, complete):
        self.closed.append(complete)


class Broken(Recorder):
    def log(self, rows):
        raise OSError("the server\nis gone")


@pytest.fixture
def recorder(monkeypatch):
    """In the place of trackio; in that of wandb stands a tracker that fails."""
    fresh = {"launches": [], "rows": [], "closed": []}
    kind = type("Fresh", (Recorder,), fresh)
    monkeypatch.setitem(TRACKERS, "trackio", Kind("json", kind, rewinds=False))
    broken = type("Fails", (Broken,), {"launches": [], "closed": []})
    monkeypatch.setitem(TRACKERS, "wandb", Kind("json", broken, rewinds=False))
    return kind


@pytest.mark.thorough
def test_a_run_goes_on_in_its_trackers_and_without_one_that_fails(recorder, tmp_path, capfd):
    fields = {"log__trackers": "wandb,trackio", "log__every": 2, "evaluate__every": 2}
    workdir = tmp_path / "run"
    assert train(tiny_config(train__steps=2, **fields), str(workdir), "the_sweep") == 0
    assert train(tiny_config(train__steps=4, **fields), str(workdir)) == 0

    err = capfd.readouterr().err
    assert err.count("wandb failed (OSError: the server is gone)") == 2  # once in each launch
    assert recorder.closed == [True, True]
    own = read(workdir / "trackers.json")
    assert own["group"] == "the_sweep"
    for launch, done in zip(recorder.launches, (0, 2), strict=True):
        assert (launch.folder, launch.first_step) == (workdir, done)
        assert (launch.identity, launch.group) == (own["id"], "the_sweep")
        assert launch.config["log"]["trackers"] == "wandb,trackio"

    logged = rows(workdir)
    assert [(row["step"], row["split"]) for row in logged] == [
        (2, "train"), (2, "validation"), (2, "validation_off"), (4, "train")
    ]  # fmt: skip
    same = [{"step": r.step, "split": r.split, **r.scalars} for r in recorder.rows]
    assert [row for row in same if not row["split"].startswith("test")] == logged
    for steps, name in ((2, "result-2.json"), (4, "result.json")):
        result = read(workdir / name)
        for split, part in (("test", "metrics"), ("test_off", "metrics_plasticity_off")):
            own = result[part]["recall_accuracy"]
            scalars = {"recall_accuracy": own["mean"], "recall_accuracy_ci95": own["ci95"]}
            assert Row(steps, split, None, scalars) in recorder.rows


def test_only_the_first_process_opens_trackers(recorder, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "primary", lambda: False)
    config = tiny_config(log__trackers="trackio")
    log = open_log(config, Workdir(str(tmp_path)), [0], 0)
    log.write(1, train=[{"loss": 1.0}])
    log.close(complete=True)
    assert not recorder.launches
    assert not list(tmp_path.iterdir())


def test_a_damaged_identity_is_refused_before_anything_is_compiled(tmp_path):
    workdir, config = Workdir(str(tmp_path)), tiny_config(log__trackers="trackio")
    workdir.open(config)
    workdir.trackers.write_text('{"id": 3}')
    with pytest.raises(DamagedFileError, match=r"trackers\.json: id=3"):
        workdir.check(config)


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_written(
    tmp_path, monkeypatch
):
    for name in ("trackio", "wandb"):
        monkeypatch.setitem(TRACKERS, name, TRACKERS[name]._replace(package="not_installed"))
    config = tiny_config(log__trackers="trackio,wandb")
    with pytest.raises(ConfigError, match=r"install -e '.\[trackio,wandb\]' in a clone"):
        train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trackers": "trackoi"}, "log.trackers='trackoi' is unknown: did you mean 'trackio'"),
        ({"trackers": "wandb,"}, "log.trackers='' is unknown: valid: tensorboard, trackio, wandb"),
        ({"trackers": "wandb, wandb"}, "names 'wandb' twice"),
        ({"project": ""}, "log.project='' must be 1 to 100 letters"),
        ({"project": "a/b"}, "log.project='a/b' must be"),
    ],
)
def test_wrong_settings_are_refused(fields, message):
    config = tiny_config(**{f"log__{name}": value for name, value in fields.items()})
    with pytest.raises(ConfigError) as raised:
        validate(config)
    assert message in str(raised.value)


def test_spaces_are_allowed_and_the_former_setting_says_what_it_is_now():
    assert LogSettings(trackers="tensorboard, wandb").names == ["tensorboard", "wandb"]
    message = r"log\.tensorboard is not a field .*: it is now log\.trackers=tensorboard"
    with pytest.raises(ConfigError, match=message):
        set_field(tiny_config(), "log.tensorboard", "True")
    assert where("model.products") == "now model.matmul_precision"


# What both launches of `tracked_logs.log_two_launches` log, each once.
ONCE = {("train/seed_3/loss", step): [pytest.approx(1 / step)] for step in (2, 4, 6, 8)}
for _step in (4, 8):
    ONCE |= {("validation/seed_3/loss", _step): [0.5], ("validation/seed_4/loss", _step): [0.25]}
ONCE |= {("test/recall", 8): [0.75], ("test_off/recall", 8): [0.125]}


@pytest.fixture
def logged(tmp_path):
    """Logs two launches to a tracker in a process of its own; returns the folder of the run."""

    def log(name):
        pytest.importorskip(TRACKERS[name].package, reason=f"needs the extra `{name}`")
        folder, err = tmp_path / "run", tmp_path / "err"
        folder.mkdir()
        offline = {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
        offline |= {"TRACKIO_DIR": str(tmp_path / "database")}
        process = programs.Forked(
            tracked_logs.log_two_launches, name, str(folder), out=tmp_path / "out", err=err,
            env=offline,
        )  # fmt: skip
        try:
            assert process.wait(120) == 0, err.read_text()
        finally:
            process.kill()
        assert "warning" not in err.read_text()
        kept = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in kept if row.get("seed") == 4] == [2, 4, 4, 6, 8, 8]
        return folder

    return log


def known(found):
    """Without the rows that are not numbers, and what a tracker adds by itself."""
    return {key: values for key, values in found.items() if key in ONCE}


def test_trackio_has_one_run_with_each_row_once(logged, tmp_path):
    folder = logged("trackio")
    found, runs = tracked_logs.read_trackio(tmp_path / "database")
    assert known(found) == ONCE
    assert ("train/seed_4/loss", 6) in found
    ((name, config),) = runs
    assert name == f"{folder.name}-abc123abc123"
    assert config["rule"] == {"name": "hebbian"}
    assert config["_Group"] == "the_sweep"


def test_offline_wandb_has_one_run_with_each_row_once(logged):
    folder = logged("wandb")
    found, runs = tracked_logs.read_wandb(folder)
    assert known(found) == ONCE
    assert ("train/seed_4/loss", 6) in found
    assert len(runs) >= 2  # a launch each
    for run in runs:
        assert (run.run_id, run.project) == ("abc123abc123", tracked_logs.PROJECT)
        assert (run.display_name, run.run_group) == (folder.name, "the_sweep")
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["rule"] == {"name": "hebbian"}


def test_tensorboard_drops_what_a_killed_launch_logged_after_its_checkpoint(logged):
    folder = logged("tensorboard")
    found, dropped = tracked_logs.read_tensorboard(folder)
    again = {("train/seed_3/loss", 6): [pytest.approx(1 / 6)] * 2}
    assert known(found) == ONCE | again
    assert dropped == [1, 5]  # rows from step 5 on that came before are hidden


def test_metrics_jsonl_has_no_rows_of_the_test(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", 0, [0])
    log.result(1, test={"loss": 1.0})  # result.json has it
    log.close(complete=True)
    assert (tmp_path / "metrics.jsonl").read_text() == ""

"""Points that differ in numbers only train in one program, and each is the run that it is alone."""

import contextlib
import csv
import io
import itertools
import pathlib
import shutil
import signal
import tempfile

import jax
import numpy as np
import pytest

from plasticity.checks import PlasticityError
from plasticity.configs import fields
from plasticity.experiments.run import footprint
from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.evaluate import evaluate
from plasticity.experiments.run.program import Program, companions_of, inputs_of, shape_of
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.run.train import train, train_together
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps import together
from plasticity.experiments.sweeps.points import Point
from plasticity.experiments.sweeps.together import groups, run_all
from plasticity.outer import OPTIMIZERS
from plasticity.rules import RULES, feed_forward
from tests.conftest import ROOT
from tests.launching import (
    SHORT,
    arguments,
    assert_same_state,
    contents,
    final_state,
    interrupted,
    read,
    rows,
    tiny_config,
)
from tests.sample import sampled

FIXED = {"train.steps": 6, "log.every": 2, "evaluate.every": 4, "checkpoint.every": 2}
RATES = (0.001, 0.003, 0.01)
# Of the losses of one run alone and beside others, relative: products of several runs are summed
# in another order. Weights may differ by more, see test_seeds.py.
TOLERANCE = 1e-4


def configs_of(**fields):
    """Three runs that differ in every kind of number: of the rule, the loop and the seed."""
    own = (
        {
            "seed": 3 * which,
            "train.learning_rate": rate,
            "train.clip": 0.5 + which,
            "train.weight_decay": 1e-3 * which,
            "rule.eta0": 0.2 + 0.2 * which,
            "checkpoint.keep": 2 + which,
        }
        for which, rate in enumerate(RATES)
    )
    return [tiny_config(**FIXED | numbers | fields) for numbers in own]


def run_together(configs, folders):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        outcomes = train_together(configs, [str(folder) for folder in folders])
    return outcomes, printed.getvalue()


SEEDS = [pytest.param(1, id="one seed"), pytest.param(2, id="two seeds", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SEEDS)
def finished(request, tmp_path_factory):
    """Runs that have trained together, which no test may change: (configs, folders)."""
    folder = tmp_path_factory.mktemp("together")
    configs = configs_of(train__num_seeds=request.param)
    folders = [folder / str(rate) for rate in RATES]
    outcomes, printed = run_together(configs, folders)
    assert outcomes == [0, 0, 0]
    assert "3 runs train in one program" in printed
    assert printed.count("result: ") == 3
    return configs, folders


def assert_close_rows(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert list(a) == list(b)
        assert [a["step"], a["split"], a.get("seed")] == [b["step"], b["split"], b.get("seed")]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=TOLERANCE)


def assert_close_results(ours, theirs):
    assert list(ours) == list(theirs)
    for part in ("metrics", "metrics_plasticity_off"):
        a, b = ours[part]["loss"], theirs[part]["loss"]
        assert a["n"] == b["n"]
        np.testing.assert_allclose(a["mean"], b["mean"], rtol=TOLERANCE)


def metrics_of(folder):
    """What a result says of the network, without times."""
    result = read(folder / "result.json")
    return {k: v for k, v in result.items() if "second" not in k}


def assert_same_runs(folders, others):
    """Bit for bit: states, rows, results."""
    for ours, theirs in zip(folders, others, strict=True):
        assert_same_state(ours, theirs)
        assert rows(ours) == rows(theirs)
        assert metrics_of(ours) == metrics_of(theirs)


@pytest.mark.slow
def test_a_run_that_trained_beside_others_is_evaluated_like_any(finished, tmp_path):
    configs, folders = finished
    folder = tmp_path / "run"
    shutil.copytree(folders[1], folder)
    assert evaluate(configs[1], str(folder)) == 0
    report, result = read(next(folder.glob("evaluation-*.json"))), read(folder / "result.json")
    np.testing.assert_allclose(
        report["metrics"]["loss"]["mean"], result["metrics"]["loss"]["mean"], rtol=TOLERANCE
    )


@pytest.mark.thorough
@pytest.mark.parametrize("poll", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_runs_resume_bit_for_bit(finished, poll, tmp_path, monkeypatch):
    configs, whole = finished
    folders = [tmp_path / str(which) for which in range(3)]
    with interrupted(poll, monkeypatch):
        outcomes, printed = run_together(configs, folders)
    assert outcomes == [128 + signal.SIGTERM] * 3
    assert f"saved at step {poll}" in printed
    assert run_together(configs, folders)[0] == [0, 0, 0]
    assert_same_runs(folders, whole)


class Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_at_save(number, monkeypatch):
    """The process ends as the save of this number begins; earlier ones are on disk."""
    saves, save = itertools.count(), Checkpoints.save

    def killed(self, step, state, clock):
        if next(saves) == number:
            raise Killed
        save(self, step, state, clock)
        self.wait()

    with monkeypatch.context() as changed:
        changed.setattr(Checkpoints, "save", killed)
        changed.setattr(Checkpoints, "close", Checkpoints.wait)  # nothing is tidied up
        yield


@pytest.mark.thorough
@pytest.mark.parametrize("number", sampled([1, 4, 7, 8], lambda number: number == 4))
def test_a_kill_between_the_saves_of_runs_costs_nothing(finished, number, tmp_path, monkeypatch):
    """Some have a checkpoint more than others: they go back, and come to the same bits."""
    configs, whole = finished
    folders = [tmp_path / str(which) for which in range(3)]
    with killed_at_save(number, monkeypatch), pytest.raises(Killed):
        run_together(configs, folders)
    assert len({max(Workdir(str(f)).saved_steps(), default=-1) for f in folders}) == 2
    assert run_together(configs, folders)[0] == [0, 0, 0]
    assert_same_runs(folders, whole)


@pytest.mark.slow
def test_a_run_goes_on_alone_and_back(finished, tmp_path, monkeypatch):
    """Together, then one alone, then together again."""
    configs, whole = finished
    folders = [tmp_path / str(which) for which in range(3)]
    with interrupted(2, monkeypatch):
        run_together(configs, folders)
    with interrupted(2, monkeypatch):
        assert train(configs[0], str(folders[0])) == 128 + signal.SIGTERM
    with interrupted(2, monkeypatch):
        run_together(configs[1:], folders[1:])
    assert run_together(configs, folders)[0] == [0, 0, 0]
    for ours, theirs in zip(folders, whole, strict=True):
        assert len(read(ours / "manifest.json")["resumed"]) == 2
        assert_close_rows(rows(ours), rows(theirs))
        assert_close_results(read(ours / "result.json"), read(theirs / "result.json"))


@pytest.mark.slow
def test_a_run_that_diverges_leaves_the_others_alone(finished, tmp_path):
    """A clip of 1e30 and a rate of 1e20: its weights overflow within the first updates."""
    configs, whole = finished
    broken = configs[1].copy_and_resolve_references()
    broken.train.clip, broken.train.learning_rate = 1e30, 1e20
    folders = [tmp_path / str(which) for which in range(3)]
    (first, error, last), printed = run_together([configs[0], broken, configs[2]], folders)
    assert [first, last] == [0, 0]
    assert isinstance(error, PlasticityError)
    assert "First quantity that is not finite" in str(error)
    assert "The other runs go on." in printed
    assert not (folders[1] / "result.json").exists()
    assert_same_runs(folders[::2], whole[::2])


@pytest.mark.slow
def test_all_may_diverge(tmp_path):
    configs = configs_of(train__learning_rate=1e20, train__clip=1e30)
    folders = [tmp_path / str(which) for which in range(3)]
    outcomes, _ = run_together(configs, folders)
    assert [type(outcome) for outcome in outcomes] == [PlasticityError] * 3


@pytest.mark.slow
def test_a_folder_that_cannot_be_used_leaves_the_others_alone(finished, tmp_path):
    configs, _ = finished
    folders = [tmp_path / str(which) for which in range(3)]
    folders[1].mkdir()
    (folders[1] / "notes.txt").write_text("not a run's")
    outcomes, _ = run_together(configs, folders)
    assert isinstance(outcomes[1], WorkdirError)
    assert outcomes[::2] == [0, 0]
    assert list(contents(folders[1])) == ["notes.txt"]


@pytest.mark.thorough
def test_each_run_is_what_it_is_alone(finished, tmp_path):
    """The same files and entries; losses within `TOLERANCE`."""
    configs, folders = finished
    losses = []
    for which, (config, ours) in enumerate(zip(configs, folders, strict=True)):
        theirs = tmp_path / str(which)
        assert train(config, str(theirs)) == 0
        assert {p.name for p in ours.iterdir()} == {p.name for p in theirs.iterdir()}
        assert read(ours / "config.json") == read(theirs / "config.json")
        a, b = read(ours / "manifest.json"), read(theirs / "manifest.json")
        assert list(a) == list(b)
        assert [a["together"], b["together"]] == [3, 1]
        assert_close_rows(rows(ours), rows(theirs))
        assert_close_results(read(ours / "result.json"), read(theirs / "result.json"))
        kept = [sorted(p.name for p in (f / "checkpoints").iterdir()) for f in (ours, theirs)]
        assert kept[0] == kept[1] == ["2", "4", "6"][-config.checkpoint.keep :]
        for mine, other in zip(final_state(ours), final_state(theirs), strict=True):
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        losses.append(rows(ours)[-1]["loss"])
    assert len({round(loss, 4) for loss in losses}) == 3  # each by its own numbers


@pytest.mark.slow
def test_devices_share_batches_and_layers_of_all_runs(program_with_devices):
    program_with_devices(4, "tests.experiments.test_together", "check_devices")


def check_devices():
    """The runs are those of one device, and resume bit for bit."""
    fields = {"mesh.model": 2, "mesh.data": 2}
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        one, whole, parts = ([pathlib.Path(name, f"{w}{i}") for i in range(3)] for w in "abc")
        assert run_together(configs_of(**{"mesh.data": 1}), one)[0] == [0, 0, 0]
        assert run_together(configs_of(**fields), whole)[0] == [0, 0, 0]
        with interrupted(3, patch):
            run_together(configs_of(**fields), parts)
        assert run_together(configs_of(**fields), parts)[0] == [0, 0, 0]
        assert_same_runs(parts, whole)
        for ours, theirs in zip(whole, one, strict=True):
            assert_close_rows(rows(ours), rows(theirs))


def varied(config):
    """Two configs with other values of everything that enters a program as a number."""
    pair = [config.copy_and_resolve_references() for _ in range(2)]
    for one, factor in zip(pair, (1.0, 0.5), strict=True):
        for section, registry in (("rule", RULES), ("optimizer", OPTIMIZERS)):
            for name in registry[one[section].name].settings.traced():
                one[section][name] = factor * float(one[section][name])
        one.seed, one.train.learning_rate = int(4 * factor), 1e-3 * factor
        one.consolidation.rate = config.consolidation.rate * factor
    return pair


CASES = [
    *(("rule", name, {}) for name in feed_forward()),
    *(("optimizer", name, {"train.weight_decay": 0.0}) for name in OPTIMIZERS),
    ("rule", "hebbian", {"consolidation.rate": 0.1}),
    ("rule", "hebbian", {"train.microbatch": 1, "rule.eta0": 0.3}),
    ("rule", "gated_delta", {"model.mixer": "memory", "model.plastic": "none"}),
    ("optimizer", "adamw", {"optimizer.refresh": 1e-2, "train.weight_decay": 0.0}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("section", "name", "settings"), CASES)
def test_every_part_takes_numbers_of_its_own(section, name, settings):
    """The first updates in one program are those of each config alone."""
    config = tiny_config()
    fields.choose(config, section, name)
    config.update_from_flattened_dict(settings)
    pair = varied(config)
    assert companions_of(pair[0]) == companions_of(pair[1]) is not None
    metrics = metrics_of_updates(pair)
    for which, own in enumerate(pair):
        alone = metrics_of_updates([own])
        assert alone.keys() == metrics.keys()
        for key in ("loss", "grad_norm"):
            np.testing.assert_allclose(metrics[key][:, which], alone[key], rtol=1e-3)


def metrics_of_updates(configs):
    """{metric: [3] or [3, runs]} of three updates."""
    program = Program(configs[0], len(configs))
    seed, hyper = Seeds(*configs).array, inputs_of(configs, program.learner.task)
    hyper = jax.tree.map(jax.numpy.asarray, hyper)
    state, found = program.init(seed, hyper), []
    step = program.compiled_step(state, seed, hyper)
    for _ in range(3):
        state, metrics = step(state, seed, hyper)
        found.append(jax.device_get(metrics))
    return {key: np.stack([one[key] for one in found]) for key in found[0]}


def test_who_may_train_with_whom():
    def key(**changed):
        return companions_of(tiny_config(**changed))

    plain = key()
    assert plain == key(seed=3, train__learning_rate=0.1, rule__eta0=0.5, checkpoint__keep=7)
    for field in ("evaluate__every", "evaluate__episodes", "checkpoint__every", "log__every"):
        other = tiny_config(**{field: 8})
        assert shape_of(other) == shape_of(tiny_config())
        assert companions_of(other) != plain
    assert key(train__steps=7) != plain
    assert key(train__num_seeds=2) != plain
    assert key(log__trackers="tensorboard") is None
    assert key(curriculum__field="delay", curriculum__stages="0,1") is None
    stream = tiny_config()
    stream.task.tasks = 3
    assert companions_of(stream) is None
    with pytest.raises(ValueError, match="cannot train in one program"):
        train_together([tiny_config(), tiny_config(train__steps=7)], ["a", "b"])
    with pytest.raises(ValueError, match="cannot train in one program"):
        train_together([stream, stream], ["a", "b"])


def points_in(folder, count, **chosen):
    file = str(ROOT / "configs" / "copying.py")
    numbers = ({"seed": seed} | chosen for seed in range(count))
    return [Point(file, "hebbian", own, {}, folder) for own in numbers]


def sizes(points, together_):
    return [len(group) for group in groups(points, together_)]


def test_points_are_divided_evenly_and_the_rest_stays_divided(tmp_path, monkeypatch):
    points = points_in(tmp_path, 10)
    assert sizes(points, 4) == [4, 3, 3]
    assert sizes(points[4:], 4) == [3, 3]
    assert sizes(points, 10) == [10]
    assert sizes(points, 1) == [1] * 10
    assert sizes(points[:1], 4) == [1]
    other = points_in(tmp_path, 3, **{"model.width": 32})
    assert sizes(points + other, 5) == [5, 5, 3]
    monkeypatch.setattr(together, "fitting", lambda config: 2)
    assert sizes(points, 5) == [2] * 5


def test_a_cpu_trains_one_point_at_a_time_and_an_accelerator_what_fits(tmp_path, monkeypatch):
    points = points_in(tmp_path, 70)
    assert sizes(points, 0) == [1] * 70
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert sizes(points, 0) == [35, 35]
    needed = sum(footprint.estimate(points[0].config()))
    monkeypatch.setattr(footprint, "_memory_there", lambda: 7 * needed)
    assert sizes(points, 0) == [3] * 22 + [2] * 2
    monkeypatch.setattr(footprint, "_memory_there", lambda: needed)
    assert sizes(points, 0) == [1] * 70


def test_points_at_another_step_go_on_by_themselves(tmp_path):
    def saved(point, *steps):
        for step in steps:
            (point.workdir / "checkpoints" / str(step)).mkdir(parents=True)

    points = points_in(tmp_path, 8)
    saved(points[1], 300)
    saved(points[2], 0, 100)  # which a kill has left a checkpoint ahead
    saved(points[3], 300, 400)
    saved(points[4], 0, 200)  # too far ahead to go back
    points[5].workdir.mkdir()
    (points[5].workdir / "result.json").write_text("damaged")
    saved(points[6], 0)
    found = [[point.chosen["seed"] for point in group] for group in groups(points, 8)]
    assert found == [[0, 2, 6, 7], [4], [1, 3], [5]]


def test_what_fails_together_is_run_alone(tmp_path, monkeypatch, capsys):
    calls = []

    def broken(configs, paths, group):
        calls.append(len(configs))
        if len(configs) > 1:
            raise MemoryError("no room")
        return [PlasticityError("diverged") if configs[0].seed == 1 else 0]

    monkeypatch.setattr(together, "train_together", broken)
    done = []
    failed = run_all(points_in(tmp_path, 3), done.append, together=3)
    assert calls == [3, 1, 1, 1]
    assert [point.chosen["seed"] for point in done] == [0, 2]
    assert [(one.why, one.untrainable) for one in failed] == [("diverged", True)]
    assert "3 points cannot train together: no room" in capsys.readouterr().err


def test_a_signal_ends_the_sweep_and_failures_are_told_before(tmp_path, monkeypatch, capsys):
    outcomes = [PlasticityError("diverged"), 143]
    monkeypatch.setattr(together, "train_together", lambda *_: outcomes)
    with pytest.raises(SystemExit) as caught:
        run_all(points_in(tmp_path, 2), print, together=2)
    assert caught.value.code == 143
    assert "diverged" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_trains_its_points_together(program, tmp_path):
    """Its tables are those of a sweep that trains one after the other, within `TOLERANCE`."""
    flags = [*arguments(tmp_path)[:1], *SHORT, "--sweep_over=config.train.learning_rate=.001,.01"]
    tables = []
    for name, number in (("one", 1), ("all", 2)):
        folder = tmp_path / name
        code, out, err = program("sweep", *flags, f"--workdir={folder}", f"--together={number}")
        assert code == 0, err + out
        assert "2 of 2 points complete" in out
        log = (folder / "logs" / "worker-1.log").read_text()
        assert ("2 runs train in one program" in log) == (number == 2)
        with (folder / "results.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    for one, other in zip(*tables, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(float(one["loss"]), float(other["loss"]), rtol=TOLERANCE)

"""Runs on a stream of tasks: what they measure, that they resume, what is refused."""

import numpy as np
import pytest

from plasticity.configs import fields
from plasticity.experiments.probing.concept_shift import concept_shift
from plasticity.experiments.run import transfer
from plasticity.experiments.run.program import Program
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.run.task_stream import touched
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError, validate
from tests.launching import assert_same_state, read, rows, tiny_config, train_until

# After 0 to 3 tasks, the accuracy on each of three.
MATRIX = np.array([[0.1, 0.2, 0.3], [0.9, 0.3, 0.3], [0.5, 0.8, 0.5], [0.6, 0.4, 1.0]])


def test_measures_are_their_definitions():
    assert transfer.average_accuracy(MATRIX) == pytest.approx(2 / 3)
    assert transfer.learning_accuracy(MATRIX) == pytest.approx(0.9)
    assert transfer.forgetting(MATRIX) == pytest.approx((0.3 + 0.4) / 2)
    assert transfer.backward_transfer(MATRIX) == pytest.approx((-0.3 - 0.4) / 2)
    assert transfer.forward_transfer(MATRIX) == pytest.approx((0.1 + 0.2) / 2)
    assert transfer.course(MATRIX) == pytest.approx(
        {"seen_1": 0.9, "seen_2": 0.65, "seen_3": 2 / 3}
    )


def test_retention_is_that_of_the_tasks_before_the_last():
    assert transfer.retention(MATRIX) == pytest.approx(0.5)
    assert transfer.retention_latest(MATRIX) == pytest.approx(0.4)
    spaced = transfer.measured(MATRIX, spaced=True)
    assert not spaced.keys() & {*transfer.OF_BOUNDARIES, "seen_1"}
    assert spaced["retention"] == transfer.measured(MATRIX, spaced=False)["retention"]


def test_forgetting_counts_the_best_and_transfer_the_first():
    """A task that others improve is forgotten from its best, and transferred to from its first."""
    better = np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.8, 0.5, 0.0], [0.6, 0.5, 0.5]])
    assert transfer.forgetting(better) == pytest.approx(0.1)
    assert transfer.backward_transfer(better) == pytest.approx(0.1)
    two = better[[0, 1, 3]][:, :2]
    assert transfer.forgetting(two) == pytest.approx(-0.2)


def test_touched_counts_what_changed():
    then = {"a": np.zeros(3), "b": np.ones(1)}
    assert float(touched({"a": np.array([0, 1, 0]), "b": np.ones(1)}, then)) == 0.25


def stream_config(**changed):
    options = {"task__tasks": 2, "train__steps": 6, "checkpoint__every": 2, "evaluate__every": 0}
    options |= {"log__every": 1, "stream__fisher_episodes": 2, "train__num_seeds": 2}
    config = tiny_config(**options | changed)
    fields.choose(config, "rule", "none")  # which compiles fast
    return config


@pytest.mark.thorough
def test_a_stream_resumes_bit_for_bit_and_ends_each_task_once(tmp_path, monkeypatch):
    """Stopped at a boundary: the task is over, and nothing of it is measured."""
    config = stream_config(stream__method="online_ewc", optimizer__refresh=1e-3)
    whole, parts, ended = tmp_path / "whole", tmp_path / "parts", []
    end_task = Program.end_task

    def counted(program, state, seed, hyper):
        ended.append(int(state.step[0]))
        return end_task(program, state, seed, hyper)

    monkeypatch.setattr(Program, "end_task", counted)
    assert train(config, str(whole)) == 0
    assert ended == [3]
    # Three batches before the first update, three updates, then the boundary's evaluation.
    train_until(config, parts, 7, monkeypatch)
    assert train(config, str(parts)) == 0
    assert ended == [3, 3]
    assert_same_state(whole, parts)
    of_stream = [[r for r in rows(path) if r["split"] == "stream"] for path in (whole, parts)]
    assert of_stream[0] == of_stream[1]
    assert [r["tasks_over"] for r in of_stream[0]] == [0, 0, 1, 1, 2, 2]
    result, again = (read(path / "result.json") for path in (whole, parts))
    assert result["seeds"] == again["seeds"]
    for own in result["seeds"]:
        matrix = np.array(own["stream"])
        assert matrix.shape == (3, 2)
        mean = own["metrics"]["average_accuracy"]["mean"]
        assert mean == pytest.approx(own["metrics"]["recall_accuracy"]["mean"])
        assert own["metrics"]["forgetting"]["mean"] == transfer.forgetting(matrix)
        ranks = own["slow_matrices"]["effective_rank"]
        assert {len(course) for course in ranks.values()} == {3}
        assert all(1 <= rank <= 8 for course in ranks.values() for rank in course)
    assert result["metrics"]["forgetting"]["n"] == 2
    longer = stream_config(stream__method="online_ewc", optimizer__refresh=1e-3, train__steps=8)
    with pytest.raises(WorkdirError, match=r"train.steps: there 6, here 8"):
        Workdir(str(whole)).check(longer)


SPACED = {"stream__spacing": "spaced", "stream__repetitions": 2}


@pytest.mark.slow
def test_a_spaced_stream_with_consolidation_resumes_bit_for_bit(tmp_path, monkeypatch):
    config = stream_config(task__tasks=3, train__steps=12, **SPACED)
    fields.choose(config, "rule", "hebbian")
    config.consolidation.rate = 0.1
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, str(whole)) == 0
    train_until(config, parts, 7, monkeypatch)
    assert train(config, str(parts)) == 0
    assert_same_state(whole, parts)
    for path in (whole, parts):
        assert [r["tasks_over"] for r in rows(path) if r["split"] == "stream"][::2] == [0, 1, 2, 3]
    result = read(whole / "result.json")
    assert result["seeds"] == read(parts / "result.json")["seeds"]
    assert "retention" in result["metrics"]
    assert "learning_accuracy" not in result["metrics"]
    norms = [r["consolidated"] for r in rows(whole) if r["split"] == "train"]
    assert norms
    assert all(norm > 0 for norm in norms)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stream__spacing": "spaced"}, "stream.repetitions above 1"),
        ({**SPACED, "stream__method": "replay"}, "'replay' must be 'plain', or 'replay' with"),
        ({"stream__method": "joint", "stream__repetitions": 2}, "must be 1 for stream.method='jo"),
        ({"stream__repetitions": 2}, "stream.repetitions=2 must be a divisor of the 3 updates"),
        ({**SPACED, "train__steps": 8}, "task.tasks=2 must be 3 or more"),
        ({"consolidation__rate": 0.1}, "rate=0.1 must be 0 for rule.name='none' and model.name="),
        ({"consolidation__what": "shuffled"}, "'shuffled' needs a consolidation.rate above 0"),
        ({"stream__boundaries": "hidden", "stream__method": "ewc"}, "needs to know where a task"),
        ({"task__tasks": 1, "stream__method": "replay"}, "'replay' needs a stream"),
        ({"train__steps": 7}, "train.steps=7 must be a multiple of task.tasks=2"),
        ({"evaluate__episodes": 3}, "evaluate.episodes=3 must be two a task: 4"),
        ({"stream__method": "replay", "stream__share": 0.1}, "stream.share=0.1 must be an episode"),
        ({"task__tasks": 9}, "task.tasks=9 must be at most 4"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        validate(stream_config(**changed))


def test_hidden_boundaries_leave_replay():
    validate(stream_config(stream__boundaries="hidden", stream__method="replay"))


def test_a_rate_that_does_not_move_is_the_fixed_one():
    (row,) = concept_shift([0], swaps=1, samples=200, rate=0.1, step=0.0)
    assert row["advantage"] == 0
    assert 0 < row["fixed"] < 1

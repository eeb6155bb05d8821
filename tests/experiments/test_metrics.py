"""Intervals, the log that survives a kill, and the progress line."""

import io
import json

import numpy as np
import pytest

from plasticity.experiments.run import metrics as module
from plasticity.experiments.run.evaluate import contrast
from plasticity.experiments.run.metrics import MetricsLog, Progress, across_seeds, summarise


def test_intervals_are_students_and_95_percent():
    values = np.arange(100.0)
    summary = summarise({"m": values})["m"]
    assert summary["n"] == 100
    assert summary["mean"] == pytest.approx(49.5)
    # t of 99 degrees of freedom is 1.98422.
    assert summary["ci95"] == pytest.approx(
        1.98422 * np.sqrt(np.var(values, ddof=1) / 100), rel=1e-5
    )


def test_a_resumed_log_drops_what_will_be_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": s, "split": "train", "loss": 1.0} for s in (1, 2, 3)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 2, "spl')
    log = MetricsLog(path, first_step=2, seeds=[0])
    log.write(3, train=[{"loss": 0.5, "bad": float("nan")}])
    log.close(complete=True)
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept == [*rows[:2], {"step": 3, "split": "train", "loss": 0.5, "bad": None}]


def test_the_log_knows_whether_a_step_was_validated(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", 0, [0])
    log.write(2, validation=[{"loss": 1.0}], validation_off=[{"loss": 2.0}])
    log.close(complete=True)
    for step, validated in ((2, True), (3, False)):
        log = MetricsLog(tmp_path / "metrics.jsonl", step, [0])
        assert log.has_validation == validated
        log.close(complete=True)


def test_several_seeds_have_lines_of_their_own(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0, [3, 4])
    log.write(1, train=[{"loss": 1.0}, {"loss": 2.0}])
    log.close(complete=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [
        {"step": 1, "split": "train", "seed": 3, "loss": 1.0},
        {"step": 1, "split": "train", "seed": 4, "loss": 2.0},
    ]


def test_seeds_are_summarised_by_students_t():
    only = {"m": {"mean": 1.0, "ci95": 0.5, "n": 10}}
    assert across_seeds([only]) == only
    summary = across_seeds([{"m": {"mean": v, "ci95": 9.0, "n": 10}} for v in (1.0, 2.0, 6.0)])["m"]
    assert summary["n"] == 3
    assert summary["mean"] == pytest.approx(3.0)
    # The standard error of 1, 2, 6 is sqrt(7 / 3); t of 2 degrees of freedom is 4.3027.
    assert summary["ci95"] == pytest.approx(4.30265 * (7 / 3) ** 0.5, rel=1e-5)


def test_only_plastic_nets_are_compared_with_plasticity_off():
    on = {"m": {"mean": 1.0, "ci95": 0.5, "n": 10}}
    off = {"m": {"mean": 0.0, "ci95": 0.1, "n": 10}}
    plastic = contrast("m", on, off, seeds=1)
    assert plastic.startswith("m: 1.000 +- 0.500 with plasticity on, 0.000 +- 0.100 off")
    same = contrast("m", on, on, seeds=1)  # of a net with rule.eta0=0, which is plastic
    assert "with plasticity on" in same
    assert contrast("m", on, None, seeds=1) == "m: 1.000 +- 0.500 (10 episodes)"
    assert contrast("m", on, None, seeds=3) == "m: 1.000 +- 0.500 (3 nets)"


class Screen(io.StringIO):
    def __init__(self, live):
        super().__init__()
        self.live = live

    def isatty(self):
        return self.live


def shown(monkeypatch, live):
    screen = Screen(live)
    monkeypatch.setattr(module.sys, "stdout", screen)
    progress = Progress(total=40, first_step=20, batch=8, metric="accuracy", every=10)
    for step in range(21, 41):
        progress.update(step, {"loss": 1.0, "accuracy": 0.5}, seconds=(step - 20) * 2.0)
        if step == 25:
            progress.say("validation")
    return screen.getvalue()


def test_in_a_log_file_the_progress_is_a_line_now_and_then(monkeypatch):
    text = shown(monkeypatch, live=False)
    assert "\r" not in text
    assert text.splitlines() == [
        "validation",
        "step 30/40  loss 1.0000  accuracy 0.500  4 episodes/s  00:20 left",
        "step 40/40  loss 1.0000  accuracy 0.500  4 episodes/s  00:00 left",
    ]


def test_in_a_terminal_a_bar_is_redrawn_below_what_is_printed(monkeypatch):
    text = shown(monkeypatch, live=True)
    assert text.count("\n") == 2  # after what is printed, and at the end
    said = text.index("validation\n")
    assert text[:said].endswith("\r")  # the bar was wiped first
    assert "40/40" in text[said:]
    assert "loss 1.0000  accuracy 0.500  4 episodes/s" in text[said:]

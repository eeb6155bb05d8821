"""Studies of untrained memories: rows are what the programs print, and are measured once."""

import json
import shutil

import numpy as np
import pytest

from plasticity.configs.probes import ProbeStudy
from plasticity.experiments.sweeps import probes
from plasticity.experiments.sweeps.campaign import Campaign
from plasticity.experiments.sweeps.together import run_all
from tests.conftest import ROOT
from tests.experiments.test_compare import PROBED

RECORDED = ROOT / "experiments/results/memories_probes"
SMALL = {"dim": 8, "items": 6, "draws": 5, "keys": "sparse", "winners": 2}
SMALL |= {"outliers": 0.2, "rewritten": True}
RULES = [{"rule": "hebb"}, {"rule": "delta"}]
LISTED = ("rule", "mse", "accuracy")
STUDIES = {
    "codes": ProbeStudy("small", "interference", RULES, SMALL, 2),
    "effects": ProbeStudy("small", "conditioning", RULES[1:], seeds=2),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    return folder, probes.measure(folder, STUDIES, STUDIES)


@pytest.mark.thorough
def test_rows_are_what_the_programs_print(measured, program, tmp_path):
    *items, effects = measured[1][1::2]  # of seed 1
    assert PROBED["interference"] - {"expected"} <= items[0].keys()
    assert PROBED["conditioning"] <= effects.keys()
    out = tmp_path / "interference.json"
    given = f"--out={out}", "--rules=hebb,delta", "--dims=8", "--items=6", "--draws=5", "--seed=1"
    further = "--keys=sparse", "--winners=2", "--outliers=.2", "--rewritten"
    assert program("interference", *given, *further)[0] == 0
    for row, cell in zip(items, json.loads(out.read_text())["cells"], strict=True):
        assert [row[name] for name in LISTED] == [cell[name] for name in LISTED]
        third = cell["mse_by_age"][-(len(cell["mse_by_age"]) // 3) :]
        assert row["mse_newest"] == pytest.approx(np.mean(third), rel=1e-4)
    out = tmp_path / "conditioning.json"
    assert program("conditioning", f"--out={out}", "--rules=delta", "--seed=1")[0] == 0
    for name, effect in json.loads(out.read_text())["rules"]["delta"]["effects"].items():
        assert effects[name] == pytest.approx(effect["measure"], rel=1e-5)


def test_nothing_is_measured_twice(measured, monkeypatch, tmp_path):
    folder, rows = measured
    monkeypatch.setattr(probes, "PROBES", {})
    assert probes.measure(folder, STUDIES, STUDIES) == probes.measure(folder, STUDIES, []) == rows
    assert probes.measure(tmp_path, STUDIES, []) == []
    outcome = Campaign(tmp_path, {}, [], []).run(run_all, {}, rows)
    assert outcome.rows == json.loads((tmp_path / "results.json").read_text())["rows"] == rows


def test_a_kill_loses_no_point_and_what_is_damaged_is_measured_anew(monkeypatch, tmp_path):
    study, calls = {"codes": STUDIES["codes"]}, []

    def probe(seeds, rule, **_):
        calls.append(rule)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [{"mse": 1.0} for _ in seeds]

    monkeypatch.setattr(probes, "PROBES", {"interference": probe})
    with pytest.raises(KeyboardInterrupt):
        probes.measure(tmp_path, study, study)
    assert len(probes.measure(tmp_path, study, study)) == 4
    assert calls == ["hebb", "delta", "delta"]
    file = tmp_path / "codes/rows.json"
    file.write_text('{"cells": 3}')
    assert len(probes.measure(tmp_path, study, study)) == 4
    assert calls[3:] == ["hebb", "delta"]
    assert file.with_name("rows.json.kept-1").exists()


def test_the_recorded_rows_decide_the_claims(program, tmp_path):
    """`reproduce --gather` measures none of what is there."""
    folder = tmp_path / "campaign"
    shutil.copytree(RECORDED, folder)
    given = "--preset=memories", f"--workdir={folder}", "--gather"
    given += ("--tasks=interference,conditioning",)
    assert "measured:" not in program("reproduce", *given)[1]
    verdicts = json.loads((folder / "verdicts.json").read_text())
    found = {claim["name"]: claim["verdict"] for claim in verdicts}
    assert found["rewriting"] == "supported"
    assert found["sparse keys/random, winners 1"] == "opposite"

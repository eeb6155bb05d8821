"""The benchmark of memory sites: its records, and ways that compute something else."""

import json

import pytest

from plasticity.experiments.probing.site_ways import Sizes, at_site, compiled, differences, draw

SMALL = (
    "--rules=delta",
    "--batch=2",
    "--heads=1",
    "--steps=6",
    "--width=2",
    "--chunk=4",
    "--repeats=1",
)


@pytest.mark.slow
def test_records_compare_each_way_with_the_chunks(program, tmp_path):
    out = tmp_path / "sites.json"
    command = ("benchmark_sites", f"--out={out}", *SMALL)
    code, _, err = program(*command, "--against=steps,attention,flash", "--peak=1")
    assert code == 0, err
    records = json.loads(out.read_text())
    assert [r["way"] for r in records] == ["chunks", "steps", "attention"]
    for record in records:
        assert record["train_tokens_per_second"] > 0
        assert record["temp_bytes"] > 0
        shares = record["way"] != "attention"
        assert ("train_useful_share" in record) == ("difference" in record) == shares
        if shares:
            assert record["difference"] < 1e-5
    code, _, err = program(*command)
    assert (code, "exists" in err) == (2, True)


def test_a_way_that_computes_something_else_is_no_rival():
    given = draw("delta", Sizes(1, 1, 4, 2))
    found = {"chunks": at_site("delta", 4, given), "steps": at_site("delta", 0, given)}
    assert differences(found)["steps"] < 1e-6
    with pytest.raises(ValueError, match="steps differs from the chunks by"):
        differences(found | {"steps": compiled(lambda g: g["value"], given)})


@pytest.mark.parametrize(
    ("flag", "named"), [("--rules=mesa", "delta, gated_delta, titans"), ("--against=x", "memax")]
)
def test_unknown_names_are_refused(program, tmp_path, flag, named):
    code, _, err = program("benchmark_sites", f"--out={tmp_path / 'x.json'}", *SMALL, flag)
    assert (code, named in err) == (2, True)

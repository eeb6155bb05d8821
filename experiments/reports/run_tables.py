"""Runs as tables of a report."""

from collections.abc import Sequence

from experiments.reports.collect import Run, varied
from experiments.reports.statistics import interval
from experiments.sweeps.tables import Row


def results_table(runs: Sequence[Run]) -> list[Row]:
    """A row per run of a group: what sets it apart, and its main metric on and off."""
    rows = []
    fields = varied(runs)
    for run in runs:
        (on, half), (off, half_off) = interval(run.values()), interval(run.values(False))
        row: Row = {field.rpartition(".")[2]: run.config.get(field) for field in fields}
        row |= {"rule": run.rule, run.metric: on, "interval": half, "off": off}
        row |= {"interval off": half_off, "seeds": len(run.seeds)}
        rows.append(row | {"diverged": sum(run.diverged)})
    return rows


def analysis_table(run: Run) -> list[Row]:
    """Scalars of an analysis, trained beside untrained."""
    assert run.analysis is not None
    seeds = [seed["metrics"] for seed in run.analysis["seeds"]]
    rows = []
    for name in seeds[0]:
        if name.endswith("_untrained") or name.startswith(run.metric):
            continue
        told = {"quantity": name.replace("_", " ")}
        for column, key in (("trained", name), ("untrained", f"{name}_untrained")):
            values = [seed[key] for seed in seeds if seed.get(key) is not None]
            mean, half = interval(values) if values else (None, None)
            told |= {column: mean, f"{column} interval": half}
        rows.append(told)
    return rows

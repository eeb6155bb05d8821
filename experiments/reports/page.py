"""Tables of a report, as rows and as LaTeX, and its page; both from templates."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from plasticity.experiments.reports.labels import LOST, cell, short_names, varied
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.checked import is_number
from plasticity.experiments.run.intervals import mean_interval
from plasticity.experiments.sweeps.tables import Row, columns

# Of the table of results, beside its metric and the fields that vary.
FIXED = ("rule", "ci95", "off", "ci95 off", "interval over", "seeds", "diverged")
VERDICT = ("verdict", "claim", "source", "p_adjusted", "because")  # columns
SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=lambda name: "html" in str(name),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
ENVIRONMENT.filters |= {"columns": columns, "cell": cell, "tex": lambda s: s.translate(SPECIAL)}


def page(**content: Any) -> str:
    """The HTML page; text is escaped."""
    return ENVIRONMENT.get_template("report.html.jinja").render(content)


def latex(rows: Sequence[Row]) -> str:
    """A booktabs table."""
    template = ENVIRONMENT.get_template("table.tex.jinja")
    return template.render(rows=rows, names=columns(rows)) + "\n"


def results_table(runs: Sequence[Run]) -> list[Row]:
    """A row per run of a group: the fields that vary, and its headline metric on and off."""
    names, rows = short_names(varied(runs), taken=(runs[0].metric, *FIXED)), []
    for run in runs:
        row: Row = {name: run.config.get(field, "") for field, name in names.items()}
        row |= {"rule": run.rule} | _mean(run.metric, "ci95", *run.interval())
        off = (math.nan, math.nan) if run.static else run.interval(False)
        row |= _mean("off", "ci95 off", *off)
        several = len(run.seeds) > 1
        row["interval over"] = "seeds" if several else f"{run.episodes} test episodes"
        rows.append(row | {"seeds": len(run.seeds), "diverged": sum(run.diverged)})
    return rows


def analysis_table(run: Run) -> list[Row]:
    """Scalars of an analysis: the trained net beside the untrained one, intervals over seeds."""
    assert run.analysis is not None
    seeds, rows = [seed["metrics"] for seed in run.analysis["seeds"]], []
    for name in dict.fromkeys(name.removesuffix("_untrained") for seed in seeds for name in seed):
        if name.startswith(run.metric):  # under an intervention: in the figure
            continue
        row: Row = {"quantity": name.replace("_", " ")}
        for column, key in (("trained", name), ("untrained", f"{name}_untrained")):
            values = [seed[key] for seed in seeds if key in seed]
            row |= _mean(column, f"{column} ci95", *mean_interval(values))
        rows.append(row)
    return rows


def _mean(column: str, interval: str, mean: float, half: float) -> Row:
    """Cells of a mean and half its interval; empty where there is none."""
    return {c: None if math.isnan(v) else v for c, v in ((column, mean), (interval, half))}


def evidence_row(evidence: Mapping[str, Any]) -> Row:
    """A comparison of `compare.decide_claims` as a row of a table."""
    row: Row = {name: evidence[name] for name in ("study", "claimed", "other")}
    row["where"] = evidence.get("where")  # older verdicts have all in `claimed`
    row |= {"claim": _claimed(evidence), "of": "ratio" if evidence["log"] else "difference"}
    for name in ("mean", "low", "high"):
        row[name] = _ratio(evidence.get(name), evidence)
    more = ("p", "n", "effect", "smallest_effect", *LOST)
    row |= {name: evidence.get(name) for name in more}
    seen = evidence.get("smallest_effect")  # positive in the claimed direction
    sign = -1 if evidence["log"] and evidence["direction"] == "less" else 1
    return row | {"smallest_effect": _ratio(sign * seen if is_number(seen) else None, evidence)}


def _claimed(evidence: Mapping[str, Any]) -> str:
    """The direction that is claimed, with its margin."""
    direction, margin = evidence["direction"], evidence["margin"]
    less = direction == "less"
    if not margin:
        return direction
    if evidence["log"]:
        ratio = _ratio(margin if less else -margin, evidence)
        return f"at {'most' if less else 'least'} {ratio:.3g} times"
    if margin > 0:
        return f"at most {margin:g} {'more' if less else 'less'}"
    return f"{direction} by {-margin:g}"


def _ratio(value: float | None, evidence: Mapping[str, Any]) -> float | None:
    """The value; where logarithms were compared, the ratio that it stands for."""
    return math.exp(min(value, 700)) if evidence["log"] and is_number(value) else value


def verdict_row(claim: Mapping[str, Any]) -> Row:
    """A claim as a row of a table, with its earlier verdict if there is one."""
    before = claim.get("before") or {}
    earlier = {"before": before.get("verdict"), "p_adjusted_before": before.get("p_adjusted")}
    return {n: claim.get(n) for n in VERDICT} | (earlier if "before" in claim else {})


def entry(claim: Mapping[str, Any]) -> Row:
    """A claim with its earlier verdict, which may be None, and the table of its evidence."""
    evidence = [evidence_row(record) for record in claim["evidence"]]
    return {"before": None, "p_adjusted_before": None} | verdict_row(claim) | {"evidence": evidence}

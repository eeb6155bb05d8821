"""What a report shows: its figures and tables, written as files and as one page."""

import base64
import io
import json
import math
import pathlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from plasticity.experiments.reports import figures
from plasticity.experiments.reports.labels import (
    command,
    metric_label,
    variant,
    varied_within_rules,
)
from plasticity.experiments.reports.page import analysis_table, latex, page, results_table
from plasticity.experiments.reports.runs import Problems, Run, optional
from plasticity.experiments.reports.trace_figures import interventions, modulation
from plasticity.experiments.run.checked import check, is_number, read
from plasticity.experiments.sweeps.tables import Row, write_csv

LONGEST = 100  # characters of a group's name in the names of its files
VERDICT = ("verdict", "claim", "source", "p_adjusted", "because")  # columns
VERSIONS = ("versions", "device", "python", "revision")  # fields of a manifest
EVIDENCE = dict.fromkeys(("study", "claimed", "other", "direction"), str)
EVIDENCE |= {"margin": float, "log": bool}
CLAIMS = [{"claim": str, "source": str, "verdict": str, "evidence": [EVIDENCE]}]


class Files:
    """Figures and tables as files in a folder."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        folder.mkdir()

    def free_name(self, group: str) -> str:
        """A prefix of the names of a group's files, which no other group has."""
        name = re.sub(r"\W+", "-", group)[:LONGEST]
        while (self._folder / f"{name}.csv").exists():
            name = f"{name}-2"
        return name

    def figure(self, name: str, figure: Figure) -> str:
        """Writes NAME.svg and NAME.png; returns the SVG in base 64."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        figure.savefig(self._folder / f"{name}.png", dpi=200)
        (self._folder / f"{name}.svg").write_bytes(buffer.getvalue())
        return base64.b64encode(buffer.getvalue()).decode()

    def table(self, name: str, rows: Sequence[Row]) -> Sequence[Row]:
        """Writes NAME.csv and NAME.tex, if there are rows; returns them."""
        if rows:
            write_csv(self._folder / f"{name}.csv", rows)
            (self._folder / f"{name}.tex").write_text(latex(rows), encoding="utf-8")
        return rows


def group_section(files: Files, group: str, runs: Sequence[Run], about: str = "") -> dict[str, Any]:
    """The section of runs that are compared; `about`: the question of their study."""
    name, curves = files.free_name(group), figures.learning_curves(runs)
    tested = [other for run in runs for other in (run, *run.elsewhere)]
    elsewhere = len(tested) > len(runs) and {
        "performance": files.figure(f"{name}-elsewhere", figures.performance(tested)),
        "table": files.table(f"{name}-elsewhere", results_table(tested)),
    }
    fields, analysed = varied_within_rules(runs), [run for run in runs if run.analysis]
    titles = [", ".join(filter(None, [f"{r.rule} rule", variant(r, fields)])) for r in analysed]
    return {
        "title": group.replace("_", " "),
        "about": about[:1].upper() + about[1:],
        "task": runs[0].config["task.name"],
        "metric": metric_label(runs[0].metric),
        "static": all(run.static for run in runs),
        "performance": files.figure(f"{name}-performance", figures.performance(runs)),
        "learning": curves and files.figure(f"{name}-learning", curves),
        "table": files.table(name, results_table(runs)),
        "elsewhere": elsewhere,
        "analyses": [
            {
                "title": title,
                "modulation": files.figure(f"{name}-modulation-{i}", modulation(run)),
                "interventions": files.figure(f"{name}-interventions-{i}", interventions(run)),
                "table": files.table(f"{name}-analysis-{i}", analysis_table(run)),
            }
            for i, (title, run) in enumerate(zip(titles, analysed, strict=True))
        ],
    }


def evidence_row(evidence: Mapping[str, Any]) -> Row:
    """A comparison of `compare.decide_claims` as a row of a table."""
    claim, margin = evidence["direction"], evidence["margin"]
    if margin > 0:
        claim = f"at most {margin:g} {'more' if claim == 'less' else 'less'}"
    elif margin < 0:
        claim = f"{claim} by {-margin:g}"
    row: Row = {name: evidence[name] for name in ("study", "claimed", "other")}
    row["where"] = evidence.get("where")  # older verdicts have all in `claimed`
    row |= {"claim": claim, "of": "ratio" if evidence["log"] else "difference"}
    # Where logarithms were compared, their mean and interval are those of ratios.
    for name in ("mean", "low", "high"):
        value = evidence.get(name)
        row[name] = math.exp(min(value, 700)) if evidence["log"] and is_number(value) else value
    more = ("p", "n", "effect", "smallest_effect", "diverged", "exploded", "failed")
    return row | {name: evidence.get(name) for name in more}


def verdict_row(claim: Mapping[str, Any]) -> Row:
    """A claim as a row of a table, with its earlier verdict if there is one."""
    before = claim.get("before") or {}
    earlier = {"before": before.get("verdict"), "p_adjusted_before": before.get("p_adjusted")}
    return {n: claim.get(n) for n in VERDICT} | (earlier if "before" in claim else {})


def _campaign(path: pathlib.Path) -> dict[str, Any]:
    """results.json of `experiments.reproduce`, whose sections may be missing."""
    sections = ("studies", "failed", "skipped")
    results = {name: {} for name in sections} | read(path, dict)
    check(path, results, {name: {str: str} for name in sections})
    return results


@mpl.rc_context(figures.SETTINGS)
def write_report(
    root: pathlib.Path,
    groups: Mapping[str, list[Run]],
    problems: Problems,
    out: pathlib.Path,
    folder: pathlib.Path,
) -> None:
    """Writes the page `out`, and its figures and tables in `folder`: both whole, or neither.

    Args:
      root: folder of the runs; its verdicts.json, published.json and results.json are shown.
      groups, problems: of `collect`. A message on each damaged file of root is added to problems.
    """

    def of_root(name: str, reader: Callable, *args: Any) -> Any:
        return optional(problems, reader, root / name, *args) if (root / name).exists() else None

    claims = of_root("verdicts.json", read, CLAIMS) or []
    published = of_root("published.json", read, [dict]) or []
    results = of_root("results.json", _campaign) or {"studies": {}}
    about = results["studies"]
    groups = {name: groups[name] for name in dict.fromkeys([*about, *groups]) if name in groups}

    def section(group: str) -> dict[str, Any] | None:
        try:
            return group_section(files, group, groups[group], about.get(group, ""))
        except OSError:  # of writing
            raise
        except Exception as error:  # whatever Matplotlib raises about numbers that it cannot draw
            problems.append(f"{group} cannot be drawn: {type(error).__name__}: {error}")
            return None

    manifests = [m for runs in groups.values() for run in runs for m in run.manifests]
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as temporary:
        draft = pathlib.Path(temporary)
        files = Files(draft / "files")
        html = page(
            title=f"Plasticity: {root.resolve().name}",
            problems=problems,
            verdicts=files.table("verdicts", list(map(verdict_row, claims))),
            evidence=files.table(
                "evidence", [evidence_row(e) for c in claims for e in c["evidence"]]
            ),
            published=files.table("published", published),
            missing=[
                {"what": what, "why": why, "run": run}
                for what in ("failed", "skipped")
                for run, why in results.get(what, {}).items()
            ],
            groups=list(filter(None, map(section, groups))),
            commands=list(dict.fromkeys(command(manifest["argv"]) for manifest in manifests)),
            versions=sorted({json.dumps({k: m.get(k) for k in VERSIONS}) for m in manifests}),
        )
        (draft / "page").write_text(html, encoding="utf-8", errors="backslashreplace")
        (draft / "files").rename(folder)
        (draft / "page").rename(out)

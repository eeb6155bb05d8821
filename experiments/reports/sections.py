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

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.reports import figures, trace_figures
from experiments.reports.labels import command, metric_label
from experiments.reports.page import latex, page
from experiments.reports.run_tables import analysis_table, results_table
from experiments.reports.runs import Problems, Run, checked, get, optional
from experiments.run.storage import read_json
from experiments.sweeps.tables import Row, write_csv

LONGEST = 100  # characters of a group's name in the names of its files


class Files:
    """Figures and tables as files in a folder."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        folder.mkdir()

    def figure(self, name: str, figure: Figure) -> str:
        """Writes NAME.svg and NAME.png; returns the SVG in base 64."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        figure.savefig(self._folder / f"{name}.png", dpi=200)
        plt.close(figure)
        (self._folder / f"{name}.svg").write_bytes(buffer.getvalue())
        return base64.b64encode(buffer.getvalue()).decode()

    def table(self, name: str, rows: Sequence[Row]) -> Sequence[Row]:
        """Writes NAME.csv and NAME.tex, if there are rows; returns them."""
        if rows:
            write_csv(self._folder / f"{name}.csv", rows)
            (self._folder / f"{name}.tex").write_text(latex(rows))
        return rows


def group_section(files: Files, group: str, runs: Sequence[Run], about: str = "") -> dict[str, Any]:
    """The section of runs that are compared; `about`: the question of their study."""
    name = re.sub(r"\W+", "-", group)[:LONGEST]
    curves = figures.learning_curves(runs)
    tested = [other for run in runs for other in (run, *run.elsewhere)]
    elsewhere = len(tested) > len(runs) and {
        "performance": files.figure(f"{name}-elsewhere", figures.performance(tested)),
        "table": files.table(f"{name}-elsewhere", results_table(tested)),
    }
    analysed = [run for run in runs if run.analysis]
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
        "analyses": [_analysis(files, name, i, run) for i, run in enumerate(analysed)],
    }


def _analysis(files: Files, name: str, index: int, run: Run) -> dict[str, Any]:
    analysis = run.analysis
    assert analysis is not None
    modulation = trace_figures.modulation(analysis)
    interventions = trace_figures.interventions(run, analysis)
    return {
        "title": ", ".join([f"{run.rule} rule", *_chosen(run.folder.name)]),
        "modulation": files.figure(f"{name}-modulation-{index}", modulation),
        "interventions": files.figure(f"{name}-interventions-{index}", interventions),
        "table": files.table(f"{name}-analysis-{index}", analysis_table(run, analysis)),
    }


def _chosen(folder: str) -> list[str]:
    """The fields in the name of a sweep point's folder, without its hash and its rule."""
    point = re.fullmatch(r"(.+),[0-9a-f]{10}", folder)
    fields = point[1].split(",") if point else [folder]
    return [field for field in fields if not field.startswith("rule.name=")]


def evidence_row(evidence: Mapping[str, Any]) -> Row:
    """A comparison of `compare.decide_claims` as a row of a table."""
    margin, more = get(evidence, "margin", float), get(evidence, "direction", str)
    claim = more
    if margin > 0:
        claim = f"at most {margin:g} {'more' if more == 'less' else 'less'}"
    elif margin < 0:
        claim = f"{more} by {-margin:g}"
    row: Row = {name: get(evidence, name, str) for name in ("study", "claimed", "other")}
    row |= {"claim": claim, "of": "ratio" if evidence.get("log") else "difference"}
    # Where logarithms were compared, their mean and interval are those of ratios.
    for name in ("mean", "low", "high"):
        known = None if evidence.get(name) is None else get(evidence, name, float)
        row[name] = math.exp(known) if known is not None and evidence.get("log") else known
    return row | {name: evidence.get(name) for name in ("p", "n", "effect", "diverged", "failed")}


def _rows(path: pathlib.Path) -> list[Row]:
    """A JSON array of objects."""
    with checked(path):
        rows = json.loads(path.read_text())
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it must hold a JSON array of objects")
    return rows


def _verdicts(path: pathlib.Path) -> tuple[list[Row], list[Row]]:
    """verdicts.json: a row per claim, and a row per comparison."""
    claims = _rows(path)
    with checked(path):
        verdicts = [
            {name: get(claim, name, str) for name in ("verdict", "claim", "source")}
            | {"p_adjusted": claim.get("p_adjusted")}
            for claim in claims
        ]
        return verdicts, [evidence_row(e) for c in claims for e in get(c, "evidence", list)]


def _campaign(path: pathlib.Path) -> tuple[dict[str, str], list[Row]]:
    """results.json: the question of each study, and a row per run that failed or was skipped."""
    results = read_json(path, {})
    with checked(path):
        about, failed, skipped = (
            get({name: {}} | results, name, dict) for name in ("studies", "failed", "skipped")
        )
    missing = [
        {"what": what, "why": str(why), "run": run}
        for what, runs in (("failed", failed), ("skipped", skipped))
        for run, why in runs.items()
    ]
    return {study: str(question) for study, question in about.items()}, missing


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

    def of_root(name: str, read: Callable, default: Any) -> Any:
        path = root / name
        return (optional(problems, read, path) if path.exists() else None) or default

    verdicts, evidence = of_root("verdicts.json", _verdicts, ([], []))
    published = of_root("published.json", _rows, [])
    about, missing = of_root("results.json", _campaign, ({}, []))
    groups = {name: groups[name] for name in dict.fromkeys([*about, *groups]) if name in groups}
    manifests = [m for runs in groups.values() for run in runs for m in run.manifests]
    known = ("versions", "device", "python", "revision")
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as temporary:
        draft = pathlib.Path(temporary)
        files = Files(draft / "files")
        html = page(
            title=f"Plasticity: {root.resolve().name}",
            problems=problems,
            verdicts=files.table("verdicts", verdicts),
            evidence=files.table("evidence", evidence),
            published=files.table("published", published),
            missing=missing,
            groups=[group_section(files, n, r, about.get(n, "")) for n, r in groups.items()],
            commands=list(dict.fromkeys(command(manifest["argv"]) for manifest in manifests)),
            versions=sorted({json.dumps({key: m.get(key) for key in known}) for m in manifests}),
        )
        (draft / "page").write_text(html, errors="backslashreplace")
        (draft / "files").rename(folder)
        (draft / "page").rename(out)

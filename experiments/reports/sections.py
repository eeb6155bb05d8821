"""What a report shows: its figures and tables, written as files and as one page."""

import base64
import io
import json
import pathlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from plasticity.experiments.reports import answers, figures, matrix_figures, page, series
from plasticity.experiments.reports.compare import NO_EVIDENCE
from plasticity.experiments.reports.forest import drawn_claims, forest, matter
from plasticity.experiments.reports.found import Found, found_in
from plasticity.experiments.reports.labels import command, metric_label, rule_and_variant
from plasticity.experiments.reports.performance import heat_maps, performance
from plasticity.experiments.reports.runs import Problems, Run
from plasticity.experiments.reports.trace_figures import interventions, modulation
from plasticity.experiments.sweeps.replace import write_csv
from plasticity.experiments.sweeps.tables import Row

LONGEST = 100  # characters of a group's name in the names of its files
MOST_CLAIMS = (6, 26)  # in a wide figure of one column, and of two
VERSIONS = ("versions", "device", "python", "revision")  # fields of a manifest


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
            (self._folder / f"{name}.tex").write_text(page.latex(rows), encoding="utf-8")
        return rows


def group_section(files: Files, group: str, runs: Sequence[Run], about: str = "") -> dict[str, Any]:
    """The section of runs that are compared; `about`: the question of their study."""
    name, curves = files.free_name(group), figures.learning_curves(runs)
    matrices, ranks = series.matrices(runs), matrix_figures.of_stream(runs)
    titled = zip(rule_and_variant(runs), runs, strict=True)
    analysed = [(title, run) for title, run in titled if run.analysis]
    return {
        "title": group.replace("_", " "),
        "about": about[:1].upper() + about[1:],
        "task": runs[0].config["task.name"],
        "metric": metric_label(runs[0].metric),
        "static": all(run.static for run in runs),
        "performance": files.figure(f"{name}-performance", performance(runs)),
        "learning": curves and files.figure(f"{name}-learning", curves),
        "families": {
            family: files.figure(f"{name}-{family}", series.family(runs, family, numbers))
            for family, numbers in series.families(runs).items()
        },
        "stream": matrices and files.figure(f"{name}-stream", matrices),
        "ranks": ranks and files.figure(f"{name}-ranks", ranks),
        "table": files.table(name, page.results_table(runs)),
        "elsewhere": _elsewhere(files, name, runs),
        "analyses": [
            {"title": title} | _analysis(files, name, i, run)
            for i, (title, run) in enumerate(analysed)
        ],
    }


def _analysis(files: Files, name: str, index: int, run: Run) -> dict[str, Any]:
    """The figures and the table of an analysis."""
    matrices = matrix_figures.along_episode(run)
    return {
        "modulation": files.figure(f"{name}-modulation-{index}", modulation(run)),
        "interventions": files.figure(f"{name}-interventions-{index}", interventions(run)),
        "matrices": matrices and files.figure(f"{name}-matrices-{index}", matrices),
        "table": files.table(f"{name}-analysis-{index}", page.analysis_table(run)),
    }


def _elsewhere(files: Files, name: str, runs: Sequence[Run]) -> dict[str, Any] | None:
    """The networks under other settings than in training, if they were tested so."""
    tested = [other for run in runs for other in (run, *run.elsewhere)]
    if len(tested) == len(runs):
        return None
    figure = heat_maps(runs) or performance(tested)
    return {
        "performance": files.figure(f"{name}-elsewhere", figure),
        "table": files.table(f"{name}-elsewhere", page.results_table(tested)),
    }


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
      root: folder of the runs; its verdicts.json, published.json, conditioning.json and
        results.json are shown.
      groups, problems: of `collect`. A message on each damaged file of root is added to problems.
    """
    found = found_in(root, problems)
    order = [*found.results["studies"], *sorted(groups, key=lambda name: -len(groups[name]))]
    groups = {name: groups[name] for name in dict.fromkeys(order) if name in groups}
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as temporary:
        draft = pathlib.Path(temporary)
        content = _content(Files(draft / "files"), found, groups, problems)
        html = page.page(title=f"Plasticity: {root.resolve().name}", **content)
        (draft / "page").write_text(html, encoding="utf-8", errors="backslashreplace")
        (draft / "files").rename(folder)
        (draft / "page").rename(out)


def _content(
    files: Files, found: Found, groups: Mapping[str, list[Run]], problems: Problems
) -> dict[str, Any]:
    """What the template of the page shows, but for its title."""

    def drawn(what: str, draw: Callable, *args: Any) -> Any:
        try:
            return draw(files, *args)
        except OSError:  # of writing
            raise
        except Exception as error:  # whatever Matplotlib raises about numbers that it cannot draw
            problems.append(f"{what} cannot be drawn: {type(error).__name__}: {error}")
            return None

    about = found.results["studies"]
    sections = [drawn(g, group_section, g, runs, about.get(g, "")) for g, runs in groups.items()]
    sections = list(filter(None, sections))
    question, answer = answers.question_and_answer(found, groups)
    # Claims without evidence come last.
    entries = sorted(map(page.entry, found.claims), key=lambda c: c["verdict"] == NO_EVIDENCE)
    manifests = [m for runs in groups.values() for run in runs for m in run.manifests]
    manifests += [found.conditioning["launch"]] if found.conditioning else []
    files.table("verdicts", list(map(page.verdict_row, found.claims)))
    files.table("evidence", [page.evidence_row(e) for c in found.claims for e in c["evidence"]])
    return {
        "problems": problems,
        "question": question,
        "answer": answer,
        "by_source": answers.by_source(found.claims),
        "forest": drawn("verdicts.json", _forest, found.claims),
        "verdicts": entries,
        "published": files.table("published", found.published),
        "missing": [
            {"what": what, "why": why, "run": run}
            for what in ("failed", "skipped")
            for run, why in found.results.get(what, {}).items()
        ],
        "groups": sections,
        "conditioning": drawn("conditioning.json", _conditioning, found.conditioning),
        "commands": list(dict.fromkeys(command(manifest["argv"]) for manifest in manifests)),
        "versions": sorted({json.dumps({k: m.get(k) for k in VERSIONS}) for m in manifests}),
    }


def _forest(files: Files, claims: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The figure of the claims for wide and narrow screens; None: no claim has evidence."""
    drawn = drawn_claims(claims)
    wide = 1 + sum(len(drawn) > most for most in MOST_CLAIMS)
    return drawn and {
        "wide": files.figure("verdicts", forest(drawn, wide)),
        "narrow": files.figure("verdicts-narrow", forest(drawn, 1)),
        "matters": matter(drawn),
    }


def _conditioning(files: Files, content: Mapping[str, Any]) -> str | None:
    return files.figure("conditioning", series.conditioning(content)) if content else None

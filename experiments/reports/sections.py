"""The sections of a report: what each tells, in words, figures and tables."""

import io
import json
import math
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reports.collect import Run
from experiments.reports.page import Page, latex
from experiments.reports.run_tables import analysis_table, results_table
from experiments.sweeps.tables import Row, write_csv

INTRODUCTION = (
    "The networks of these runs carry fast weights in some of their layers: weights that are zero "
    "when an episode begins and are rewritten after every step by a plasticity rule. The rule "
    "hebbian writes what a layer read and answered, gradient writes against a loss of the "
    "network's own, none writes nothing. “Plasticity off” is the same trained net on "
    "the same episodes with its fast weights held at zero. Whiskers and bands are 95 % intervals "
    "over seeds (Student's t), dots are single seeds, crosses seeds that diverged in training and "
    "count as they were last. “Knows nothing” is the score of whoever only knows how "
    "answers are distributed."
)


class Files:
    """Figures and tables as files, beside the page."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        folder.mkdir(parents=True)

    def figure(self, name: str, figure: Any) -> bytes:
        """Writes NAME.svg and NAME.png, and returns the SVG."""
        from matplotlib import pyplot as plt

        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        figure.savefig(self._folder / f"{name}.png", dpi=200)
        plt.close(figure)
        (self._folder / f"{name}.svg").write_bytes(buffer.getvalue())
        return buffer.getvalue()

    def table(self, name: str, rows: Sequence[Row]) -> None:
        """Writes NAME.csv and NAME.tex."""
        write_csv(self._folder / f"{name}.csv", rows)
        (self._folder / f"{name}.tex").write_text(latex(rows))


def add_group(page: Page, files: Files, group: str, runs: Sequence[Run], about: str = "") -> None:
    """A section on runs that are compared; `about`: what they ask."""
    from experiments.reports import figures, trace_figures

    page.section(group.replace("_", " "))
    if about:
        page.text(f"{about[0].upper()}{about[1:]}")
    name = re.sub(r"\W+", "-", group)
    task = runs[0].config["task.name"]
    page.figure(
        files.figure(f"{name}-performance", figures.performance(runs)),
        f"Task {task}: {figures.words(runs[0].metric)} on test episodes, plasticity on and off.",
    )
    curves = figures.learning_curves(runs)
    if curves:
        caption = f"Training: {figures.words(runs[0].metric)} of training episodes."
        page.figure(files.figure(f"{name}-learning", curves), caption)
    table = results_table(runs)
    page.table(table)
    files.table(name, table)
    if any(run.elsewhere for run in runs):
        add_elsewhere(page, files, name, runs)
    for index, run in enumerate(run for run in runs if run.analysis):
        title = ", ".join([f"{run.rule} rule", *_chosen(run.name)])
        page.heading(title)
        svg = files.figure(f"{name}-modulation-{index}", trace_figures.modulation(run))
        page.figure(svg, f"{title}. Modulation; dotted: the untrained net. Below: what happens.")
        svg = files.figure(f"{name}-interventions-{index}", trace_figures.interventions(run))
        page.figure(svg, f"{title}. The trained net under interventions on its writes.")
        table = analysis_table(run)
        page.table(table)
        files.table(f"{name}-analysis-{index}", table)


def _chosen(name: str) -> list[str]:
    """What the folder of a point says of it, without its hash and its rule."""
    told = re.fullmatch(r"(.+),[0-9a-f]{10}", name)
    fields = told[1].split(",") if told else [name]
    return [field for field in fields if not field.startswith("rule.name=")]


def add_elsewhere(page: Page, files: Files, name: str, runs: Sequence[Run]) -> None:
    """The trained nets on test episodes of other kinds, beside those that they were trained on."""
    from experiments.reports import figures

    tested = [other for run in runs for other in (run, *run.elsewhere)]
    page.heading("On episodes that they were not trained on")
    page.figure(
        files.figure(f"{name}-elsewhere", figures.performance(tested)),
        "The same trained nets, tested where they were trained and elsewhere.",
    )
    table = results_table(tested)
    page.table(table)
    files.table(f"{name}-elsewhere", table)


def add_verdicts(page: Page, files: Files, verdicts: Sequence[Mapping[str, Any]]) -> None:
    """The claims, and the comparisons that they rest on."""
    page.section("Verdicts")
    page.text(
        "Each claim is a set of comparisons between paired seeds, tested by the paired t-test. It "
        "is supported if all of them hold significantly, opposite if one significantly fails and "
        "none significantly holds; p < .05, adjusted by Holm's method for the number of claims of "
        "one source. “Not supported” says that these seeds do not show it, not that it "
        "is false: the intervals below tell what remains possible."
    )
    table = [
        {key: claim.get(key) for key in ("verdict", "claim", "source", "p_adjusted")}
        for claim in verdicts
    ]
    page.table(table, marked="verdict")
    files.table("verdicts", table)
    page.heading("Evidence")
    page.text(
        "Differences are claimed - other, ratios claimed / other (the geometric mean, where "
        "logarithms were compared), over n pairs of seeds. The claim is that the first is what "
        "“claim” says of the second. Low and high: 95 % by Student's t, which decides; "
        "boot: by bootstrap, too short for few pairs. Effect: Hedges' g. Nets that diverged or "
        "whose run failed count as knowing nothing where the claim is about stability."
    )
    evidence = [evidence_row(told) for claim in verdicts for told in claim["evidence"]]
    page.table(evidence)
    files.table("evidence", evidence)


def evidence_row(told: Mapping[str, Any]) -> Row:
    """A comparison, as `compare.decide_claims` tells it, in words and numbers to read."""
    claim, margin = told["direction"], told["margin"]
    if margin > 0:
        claim = f"at most {margin:g} {'more' if claim == 'less' else 'less'}"
    elif margin < 0:
        claim = f"{claim} by {-margin:g}"
    row: Row = {name: told[name] for name in ("study", "claimed", "other")}
    row |= {"claim": claim, "of": "ratio" if told["log"] else "difference"}
    # The intervals of logarithms are those of ratios.
    compared = ("mean", "low", "high", "boot_low", "boot_high")
    for name in ("mean", "low", "high", "p", "n", "effect", "boot_low", "boot_high"):
        value = told.get(name)
        ratio = told["log"] and name in compared and value is not None
        row[name] = math.exp(value) if ratio else value
    return row | {name: told.get(name) for name in ("diverged", "failed")}


def add_missing(page: Page, results: Mapping[str, Any]) -> None:
    """What was asked for and is not here."""
    rows = [
        {"what": what, "why": why, "run": run}
        for what in ("failed", "skipped")
        for run, why in dict(results.get(what) or {}).items()
    ]
    if rows:
        page.section("Not run, or failed")
        page.table(rows)


def add_published(page: Page, files: Files, rows: Sequence[Row]) -> None:
    """Published numbers beside ours."""
    page.section("As published")
    page.text(
        "Under the paper's own protocol, flaws included: published mean and deviation over three "
        "seeds beside ours; distance in published deviations."
    )
    page.table(rows)
    files.table("published", rows)


def add_commands(page: Page, groups: Mapping[str, Sequence[Run]]) -> None:
    """How each run was started, on what, with which versions."""
    page.section("Commands")
    manifests = [m for runs in groups.values() for run in runs for m in run.manifests]
    if not manifests:
        page.text("These runs have no manifests.")
        return
    page.code(dict.fromkeys(command(m["argv"]) for m in manifests))
    told = {
        json.dumps({key: m.get(key) for key in ("versions", "device", "python", "revision")})
        for m in manifests
    }
    page.heading("Versions")
    page.code(sorted(told))


def command(argv: Sequence[str]) -> str:
    """What to type; of a worker, the command that it is part of."""
    program = pathlib.PurePath(argv[0])
    flags_given = [a for a in argv[1:] if not a.startswith("--only=") and not a.endswith("=")]
    return shlex.join(["python", "-m", f"{program.parent.name}.{program.stem}", *flags_given])


def write_report(
    root: pathlib.Path, groups: Mapping[str, list[Run]], out: pathlib.Path, folder: pathlib.Path
) -> None:
    """The page and its files."""
    page, files = Page(f"Plasticity: {root.resolve().name}"), Files(folder)
    page.text(INTRODUCTION)
    for name, add in (("verdicts", add_verdicts), ("published", add_published)):
        if (told := root / f"{name}.json").exists():
            add(page, files, json.loads(told.read_text()))
    told = root / "results.json"
    results = json.loads(told.read_text()) if told.exists() else {}
    add_missing(page, results)
    studies = results.get("studies", {})
    groups = {name: groups[name] for name in dict.fromkeys([*studies, *groups]) if name in groups}
    for group, runs in groups.items():
        add_group(page, files, group, runs, studies.get(group, ""))
    add_commands(page, groups)
    out.write_text(page.html)

"""What a report says first: its question and its answer, each a sentence."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

from plasticity.configs.studies import QUESTIONS
from plasticity.experiments.reports import labels
from plasticity.experiments.reports.compare import NO_EVIDENCE, within
from plasticity.experiments.reports.found import Found
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.reports.statistics import NOT_SUPPORTED, OPPOSITE, SUPPORTED, UNDECIDED
from plasticity.experiments.run.checked import is_number
from plasticity.experiments.sweeps.tables import Row

OTHERS = (OPPOSITE, UNDECIDED, NOT_SUPPORTED)


def of_verdicts(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many of the claims that were tested have which verdict."""
    counts = collections.Counter(claim["verdict"] for claim in claims)
    untested = counts.pop(NO_EVIDENCE, 0)
    supported, tested = counts.pop(SUPPORTED, 0), len(claims) - untested
    are = "is" if supported == 1 else "are"
    told = [*OTHERS, *(counts.keys() - OTHERS)]
    others = "".join(f", {counts[verdict]} {verdict}" for verdict in told if counts[verdict])
    rest = f"; {untested} not tested yet" if untested else ""
    return f"{supported} of {tested} claims {are} supported{others}{rest}."


def by_source(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many claims of each source are supported, where there are several sources."""
    tested = [claim for claim in claims if claim["verdict"] != NO_EVIDENCE]
    sources = collections.Counter(claim["source"] for claim in tested)
    own = collections.Counter(c["source"] for c in tested if c["verdict"] == SUPPORTED)
    if len(sources) < 2:
        return ""
    parts = "; ".join(f"{source}, {own[source]} of {n}" for source, n in sources.items())
    return f"Supported, of the claims of each source that have runs: {parts}."


def of_published(table: Sequence[Row]) -> str:
    """How many published numbers came out again."""
    (near, cells), (nearer, _) = within(table, 2), within(table, 1)
    within_two = f"{near} of {cells} published numbers came out again within two deviations"
    return f"{within_two}, {nearer} within one."


def of_runs(runs: Sequence[Run]) -> str:
    """The best run of a group, beside itself with plasticity off."""
    sign = -1 if labels.less_is_better(runs[0].metric) else 1
    scores = [(sign * mean, half) for mean, half in (run.interval() for run in runs)]
    ranked = [mean if math.isfinite(mean) else -math.inf for mean, _ in scores]
    place = ranked.index(max(ranked))
    best, name = runs[place], labels.rule_and_variant(runs)[place]
    level = sum(mean + half >= max(ranked) for mean, half in scores) - 1
    asides = [] if best.static else [f"with plasticity off {_interval(*best.interval(False))}"]
    asides += [] if best.chance is None else [f"chance level {labels.cell(best.chance)}"]
    whom = f"Best of {len(runs)} runs: {name}, with" if len(runs) > 1 else f"{name}:"
    score = f"{labels.metric_label(best.metric)} {_interval(*best.interval())}"
    aside = f" ({'; '.join(asides)})" if asides else ""
    reach = f" Others that reach it within their intervals: {level}."
    return f"{whom} {score}{aside}.{reach * (level > 0)}"


def of_tasks(runs: Sequence[Run], fields: Sequence[str]) -> str:
    """The best run at the first and at the last of the tasks, which differ in these fields."""
    names = dict(zip(map(id, runs), labels.variants(runs, fields), strict=True))

    def place(run: Run) -> list[tuple[bool, Any]]:
        values = [run.config.get(field) for field in fields]
        return [(is_number(v), v if is_number(v) else str(v)) for v in values]

    ordered = sorted(runs, key=place)
    ends = dict.fromkeys((names[id(ordered[0])], names[id(ordered[-1])]))
    return " ".join(f"At {n}: {of_runs([r for r in ordered if names[id(r)] == n])}" for n in ends)


def _interval(mean: float, half: float) -> str:
    return labels.cell(mean) + (f" ± {half:.2g}" if math.isfinite(half) else "")


def of_conditioning(content: Mapping[str, Any]) -> str:
    """How many rules show each effect."""
    effects = [record["effects"] for record in content["rules"].values()]
    counts = collections.Counter(name for own in effects for name in own if own[name]["shows"])
    shown = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.most_common())
    return f"Of {len(effects)} rules, so many show each effect: {shown}."


def _of_group(runs: Sequence[Run]) -> tuple[str, str]:
    plastic = "" if all(run.static for run in runs) else ", and how much of it is plasticity"
    task = runs[0].config["task.name"].replace("_", " ")
    if fields := [field for field in labels.varied(runs) if field.startswith("task.")]:
        changes = " and ".join(map(labels.field_label, fields))
        asked = f"How good are networks at {task} as its {changes} changes{plastic}?"
        return asked, of_tasks(runs, fields)
    several = f"Which of {len(runs)} networks is best"
    which = several if len(runs) > 1 else "How good is a network"
    return f"{which} at {task}{plastic}?", of_runs(runs)


def question_and_answer(found: Found, groups: Mapping[str, Sequence[Run]]) -> tuple[str, str]:
    """What the runs of a folder are to tell, and what they tell."""
    compared = [row for row in found.published if "distance" in row]
    asked, answer = "What was found?", ""
    if found.claims:
        asked, answer = f"Which of {len(found.claims)} claims hold?", of_verdicts(found.claims)
    elif compared:
        asked, answer = "Do the published numbers come out again?", of_published(compared)
    elif groups:
        asked, answer = _of_group(next(iter(groups.values())))
    elif found.conditioning:
        asked = "Which effects of classical conditioning do these rules show?"
        answer = of_conditioning(found.conditioning)
    return QUESTIONS.get(str(found.results.get("preset")), asked), answer

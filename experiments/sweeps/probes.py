"""Studies of untrained memories: measured once, and gathered as rows like those of runs."""

import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax

from plasticity.configs.probes import ProbeStudy
from plasticity.experiments.probing.concept_shift import concept_shift
from plasticity.experiments.probing.crosstalk import Spread
from plasticity.experiments.probing.designs import EFFECTS, MARGIN, courses, drawn, verdict
from plasticity.experiments.probing.recall_errors import Drawn, Sizes, record, shown, simulation
from plasticity.experiments.probing.untrained import untrained
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.sweeps.replace import set_aside, write_value
from plasticity.experiments.sweeps.tables import Row

ROWS = "rows.json"  # in the folder of a study
SCHEMA = {"cells": [{"point": dict, "rows": [dict]}]}


def interference(
    seeds: Sequence[int], *, rule: str, dim: int, items: int, winners: int = 1, **further: Any
) -> list[Row]:
    """{metric: value} of each seed: what `experiments.interference` prints, and means by age.

    Args:
      seeds: of the draws.
      rule, dim, items, winners: as the flags.
      **further: fields of `Drawn`.
    """
    learner, sizes = untrained(rule), Sizes(items, dim)
    given = Drawn(spread=Spread(winners=winners), **further)
    simulated = simulation(learner, sizes, given)

    def measured(seed: int) -> Row:
        cell = record(learner, sizes, given, found := simulated(seed))
        third = max(1, found.mse.shape[1] // 3)
        ages = {"oldest": slice(third), "newest": slice(-third, None)}
        return {n: cell[n] for n in ("mse", "accuracy", "expected") if n in cell} | {
            f"{name}_{age}": shown(draws[:, items].mean())
            for name, draws in found._asdict().items()
            for age, items in ages.items()
        }

    return [measured(seed) for seed in seeds]


def conditioning(seeds: Sequence[int], *, rule: str) -> list[Row]:
    """{effect: measure} of each seed of `experiments.conditioning`, and the criterion."""

    def measured(seed: int) -> Row:
        rate, designs = drawn(seed)
        found = courses(untrained(rule, rate=rate), designs)
        measures = {name: shown(verdict(one, found).measure) for name, one in EFFECTS.items()}
        return measures | {"criterion": MARGIN}

    return [measured(seed) for seed in seeds]


# {name: function of seeds and of the fields of a point}
PROBES: dict[str, Callable[..., list[Row]]] = {
    "interference": interference,
    "conditioning": conditioning,
    "concept_shift": concept_shift,
}


def measure(
    folder: pathlib.Path, studies: Mapping[str, ProbeStudy], wanted: Collection[str]
) -> list[Row]:
    """The rows of studies, one per point and seed, computed in float64.

    Args:
      folder: of the campaign; FOLDER/STUDY/rows.json is written after each point.
      studies: by name.
      wanted: names of those to measure; of the others, what was measured before is gathered.
    """
    rows = []
    with jax.enable_x64(True):
        for name, study in studies.items():
            for point, found in _cells(folder / name / ROWS, study, name in wanted):
                labels = {"study": name, "task": study.task} | point
                rows += [labels | {"seed": seed} | row for seed, row in enumerate(found)]
    return rows


def _cells(path: pathlib.Path, study: ProbeStudy, wanted: bool) -> list[tuple[Row, list[Row]]]:
    """(a point, its rows) of all that is measured."""
    stored, cells = _stored(path), []
    for point in ({**study.fixed, **chosen} for chosen in study.points):
        known = (c["rows"] for c in stored if c["point"] == point and len(c["rows"]) == study.seeds)
        rows = next(known, None)
        if rows is None and wanted:
            print(f"measured: {path.parent.name}: {point}", flush=True)
            rows = PROBES[study.probe](range(study.seeds), **point)
            stored.append({"point": point, "rows": rows})
            path.parent.mkdir(parents=True, exist_ok=True)
            write_value(path, {"cells": stored})
        cells += [] if rows is None else [(point, rows)]
    return cells


def _stored(path: pathlib.Path) -> list[Row]:
    """The cells of a file; none if there is no such file, or it is damaged."""
    try:
        return read(path, SCHEMA)["cells"] if path.exists() else []
    except DamagedFileError:
        set_aside(path)
        return []

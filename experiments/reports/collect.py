"""The finished runs under a folder, in groups that are compared."""

import collections
import json
import os
import pathlib
from collections.abc import Iterator

from plasticity.experiments.reports.found import ALONE
from plasticity.experiments.reports.labels import command, varied_within_rules
from plasticity.experiments.reports.runs import MANIFEST, Problems, Run, optional, read_run
from plasticity.experiments.run.checked import read
from plasticity.experiments.validate import ConfigError
from plasticity.rules import RULES


def collect(root: pathlib.Path, problems: Problems | None = None) -> dict[str, list[Run]]:
    """The finished runs under a folder, by group: runs in one folder and of one task are compared.

    Symbolic links are followed; a folder that is reached twice is read once.

    Args:
      root: a folder of runs at any depth, or of one run.
      problems: a message on each file that cannot be read, and on each run that is not finished, is
        added to it.

    Raises:
      ConfigError: there is no finished run, nor a file of ALONE; the message says what there is.
    """
    problems = [] if problems is None else problems
    if not root.is_dir():
        what = "is a file, not a folder of runs" if root.exists() else "does not exist"
        raise ConfigError(f"--runs={root} {what}")
    groups: dict[tuple[pathlib.Path, str, str], list[Run]] = collections.defaultdict(list)
    for folder, names in _run_folders(root, problems):
        if "result.json" not in names:
            manifest = optional([], read, folder / "manifest.json", MANIFEST)
            how = (
                command(manifest["argv"]) if manifest and manifest["argv"] else "repeat its command"
            )
            what = "is not finished, for it has no result.json. To resume it"
            problems.append(f"{folder} {what}: {how}")
        elif run := optional(problems, read_run, folder, names, problems):
            parent = folder if folder == root else folder.parent
            groups[parent, run.config["task.name"], run.metric].append(run)
    if not groups and not any((root / name).exists() for name in ALONE):
        found = problems or ["no folder in it has a config.json and a result.json"]
        raise ConfigError("\n  ".join([f"--runs={root} holds no finished run:", *found]))
    folders = collections.Counter(folder for folder, *_ in groups)
    named = {}
    for (folder, task, metric), runs in groups.items():
        name = str(folder.relative_to(root)) if folder != root else root.resolve().name
        name = name if folders[folder] == 1 else f"{name}: {task}, {metric}"
        named[f"{name}/" if name in named else name] = _ordered(_pooled(runs, problems))
    return named


def _run_folders(root: pathlib.Path, problems: Problems) -> Iterator[tuple[pathlib.Path, set[str]]]:
    """Folders that hold a run, finished or not, each with the names in it."""
    seen = set()
    walk = os.walk(root, onerror=lambda error: problems.append(str(error)), followlinks=True)
    for where, folders, files in walk:
        real = os.path.realpath(where)
        names = {*folders, *files}
        folders.sort()
        if real in seen:
            folders.clear()
        elif names & {"config.json", "result.json"}:
            # No run lies in a folder of checkpoints, which may hold thousands of others.
            folders[:] = [name for name in folders if not name.startswith("checkpoints")]
            yield pathlib.Path(where), names
        seen.add(real)


def _pooled(runs: list[Run], problems: Problems) -> list[Run]:
    """Runs that differ in nothing but their seeds, as one."""
    pooled: dict[str, Run] = {}
    for run in runs:
        same = {k: v for k, v in run.config.items() if k not in ("seed", "train.num_seeds")}
        key = json.dumps(same, sort_keys=True)
        pooled[key] = _joined(pooled[key], run, problems) if key in pooled else run
    return list(pooled.values())


def _joined(whole: Run, run: Run, problems: Problems) -> Run:
    # A copy of a run is not a second seed.
    if {own["seed"] for own in run.seeds} & {own["seed"] for own in whole.seeds}:
        problems.append(f"{run.folder} holds seeds that {whole.folder} holds too: left out")
        return whole
    a, b = whole.analysis, run.analysis
    analysis = a or b
    if a and b and a["events"] == b["events"] and a["layers"] == b["layers"]:
        analysis = a | {"seeds": a["seeds"] + b["seeds"]}
    return whole._replace(
        seeds=whole.seeds + run.seeds,
        curve=whole.curve + run.curve,
        analysis=analysis,
        manifests=whole.manifests + run.manifests,
        elsewhere=_pooled([*whole.elsewhere, *run.elsewhere], problems),
    )


def _ordered(runs: list[Run]) -> list[Run]:
    """Runs of a group by the fields in which they differ, then by rule, as in the registry."""
    fields, rules = varied_within_rules(runs), list(RULES)

    def place(run: Run) -> tuple:
        values = [run.config.get(field) for field in fields]
        keys = [(0, v, "") if isinstance(v, int | float) else (1, 0, str(v)) for v in values]
        return (*keys, rules.index(run.rule) if run.rule in rules else len(rules))

    return sorted(runs, key=place)

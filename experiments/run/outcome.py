"""How a run ended: the content of result.json, or the message about a run that diverged."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from plasticity.checks import check_meta_gradient, first_nonfinite
from plasticity.experiments import build
from plasticity.experiments.run.curriculum import Curriculum
from plasticity.experiments.run.evaluate import Summary, averaged
from plasticity.experiments.run.manifest import device_name
from plasticity.experiments.run.result import PARTS
from plasticity.experiments.run.seeds import Seeds
from plasticity.learner import Learner, TrainState
from plasticity.rules import RULES, PlasticSettings
from plasticity.task import Task
from plasticity.types import Array, PyTree


def result_of(
    config: ConfigDict,
    task: Task,
    seeds: Seeds,
    summaries: list[tuple[Summary, Summary]],
    clock: Mapping[str, float],
) -> dict[str, Any]:
    """The content of result.json.

    Args:
      summaries: (plasticity on, plasticity off) of each seed. clock: seconds of the run.
    """
    episodes = config.train.steps * config.train.batch
    return {
        "status": "complete",
        "task": config.task.name,
        "rule": config.rule.name,
        "seed": config.seed,
        "steps": config.train.steps,
        "train_episodes": episodes,
        "main_metric": task.main_metric,
        "chance": task.chance,
        **averaged(seeds, summaries),
        "wall_seconds": clock["wall_seconds"],
        "compile_seconds": clock["compile_seconds"],
        "episodes_per_second": episodes * len(seeds.numbers) / (clock["train_seconds"] or 1e-9),
        "device": device_name(),
    }


def headline(result: Mapping[str, Any], static: bool) -> dict[str, dict[str, float]]:
    """{"test": {metric: mean, metric_ci95: interval}} of the headline metric of a result.

    "test_off" is the same with plasticity off; a static net has none.
    """
    metric, found = result["main_metric"], {}
    for suffix, part in PARTS.items():
        if not suffix or not static:
            own = result[part][metric]
            found[f"test{suffix}"] = {metric: own["mean"], f"{metric}_ci95": own["ci95"]}
    return found


def add_ends(
    result: dict[str, Any], ends: Mapping[str, Mapping[int, int]], curriculum: Curriculum
) -> None:
    """Adds to a result how far its curriculum came, and to its seeds how they ended.

    Args:
      ends: {field: {index of a seed: step}}.
    """
    result |= curriculum.outcome()
    for which, record in enumerate(result.get("seeds", [result])):
        record |= {end: steps[which] for end, steps in ends.items() if which in steps}
        record |= curriculum.reached()


def check_plasticity_learns(config: ConfigDict, seeds: Sequence[Mapping[str, float]]) -> None:
    """Checks the metrics of each seed in the first step under the full meta-gradient.

    Without that gradient plasticity is not learned, and no other metric shows it.

    Raises:
      PlasticityError: the gradient of a seed is zero.
    """
    rule = config.rule
    # What another rule learns is not known here.
    known = issubclass(RULES[rule.name].settings, PlasticSettings)
    if known and build.writes_layers(config) and rule.meta_gradient == "full" and rule.eta0 > 0:
        for values in seeds:
            check_meta_gradient(values, rule.modulated and rule.alpha_scale != 0)


def cures(checkpoint: str) -> str:
    """What is left of a seed that diverged, and what usually helps."""
    return (
        f"Last good checkpoint: {checkpoint}. Usual cures: a smaller train.learning_rate or "
        "rule.eta0; rule.max_norm > 0."
    )


def post_mortem(
    learner: Learner, state: TrainState, seed: Array, hyper: PyTree, values: Mapping[str, float]
) -> str:
    """The message about a seed whose step from `state` has the metrics `values`, not all finite."""
    try:
        culprit = first_nonfinite(learner, state, seed, hyper)
    except Exception as error:  # of the search; the message reports what is known without it
        culprit = f"not found, because the replay failed: {error}"
    return (
        f"loss {values['loss']}, gradient norm {values['grad_norm']}. First quantity that is not "
        f"finite: {culprit}."
    )

"""How a run ended: result.json, or what to say of one that diverged."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from experiments.run.evaluate import Summary, records_of
from experiments.run.manifest import device_name
from experiments.run.metrics import across_seeds
from experiments.run.seeds import Seeds
from plasticity.checks import first_nonfinite
from plasticity.learner import Learner, TrainState
from plasticity.types import Array, PyTree, Task

CURES = "Usual cures: a smaller train.learning_rate or rule.eta0; rule.max_norm > 0."


def result_of(
    config: ConfigDict,
    task: Task,
    seeds: Seeds,
    summaries: Sequence[tuple[Summary, Summary]],
) -> dict[str, Any]:
    """result.json of a complete run, but for its speed.

    Args:
      summaries: of each seed, with plasticity on and off.
    """
    on, off = (across_seeds(own) for own in zip(*summaries, strict=True))
    result = {
        "status": "complete",
        "task": config.task.name,
        "rule": config.rule.name,
        "seed": config.seed,
        "steps": config.train.steps,
        "train_episodes": config.train.steps * config.train.batch,
        "metrics": on,
        "metrics_plasticity_off": off,
        "main_metric": task.main_metric,
        "chance": task.chance,
    }
    return result | records_of(seeds, summaries)


def speed(config: ConfigDict, clock: Mapping[str, float]) -> dict[str, Any]:
    """How long a complete run took, and on what."""
    episodes = config.train.steps * config.train.batch * config.train.num_seeds
    return {
        "wall_seconds": clock["wall_seconds"],
        "compile_seconds": clock["compile_seconds"],
        "episodes_per_second": episodes / clock["train_seconds"],
        "device": device_name(),
    }


def post_mortem(
    learner: Learner, state: TrainState, seed: Array, hyper: PyTree, values: Mapping[str, float]
) -> str:
    """What to say of a seed whose next step is not finite.

    Args:
      state: before that step. values: its metrics.
    """
    try:
        culprit = first_nonfinite(learner, state, seed, hyper)
    except Exception as error:  # the run is over: say what is known rather than this
        culprit = f"not found, for the replay failed: {error}"
    return (
        f"loss {values['loss']}, gradient norm {values['grad_norm']}. First quantity that is not "
        f"finite: {culprit}."
    )

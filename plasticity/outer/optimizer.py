"""One step of the outer loop, of which an optimizer supplies the direction.

  g <- g min(1, clip / ||g||);   w <- w - rate_t (direction(g) + weight_decay w)

Clip, rate, warm-up, schedule and weight decay, which is decoupled (Loshchilov and Hutter 2019,
arXiv 1711.05101), are the same for all optimizers.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
import optax.contrib

from plasticity.outer.conditioning import train_best_conditioned
from plasticity.outer.periods import Periods, by_periods
from plasticity.registry import exportable, lookup
from plasticity.types import PyTree, Scalar

SCHEDULES: dict[str, Callable[[int], optax.Schedule]] = {
    "constant": lambda steps: optax.constant_schedule(1.0),
    "cosine": lambda steps: optax.cosine_decay_schedule(1.0, max(steps, 1)),
}

# The states of Optax that the optimizers here are made of.
exportable(
    optax.EmptyState,
    optax.MaskedNode,
    optax.MaskedState,
    optax.ScaleByAdamState,
    optax.ScaleByScheduleState,
    optax.TraceState,
    optax.contrib.MuonState,
    optax.transforms.PartitionState,
)


class Optimizer(NamedTuple):
    """What an entry of `OPTIMIZERS` makes."""

    direction: optax.GradientTransformation  # of a step, before decay and learning rate
    matrices_only: bool = False  # all but slow weight matrices take Adam's direction
    decays: bool = True  # whether weight decay may be used with it
    best: tuple[int, float] | None = None  # arguments of `train_best_conditioned`; None: train all
    periods: Periods = ()  # of parts of the slow weights; all others change at every step


def relative_rate(schedule: str, steps: int, warmup: int) -> optax.Schedule:
    """The factor [] of the full rate at each step: linear warm-up, then the schedule.

    Args:
      schedule: a name of `SCHEDULES`.
      steps: training steps in all.
      warmup: of these, those in which the rate rises.

    Raises:
      ValueError: the schedule is unknown.
    """
    after = lookup(SCHEDULES, schedule, "train.schedule")(steps - warmup)
    # Step 0 already moves, by 1 / warmup of the full rate.
    return optax.join_schedules([lambda count: (count + 1) / max(warmup, 1), after], [warmup])


def chained(
    optimizer: Optimizer,
    rate: optax.Schedule,
    weight_decay: Scalar,
    clip: Scalar,
    slow: Callable[[PyTree], PyTree],
) -> optax.GradientTransformation:
    """The whole step: clip, direction, weight decay, learning rate.

    Args:
      optimizer: the direction, and what goes with it.
      rate: (number of the update) -> learning rate [].
      weight_decay: per step, times the learning rate.
      clip: largest global norm of the gradient.
      slow: parameters -> a tree of bool, which are slow weights. Only they decay, and only they are
        weight matrices: a coefficient of plasticity stands for itself.
    """
    direction = optimizer.direction
    if optimizer.matrices_only:

        def kinds(params: PyTree) -> PyTree:
            return jax.tree.map(
                lambda w, yes: "matrix" if yes and w.ndim == 2 else "other", params, slow(params)
            )

        ways = {"matrix": direction, "other": optax.scale_by_adam()}
        direction = optax.partition(ways, kinds)
    # The nesting is that of optax.adamw, so that checkpoints of earlier versions fit.
    decay = optax.add_decayed_weights(weight_decay, slow)

    def whole(period: int) -> optax.GradientTransformation:
        # Update n of a part happens at the last step of its period n, and has that step's rate.
        step = optax.scale_by_learning_rate(lambda count: rate(count * period + period - 1))
        return optax.chain(direction, decay, step)

    parts = [optax.clip_by_global_norm(clip), by_periods(optimizer.periods, whole)]
    if optimizer.best is not None:  # last, so that what is not trained does not decay either
        parts.append(train_best_conditioned(*optimizer.best, among=slow))
    return optax.chain(*parts)

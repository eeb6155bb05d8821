"""Shared by backbones: the choice of plastic parts, and the initialisation of parameters."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.registry import nearest
from plasticity.task import Observation, TaskShape
from plasticity.types import Activity, Array, Key, LayerShape, PyTree


def plastic_parts(value: str, known: Sequence[str]) -> frozenset[str]:
    """Returns the parts in `model.plastic`, a list separated by commas, or "none".

    Raises:
      ValueError: the list is empty, a part is unknown, or one is named twice.
    """
    if value == "none":
        return frozenset()
    parts = [part.strip() for part in value.split(",")]
    for part in parts:
        if part not in known:
            raise ValueError(
                f"model.plastic={value!r}: {part!r} is not a part of this network: "
                f"{nearest(part, known)}; several are joined by commas"
            )
    if len(set(parts)) < len(parts):
        raise ValueError(f"model.plastic={value!r} names a part twice")
    return frozenset(parts)


def check_tied(tied: bool, task: TaskShape) -> None:
    """Raises ValueError for `model.tied` unless inputs and answers are the same tokens."""
    if tied and not (task.tokens and task.inputs == task.outputs):
        raise ValueError(
            "model.tied=True must be False for this task: its inputs and its answers are not the "
            "same tokens"
        )


def first_inputs(task: TaskShape) -> Array | Observation:
    """Returns zero inputs [1, ...] of a task, by which parameters are initialised."""
    if task.tokens:
        return jnp.zeros((1,), jnp.int32)
    vector = jnp.zeros((1, task.inputs))
    return vector if task.image is None else Observation(jnp.zeros((1, *task.image)), vector)


def initialized(
    module: nn.Module, first_step: Callable[..., dict[str, Activity]]
) -> tuple[Callable[[Key], PyTree], dict[str, LayerShape], list[str]]:
    """How a network begins, and what of it is plastic.

    Args:
      module: a Linen module.
      first_step: (module) -> activities of one step, which creates every parameter.

    Returns:
      (key) -> slow parameters, the shapes of the plastic layers, and the names of memory sites.
    """
    # Without jit, Linen would run the network eagerly, operation by operation.
    init = jax.jit(lambda key: module.init(key, method=first_step))
    activities, _ = jax.eval_shape(
        lambda key: module.init_with_output(key, method=first_step), jax.random.key(0)
    )
    layers = {n: a for n, a in activities.items() if isinstance(a, Activity)}
    shapes = {n: LayerShape(a.post.shape[-1], a.pre.shape[-1]) for n, a in layers.items()}
    return init, shapes, [name for name in activities if name not in layers]

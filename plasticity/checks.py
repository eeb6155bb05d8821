"""Checks that turn silent failures of plasticity into explanations."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from plasticity.episode import scan_episode
from plasticity.learner import Knobs, Learner, Stream, TrainState
from plasticity.types import Array, PyTree


class PlasticityError(RuntimeError):
    """Training cannot go on; the message says where and why."""


def check_meta_gradient(metrics: Mapping[str, float]) -> None:
    """Looks at the metrics of a first training step under the full meta-gradient.

    Raises:
      PlasticityError: the gradient with respect to alpha or the modulator is zero or not finite.
    """
    for key, name in (("grad_alpha", "alpha"), ("grad_modulator", "the modulator")):
        norm = metrics[key]
        if not math.isfinite(norm):
            raise PlasticityError(
                f"the gradient of the loss with respect to {name} is {norm}: the inner loop "
                "diverges from the start. Lower rule.eta0 or rule.alpha_scale, or set "
                "rule.max_norm to clip the writes."
            )
        if norm == 0:
            raise PlasticityError(
                f"the gradient of the loss with respect to {name} is exactly zero, so plasticity "
                "cannot be learned. Usual causes: rule.alpha_scale=0 (nothing that is written can "
                "be read), a task of a single step (nothing is read after it was written), or a "
                "stop_gradient around the writes. Where nothing is to be learned, say so: "
                "rule.meta_gradient='truncated' or rule.eta0=0 skip this check."
            )


def first_nonfinite(learner: Learner, state: TrainState, seed: Array, knobs: Knobs) -> str:
    """Names the first quantity that is not finite in the next training step, in causal order.

    Slow and thorough: it replays the batch, step by step, with every intermediate kept.
    """
    bad = _first_bad(state.params, "")
    if bad:
        return f"parameter {bad}"
    network = learner.make_network(knobs)
    episodes = learner.episodes(seed, Stream.TRAIN, state.step, jnp.arange(learner.batch))
    bad = _first_bad(episodes, "")
    if bad:
        return f"the episodes themselves ({bad})"
    # Dropout is left out: what diverges does so without it, or in the gradient, named last.
    traces = jax.vmap(lambda x: scan_episode(network, state.params, x, record=lambda s: s.fast))(
        episodes.inputs
    )
    for t in range(learner.task.steps):
        for kind, tree in (
            ("output", traces.outputs),
            ("write", traces.writes),
            ("fast weight", traces.record),
        ):
            bad = _first_bad(jax.tree.map(lambda a, t=t: a[:, t], tree), "")
            if bad:
                return f"{kind} {bad} at step {t} of the episode"
    (loss, _), grads = jax.value_and_grad(learner.loss, has_aux=True)(
        state.params, seed, state.step, knobs
    )
    if not jnp.isfinite(loss):
        return "the loss, though every output is finite"
    return f"the gradient of {_first_bad(grads, '') or 'nothing: the norm overflows'}"


def _first_bad(tree: PyTree, default: str) -> str:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.isfinite(leaf).all():
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return default

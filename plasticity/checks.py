"""Checks that turn silent failures of plasticity into explanations."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from plasticity.learner import Hyperparameters, Learner, RandomStream, TrainState
from plasticity.memory import replay
from plasticity.steps import length
from plasticity.types import Array, PyTree
from plasticity.unroll import run_episode


class PlasticityError(RuntimeError):
    """Training cannot go on; the message says where and why."""


def check_meta_gradient(metrics: Mapping[str, float], modulator: bool) -> None:
    """Looks at the metrics of a first training step under the full meta-gradient.

    Args:
      metrics: of that step.
      modulator: whether the modulator has to get a gradient. It gets none if the rule does not hear
        it, nor at the first step if alpha starts at 0, for then no write can be read yet.

    Raises:
      PlasticityError: the gradient with respect to alpha or the modulator is zero or not finite.
    """
    learned = (("grad_alpha", "alpha", True), ("grad_modulator", "the modulator", modulator))
    for key, name, needed in learned:
        norm = metrics[key]
        if not math.isfinite(norm):
            raise PlasticityError(
                f"the gradient of the loss with respect to {name} is {norm}: the inner loop "
                "diverges from the start. Lower rule.eta0 or rule.alpha_scale, or set "
                "rule.max_norm to clip the writes."
            )
        if norm == 0 and needed:
            raise PlasticityError(
                f"the gradient of the loss with respect to {name} is exactly zero, so plasticity "
                "cannot be learned. Usual causes: rule.eta0 so small that what is written "
                "underflows, a task of a single step (nothing is read after it was written), or a "
                "stop_gradient around the writes. Where nothing is to be learned, say so: "
                "rule.meta_gradient='truncated' or rule.eta0=0 skip this check."
            )


def first_nonfinite(
    learner: Learner, state: TrainState, seed: Array, hyper: Hyperparameters
) -> str:
    """Names the first quantity that is not finite in the next training step, in causal order.

    Replays the batch step by step and keeps a flag, not the value, of every intermediate. Dropout
    is left out of the replay of the episode, though not of the gradient.
    """
    bad = _first_bad(jax.tree.map(_finite, state.params))
    if bad:
        return f"parameter {bad}"
    network = learner.make_network(hyper)
    episodes = learner.episodes(
        seed, RandomStream.TRAIN, state.step, jnp.arange(learner.batch), hyper.data
    )
    bad = _first_bad(jax.tree.map(_finite, episodes))
    if bad:
        return f"the episodes themselves ({bad})"

    def flags(inputs: PyTree, queries: PyTree) -> dict[str, PyTree]:
        trace = run_episode(network, state.params, inputs, None, queries)
        by_step = {"output": trace.outputs, "write": trace.writes}
        by_step = jax.tree.map(jax.vmap(_finite), by_step)
        fast = {
            name: replay(network.backbone.shapes[name], write, lambda w: jax.tree.map(_finite, w))
            for name, write in trace.writes.items()
        }
        return by_step | {"fast weight": fast}  # every leaf [T]

    # In microbatches too: what only just fits in training must fit here.
    replay_all = jax.jit(
        lambda *asked: jax.lax.map(
            lambda one: flags(*one), asked, batch_size=learner.microbatch or learner.batch
        )
    )
    finite = jax.tree.map(lambda f: f.all(0), replay_all(episodes.inputs, episodes.queries))
    steps = learner.task.steps
    for t in range(length(finite["output"])):
        for kind in ("output", "write", "fast weight") if t < steps else ("output",):
            bad = _first_bad(jax.tree.map(lambda f, t=t: f[t], finite[kind]))
            if bad:
                when = f"step {t} of the episode" if t < steps else f"query {t - steps}"
                return f"{kind} {bad} at {when}"
    metrics, grads = jax.jit(learner.gradient)(state.params, seed, state.step, hyper)
    if not jnp.isfinite(metrics["loss"]):
        return "the loss, though every output is finite without dropout"
    bad = _first_bad(jax.tree.map(_finite, grads))
    return f"the gradient of {bad}" if bad else "the norm of the gradient, which overflows"


def _finite(array: Array) -> Array:
    return jnp.isfinite(array).all()


def _first_bad(flags: PyTree) -> str:
    """Path of the first leaf that is False, or nothing."""
    for path, flag in jax.tree_util.tree_leaves_with_path(flags):
        if not flag:
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return ""

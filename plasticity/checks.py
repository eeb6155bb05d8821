"""Checks that find silent failures of training and name their cause."""

import math
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.learner import Hyperparameters, Learner, RandomStream, TrainState
from plasticity.memory import replay
from plasticity.steps import length
from plasticity.types import Array, PyTree
from plasticity.unroll import run_episode


class PlasticityError(RuntimeError):
    """Training cannot continue; the message names the quantity and the likely cause."""


def check_meta_gradient(metrics: Mapping[str, float], modulator: bool) -> None:
    """Checks that plasticity receives a gradient, after the first step with the full meta-gradient.

    Args:
      metrics: of that step, with "grad_alpha" and, unless the backbone names no weights of the
        modulator, "grad_modulator".
      modulator: whether the modulator has to receive a gradient. It receives none if the rule does
        not use it, nor at the first step if alpha starts at 0: no read then depends on a write.

    Raises:
      PlasticityError: the gradient with respect to alpha or the modulator is zero or not finite.
    """
    learned = (("grad_alpha", "alpha", True), ("grad_modulator", "the modulator", modulator))
    for key, name, needed in learned:
        norm = metrics.get(key, 1.0)
        if not math.isfinite(norm):
            raise PlasticityError(
                f"the gradient of the loss with respect to {name} is {norm}: the inner loop "
                "diverges from the start. Lower rule.eta0 or rule.alpha_scale, or set "
                "rule.max_norm to clip the writes."
            )
        if norm == 0 and needed:
            raise PlasticityError(
                f"the gradient of the loss with respect to {name} is exactly zero, so plasticity "
                "cannot be learned. Usual causes: a rule that writes only zeros, because nothing "
                "passes a threshold, rule.eta0 so small that the writes underflow, a "
                "task of a single step (no write is ever read), or a stop_gradient around the "
                "writes. If plasticity is not to be learned, rule.meta_gradient='truncated' or "
                "rule.eta0=0 skips this check."
            )


def first_nonfinite(
    learner: Learner, state: TrainState, seed: Array, hyper: Hyperparameters
) -> str:
    """Names the first quantity, in causal order, that is not finite in the next training step.

    It replays the batch and stores one flag per intermediate quantity instead of its value. The
    replay of the episode has no dropout; the gradient, which is computed last, has. Neither
    includes the changes that `Learner.refresh` makes to the weights.

    Args:
      learner, state, seed, hyper: as for the training step that failed.

    Returns:
      A phrase such as "write block_0/fc1/rate at step 7 of the episode".
    """
    bad = _first_bad(jax.tree.map(_finite, state.params))
    if bad:
        return f"parameter {bad}"
    hyper = learner.warmed_up(hyper, state.step)
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
        every = partial(jax.tree.map, _finite)
        fast = {
            name: replay(network.layers[name], write, every, network.rule.form)
            for name, write in trace.writes.items()
        }
        return by_step | {"fast weight": fast}  # every leaf [T]

    # In microbatches, as in training: a batch that only just fits in memory must fit here, too.
    replay_all = jax.jit(
        lambda *inputs: jax.lax.map(
            lambda episode: flags(*episode),
            inputs,
            batch_size=learner.microbatch or learner.batch,
        )
    )
    finite = jax.tree.map(lambda f: f.all(0), replay_all(episodes.inputs, episodes.queries))
    steps = learner.task.trained_on.steps
    for t in range(length(finite["output"])):
        for kind in ("output", "write", "fast weight") if t < steps else ("output",):
            bad = _first_bad(jax.tree.map(lambda f, t=t: f[t], finite[kind]))
            if bad:
                when = f"step {t} of the episode" if t < steps else f"query {t - steps}"
                return f"{kind} {bad} at {when}"
    (metrics, _), grads = jax.jit(learner.gradient)(state.params, seed, state.step, hyper)
    if not jnp.isfinite(metrics["loss"]):
        return "the loss, though every output is finite without dropout"
    bad = _first_bad(jax.tree.map(_finite, grads))
    return f"the gradient of {bad}" if bad else "the norm of the gradient, which overflows"


def _finite(array: Array) -> Array:
    return jnp.isfinite(array).all()


def _first_bad(flags: PyTree) -> str:
    """Path of the first leaf that is False, or ""."""
    for path, flag in jax.tree_util.tree_leaves_with_path(flags):
        if not flag:
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return ""

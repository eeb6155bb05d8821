"""Why training stays on a plateau: what the outer gradient is made of, at given parameters.

Candidates: writes are forgotten before they are needed (`retention`); the internal loss has
collapsed; the modulator is saturated (`gate_open`, `gate_shut`); the clip; the outer loss is flat,
or has a saddle (`eigenvalues`).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse.linalg
from jax.flatten_util import ravel_pytree

from plasticity.evaluation import evaluate_episodes
from plasticity.learner import Hyperparameters, Learner, RandomStream
from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.telemetry import modulation, plasticity_gradients
from plasticity.types import Array, Write

SHUT, OPEN = 0.05, 0.95  # of sigmoid(g)


def mean_keeps(writes: Mapping[str, Write]) -> Array:
    """The keeps [B, T] of {layer: writes [B, T, ...]}: means over the layers and their outputs."""
    keeps = [write.keep for write in writes.values()]
    return jnp.stack([keep.reshape(*keep.shape[:2], -1).mean(-1) for keep in keeps]).mean(0)


def half_life(keeps: Array) -> Array:
    """Steps after which half of a write is left, [], by the mean keep; inf: all is kept."""
    return jnp.log(2) / jnp.log(1 / keeps.mean())


class Diagnosis:
    """Measures one network, that of a seed, on fixed episodes.

    Args:
      learner, hyper: of the run; the rule writes at feed-forward sites.
      episodes: B, how many training episodes.
    """

    def __init__(self, learner: Learner, hyper: Hyperparameters, episodes: int):
        self._learner, self._index = learner, jnp.arange(episodes)
        self._hyper = jax.tree.map(jnp.asarray, hyper)
        events = np.array(learner.task.trained_on.events)
        self._informative = events == events[0]
        self._measure = jax.jit(self._measured)
        self._product = jax.jit(self._hessian_product)

    def measure(self, params: Parameters, seed: Array) -> dict[str, float]:
        """Metrics of the task, norms of gradients, and what `_forward` describes."""
        return {name: float(value) for name, value in self._measure(params, seed).items()}

    def eigenvalues(self, params: Parameters, seed: Array, count: int) -> list[float]:
        """The smallest and the largest `count` / 2 eigenvalues of the loss's Hessian, to 1 %.

        Fewer, if they have not converged after 300 products of Lanczos vectors.
        """
        flat, shape = ravel_pytree(params)

        def product(vector: np.ndarray) -> np.ndarray:
            along = shape(jnp.asarray(vector.reshape(-1), flat.dtype))
            return np.asarray(ravel_pytree(self._product(params, seed, along))[0])

        hessian = scipy.sparse.linalg.LinearOperator((flat.size,) * 2, product, dtype=flat.dtype)
        # The first vector is fixed, so that a measurement can be repeated.
        first = np.random.default_rng(0).normal(size=flat.size).astype(flat.dtype)
        try:
            found = scipy.sparse.linalg.eigsh(
                hessian,
                count,
                which="BE",
                v0=first,
                tol=1e-2,
                maxiter=300,
                return_eigenvectors=False,
            )
        except scipy.sparse.linalg.ArpackNoConvergence as error:
            found = error.eigenvalues
        return sorted(map(float, found))

    def _loss(
        self, params: Parameters, seed: Array, meta_gradient: str
    ) -> tuple[Array, tuple[Network, dict[str, Array], EpisodeTrace]]:
        network = self._learner.make_network(self._hyper)._replace(meta_gradient=meta_gradient)
        step = jnp.zeros((), jnp.int32)
        episodes = self._learner.episodes(
            seed, RandomStream.TRAIN, step, self._index, self._hyper.data
        )
        metrics, trace = evaluate_episodes(
            network, self._learner.task.trained_on, params, episodes, None
        )
        return metrics["loss"].mean(), (network, metrics, trace)

    def _measured(self, params: Parameters, seed: Array) -> dict[str, Array]:
        """All scalars."""
        gradient = jax.grad(self._loss, has_aux=True)
        full, (network, metrics, trace) = gradient(params, seed, "full")
        truncated, _ = gradient(params, seed, "truncated")
        found = {name: value.mean() for name, value in metrics.items()}
        found |= self._forward(network, params, trace)
        found |= plasticity_gradients(network, full)
        found["grad"] = optax.tree.norm(full)
        # What is lost if no gradient passes through the writes.
        through = optax.tree.norm(jax.tree.map(jnp.subtract, full, truncated))
        return found | {"grad_through_writes": through / found["grad"]}

    def _forward(
        self, network: Network, params: Parameters, trace: EpisodeTrace
    ) -> dict[str, Array]:
        """What is written, and how much of it is left at the end.

        retention: of the writes at informative steps, the product of the keeps after them.
        half_life: in steps, by the mean keep. write: ||eta alpha delta||, mean over steps.
        gate: mean sigmoid(g); gate_shut, gate_open: shares of steps with less than SHUT, more than
        OPEN. internal_loss: mean over steps.
        """
        steps = self._learner.task.trained_on.steps
        keeps = mean_keeps(trace.writes)
        left = jnp.cumprod(keeps[:, ::-1], axis=1)[:, ::-1]
        after = jnp.concatenate([left[:, 1:], jnp.ones_like(left[:, :1])], axis=1)
        gates = jax.nn.sigmoid(trace.outputs.modulator[:, :steps])
        rates, sizes = modulation(network, params, trace)
        found = {
            "retention": after[:, self._informative].mean(),
            "half_life": half_life(keeps),
            "eta": jnp.stack(list(rates.values())).mean(),
            "write": jnp.sqrt(sum(size**2 for size in sizes.values())).mean(),
            "gate": gates.mean(),
            "gate_shut": (gates < SHUT).mean(),
            "gate_open": (gates > OPEN).mean(),
        }
        if network.rule.internal_loss is not None:
            of_step = jax.vmap(jax.vmap(network.rule.internal_loss, (None, 0)), (None, 0))
            outputs = jax.tree.map(lambda a: a[:, :steps], trace.outputs)
            found["internal_loss"] = of_step(params.plasticity, outputs).mean()
        return found

    def _hessian_product(self, params: Parameters, seed: Array, along: Parameters) -> Parameters:
        def slope(params: Parameters) -> Array:
            grads = jax.grad(lambda p: self._loss(p, seed, "full")[0])(params)
            return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, grads, along)), jnp.zeros(()))

        return jax.grad(slope)(params)

"""Runs trained networks on test episodes, as they are or under interventions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from plasticity.evaluation import evaluate_episodes
from plasticity.experiments import build
from plasticity.experiments.probing.decoding import decoded
from plasticity.experiments.run.seeds import Seeds
from plasticity.interventions import hold, silence
from plasticity.learner import RandomStream
from plasticity.network import Parameters
from plasticity.spectra import measured, slow_matrix
from plasticity.telemetry import modulation, written
from plasticity.types import Array, PyTree

EPISODES = 256  # for rates, spectra and interventions
DECODED = 512  # for decoding: half of them to fit it, half to test it
EVERY = 5  # steps between decodings
SPECTRA = 32  # episodes whose fast weights are decomposed
MOMENTS = 6  # of an episode at which they are, beside its start

Metrics = dict[str, float]


def gating_index(rates: np.ndarray, informative: np.ndarray) -> float:
    """(a - b) / (a + b), where a is the mean rate at informative steps and b at the others.

    From -1 to 1; 0 without gating; nan if all steps are of one kind, or nothing is written.

    Args:
      rates: [T].
      informative: [T], true at steps whose inputs are needed later.
    """
    if informative.all() or not informative.any() or not rates.sum() > 0:
        return float("nan")
    inside, outside = rates[informative].mean(), rates[~informative].mean()
    return float((inside - outside) / (inside + outside))


def moments(events: Sequence[str]) -> list[tuple[int, str]]:
    """(steps done, the event that is over) at the start of an episode and after its phases.

    Of many phases, the first, the last, and some that are evenly spread between them.
    """
    ends = [t for t in range(1, len(events)) if events[t] != events[t - 1]] + [len(events)]
    chosen = np.unique(np.linspace(0, len(ends) - 1, min(MOMENTS, len(ends))).round().astype(int))
    return [(0, ""), *((ends[i], events[ends[i] - 1]) for i in chosen)]


class Probe:
    """Runs the networks of a run on its test episodes, as they are or under interventions.

    Attributes:
      learner, task, seeds, hyper: of the run.
      layers: names of the plastic layers. events: [T], what each step of an episode is.
      informative: [T], true at the steps of the first kind of event.
    """

    def __init__(self, config: ConfigDict):
        self.learner, self.seeds = build.make_learner(config), Seeds(config)
        self.task, self.modulated = self.learner.task, config.rule.get("modulated", True)
        self.hyper = build.make_hyperparameters(config, self.task, RandomStream.TEST)
        network = self.learner.make_network(self.hyper)
        self.layers, self.form = list(network.backbone.shapes), network.rule.form
        self.events = np.array(self.task.events)
        self.informative = self.events == self.task.events[0]
        self._observe = jax.jit(self._observed)
        self._score = jax.jit(self._scored, static_argnums=0)
        self._states = jax.jit(self._fast)
        self._after = jax.jit(self._weights_after)

    def _run(self, params: Parameters, seed: Array, count: int, change: Any = None) -> PyTree:
        network = self.learner.make_network(self.hyper)._replace(intervention=change)
        index = jnp.arange(count)
        start = jnp.zeros((), jnp.int32)
        episodes = self.learner.episodes(seed, RandomStream.TEST, start, index, self.hyper.data)
        metrics, trace = evaluate_episodes(network, self.task, params, episodes, None)
        return network, episodes, metrics[self.task.main_metric].mean(), trace

    def _observed(self, params: Parameters, seed: Array) -> PyTree:
        network, _, _, trace = self._run(params, seed, EPISODES)
        rates, sizes = modulation(network, params, trace)
        keeps = {name: write.keep.mean((0, 1)) for name, write in trace.writes.items()}
        held = {name: write.rate.mean((0, 1)) for name, write in trace.writes.items()}
        fast = {
            name: jnp.linalg.svd(self._at(params, trace.writes, name, self.task.steps)[:SPECTRA])[1]
            for name in trace.writes
        }
        # Queries come after the last step, and write nothing.
        logits = trace.outputs.modulator[:, : self.task.steps] * self.modulated
        gates = jax.nn.sigmoid(logits)
        means = jax.tree.map(lambda a: a.mean(0), (rates, sizes, gates, fast))
        return {"means": means, "held": (held, keeps)}

    def _at(self, params: Parameters, writes: PyTree, name: str, steps: int | Array) -> Array:
        """Fast weights of a layer after `steps` steps, [B, O, I]."""
        synapse = params.plasticity.synapses[name]
        return jax.vmap(lambda write: written(synapse, write, steps, self.form))(writes[name])

    def _scored(
        self, intervention: Callable, params: Parameters, seed: Array, *arguments: PyTree
    ) -> Array:
        """The headline metric under `intervention(*arguments)`."""
        return self._run(params, seed, EPISODES, intervention(*arguments))[2]

    def _fast(self, params: Parameters, seed: Array, steps: Array) -> tuple[Array, Array]:
        """All fast weights [B, F] after `steps` steps, and the targets [B, T]."""
        _, episodes, _, trace = self._run(params, seed, DECODED)
        weights = [self._at(params, trace.writes, name, steps) for name in trace.writes]
        flat = [weight.reshape(len(weight), -1) for weight in weights]
        return jnp.concatenate(flat, axis=1), episodes.targets

    def _weights_after(self, params: Parameters, seed: Array, steps: Array) -> dict[str, Array]:
        """Fast weights {layer: [B, O, I]} after `steps` steps of a few episodes."""
        _, _, _, trace = self._run(params, seed, SPECTRA)
        return {name: self._at(params, trace.writes, name, steps) for name in trace.writes}

    def matrices(self, params: Parameters, seed: Array) -> list[dict[str, Any]]:
        """The measures of `plasticity.spectra` along an episode, as rows; see `analysis`.

        Singular values are those of NumPy, outside any compiled program.
        """
        slow = {name: slow_matrix(params.slow, name) for name in self.layers}
        rows = [
            {"step": 0, "after": "", "layer": name, "weights": "slow"} | measured(weight)
            for name, weight in slow.items()
            if weight is not None
        ]
        for steps, event in moments(self.task.events):
            found = jax.device_get(self._after(params, seed, steps))
            for name, fast in found.items():
                where = {"step": steps, "after": event, "layer": name}
                rows.append(where | {"weights": "fast"} | measured(fast))
                if (own := slow[name]) is not None:
                    rows.append(where | {"weights": "effective"} | measured(own + fast))
        return rows

    def observe(self, params: Parameters, seed: Array) -> tuple[dict[str, Any], Metrics, PyTree]:
        """Traces and singular values; their summary; mean rates, the argument of `hold`."""
        found = jax.tree.map(np.asarray, self._observe(params, seed))
        rates, sizes, gates, fast = found["means"]
        traces = {"rates": rates, "sizes": sizes, "gates": gates, "fast": fast}
        over_layers = {
            "eta": np.mean(list(rates.values()), axis=0),
            "write": np.sqrt(sum(layer**2 for layer in sizes.values())),  # over all layers
            "gate": gates,
        }
        return traces, self._summary(over_layers), found["held"]

    def _summary(self, traces: Mapping[str, np.ndarray]) -> Metrics:
        """Means and gating indices of {name: [T]}."""
        metrics = {name: float(trace.mean()) for name, trace in traces.items()}
        for name, title in (("eta", ""), ("write", "_size"), ("gate", "_gate")):
            metrics[f"gating_index{title}"] = gating_index(traces[name], self.informative)
        for event in dict.fromkeys(self.task.events):
            for name, trace in traces.items():
                metrics[f"{name}_{event}"] = float(trace[self.events == event].mean())
        return metrics

    def interventions(self, params: Parameters, seed: Array, held: PyTree) -> Metrics:
        """The headline metric under each intervention."""
        found = {n: self._score(silence, params, seed, where) for n, where in self._silences()}
        found["held"] = self._score(hold, params, seed, *held)
        return {f"{self.task.main_metric}_{name}": float(v) for name, v in found.items()}

    def _silences(self) -> Iterator[tuple[str, dict[str, Array]]]:
        """The name of an intervention, and {layer: [T], true where it does not write}."""
        never = dict.fromkeys(self.layers, jnp.zeros(self.task.steps, bool))
        for layer in self.layers:
            yield f"silent_{layer}", never | {layer: jnp.ones(self.task.steps, bool)}
        for event in dict.fromkeys(self.task.events):
            yield f"silent_{event}", dict.fromkeys(self.layers, jnp.asarray(self.events == event))
        last = np.flatnonzero(self.informative).max()
        after = jnp.arange(self.task.steps) > last
        yield "silent_after", dict.fromkeys(self.layers, after)

    def decodings(self, params: Parameters, seed: Array) -> Metrics:
        """Decoding accuracy of the symbols to recall, every few steps; {} for other tasks."""
        recalled = np.flatnonzero(self.events == "recall")
        if not len(recalled):
            return {}
        first = int(np.flatnonzero(self.informative).max()) + 1
        found = {}
        for steps in range(first, int(recalled[0]) + 1, EVERY):
            states, targets = map(np.asarray, self._states(params, seed, steps))
            if not np.issubdtype(targets.dtype, np.integer):
                return {}
            found[f"decoded_{steps}"] = decoded(states, targets[:, recalled], self.task.outputs)
        return found

"""What a run measures of a stream of tasks: the accuracy on every task after each of them.

A row of metrics.jsonl, of the split "stream", holds it for one seed, and the measures of its slow
matrices as MEASURE/LAYER; the rows are the store. They are written at every boundary and before
the first update, on the test episodes. Where tasks take turns, the ends of equal parts of the
stream stand for boundaries.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.run import hosts
from plasticity.experiments.run.checked import check
from plasticity.experiments.run.evaluate import Summary, episode_metrics
from plasticity.experiments.run.metrics import MetricsLog, summarise
from plasticity.experiments.run.program import Program
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.transfer import measured as of_matrix
from plasticity.experiments.run.warm_start import initial_state
from plasticity.learner import RandomStream
from plasticity.network import Parameters
from plasticity.sharding import replicate
from plasticity.spectra import MEASURES, measured, slow_matrix
from plasticity.types import Array, PyTree

SPLIT = "stream"  # of the rows
Row = dict[str, Any]


class StreamLog:
    """The rows of a run; without a stream, nothing."""

    def __init__(self, config: ConfigDict, program: Program, log: MetricsLog):
        self._config, self._program, self._log = config, program, log
        self._stream, self._metric = program.learner.stream, program.learner.task.main_metric
        self._seeds, self._layers = Seeds(config), list(program.layers)
        self._rows: dict[int, list[Row]] = {}  # {tasks that are over: a row for each seed}
        for row in log.earlier:
            if row["split"] == SPLIT and self._stream is not None:
                check("metrics.jsonl, split stream", row, self._schema())
                self._rows.setdefault(row["tasks_over"], []).append(row)

    def _schema(self) -> dict[str, type]:
        tasks = (f"task_{task + 1}" for task in range(self._stream.tasks))
        return dict.fromkeys([*tasks, "touched"], float) | {"tasks_over": int}

    def ends(self, step: int) -> bool:
        """Whether a task is over after `step` updates, and another follows."""
        return bool(self.over(step)) and step < self._config.train.steps

    def over(self, step: int) -> int | None:
        """How many tasks are over, at a boundary; else None."""
        if self._stream is None or step % self._stream.steps:
            return None
        return step // self._stream.steps

    def measure(self, step: int, params: Parameters, stop: Callable[[], bool]) -> None:
        """Writes the rows of a boundary, unless it is none or they are written.

        Args:
          step: updates done. params: the parameters then.
          stop: once it is true, nothing is written; the next launch does.
        """
        over = self.over(step)
        if over is None or hosts.agreed(over in self._rows):
            return
        found = episode_metrics(
            self._program, [self._config], params, RandomStream.TEST, (True,), stop
        )
        if found is None:
            return
        there = jax.tree.map(lambda a: a.sharding, params)
        first = jax.device_put(self._first(), there)
        # A process may hold but a part of each layer.
        whole = replicate(params.slow, self._program.learner.layout.mesh(self._config.train.batch))
        tasks, rows = range(self._stream.tasks), []
        for which, values in enumerate(self._seeds.split(found[0])):
            scores = values[self._metric]
            row = {f"task_{k + 1}": float(scores[k :: len(tasks)].mean()) for k in tasks}
            now, then = (self._seeds.pick(tree, which).slow for tree in (params, first))
            row |= self._slow(self._seeds.pick(whole, which)) | {
                "touched": float(touched(now, then))
            }
            rows.append({"tasks_over": over} | row)
        self._rows[over] = rows
        self._log.write(step, **{SPLIT: rows})

    def _slow(self, slow: PyTree) -> Row:
        """The measures of `plasticity.spectra` of the slow weights of the plastic layers."""
        matrices = {layer: slow_matrix(slow, layer) for layer in self._layers}
        return {
            f"{name}/{layer}": value
            for layer, matrix in matrices.items()
            if matrix is not None
            for name, value in measured(matrix).items()
        }

    def _first(self) -> Parameters:
        """The parameters of the untrained network."""
        hyper = build.make_hyperparameters(self._config, self._program.learner.task)
        return initial_state(self._config, self._program, self._seeds.array, hyper).params

    def with_measures(self, summaries: Sequence[tuple[Summary, Summary]]) -> list[tuple]:
        """The summaries of each seed, with the measures of the stream, plasticity on."""
        if self._stream is None:
            return list(summaries)
        added = []
        for which, (on, off) in enumerate(summaries):
            matrix = self._matrix(which)
            values = of_matrix(matrix, self._stream.spaced)
            values["touched"] = self._value(self._stream.tasks, which, "touched")
            added.append((on | summarise({k: [v] for k, v in values.items()}), off))
        return added

    def add_matrices(self, result: Mapping[str, Any]) -> None:
        """Adds to each seed of a result its matrix, a list of rows."""
        if self._stream is not None:
            for which, record in enumerate(result.get("seeds", [result])):
                record["stream"] = self._matrix(which).tolist()
                record["slow_matrices"] = self._course(which)

    def _matrix(self, which: int) -> np.ndarray:
        """[N + 1, N], of a seed."""
        tasks = self._stream.tasks
        names = [f"task_{task + 1}" for task in range(tasks)]
        return np.array(
            [[self._value(over, which, name) for name in names] for over in range(tasks + 1)]
        )

    def _course(self, which: int) -> dict[str, dict[str, list[float]]]:
        """{measure: {layer: [N + 1]}} of the slow weights of a seed."""
        return {
            name: {
                layer: [
                    self._value(over, which, f"{name}/{layer}")
                    for over in range(self._stream.tasks + 1)
                ]
                for layer in self._layers
            }
            for name in MEASURES
        }

    def _value(self, over: int, which: int, name: str) -> float:
        """Of a row; nan where somebody has removed it, or where it is older than what is asked."""
        rows = self._rows.get(over, [])
        return rows[which].get(name, math.nan) if which < len(rows) else math.nan


@jax.jit
def touched(now: PyTree, then: PyTree) -> Array:
    """The share [] of numbers that are not what they were, of two trees."""
    pairs = list(zip(jax.tree.leaves(now), jax.tree.leaves(then), strict=True))
    return sum(jnp.sum(a != b) for a, b in pairs) / sum(a.size for a, _ in pairs)

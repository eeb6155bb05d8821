"""What the outer loop takes and leaves: inputs of the programs, and the state between steps."""

from collections.abc import Mapping
from typing import NamedTuple

from plasticity.network import Parameters
from plasticity.registry import exportable
from plasticity.types import Array, FastWeights, PyTree, Scalar

# Metrics of a step that must be finite, or it changes nothing.
FINITE = ("loss", "grad_norm", "consolidated")
# Mean metrics of episodes, and, if they are consolidated, their mean fast weights at the end.
Measured = tuple[dict[str, Array], dict[str, FastWeights]]


class Hyperparameters(NamedTuple):
    """Inputs of the compiled programs: a change of their values does not recompile."""

    rule: Mapping[str, Scalar]  # the `traced` settings of the rule
    learning_rate: Scalar  # after the warm-up
    weight_decay: Scalar  # per step, times the learning rate
    clip: Scalar  # of the outer gradient's global norm
    data: PyTree = None  # `Task.data` of the present split
    optimizer: Mapping[str, Scalar] = {}  # the `traced` settings of the optimizer
    consolidation: Scalar = 0.0  # its rate, see `plasticity.outer.consolidation`


class TrainState(NamedTuple):
    """The state of training between two steps."""

    step: Array  # [] int32, updates done
    params: Parameters  # slow weights and theta
    optimizer: PyTree  # the state of the optimizer


exportable(Hyperparameters, TrainState)

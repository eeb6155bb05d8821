"""The head: one linear map to answers, the modulator of plasticity, and auxiliary outputs."""

import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.model.plastic_dense import Initializer, PlasticDense
from plasticity.types import Activity, Array, Outputs, PyTree


class Head(nn.Module):
    """A dense layer with the columns [task outputs (O) | modulator (1) | auxiliary (A)].

    Attributes:
      outputs, auxiliary: O and A.
      plastic: whether the layer carries fast weights.
      initializer: of kernel and bias; None: that of `PlasticDense`.
    """

    outputs: int
    auxiliary: int
    plastic: bool = False
    initializer: Initializer | None = None

    @nn.compact
    def __call__(
        self, x: Array, fast: FastRead, table: Array | None = None
    ) -> tuple[Outputs, dict[str, Activity]]:
        """Maps x [S, D] to Outputs [S, ...], and returns the activity if the head is plastic.

        Answers are products with the rows of `table` [O, D]; None: columns of the layer.
        """
        columns = PlasticDense(
            (self.outputs if table is None else 0) + 1 + self.auxiliary,
            self.plastic,
            self.initializer,
            self.initializer,
            name="columns",
        )
        raw, activities = columns(x, fast)
        if table is not None:
            raw = jnp.concatenate([x @ table.T, raw], axis=-1)
        outputs = Outputs(raw[:, : self.outputs], raw[:, self.outputs], raw[:, self.outputs + 1 :])
        return outputs, activities


def modulator_column(slow: PyTree, auxiliary: int) -> Array:
    """Returns the slow weights [D] of the modulator, for a module whose head is named "head"."""
    return slow["params"]["head"]["columns"]["kernel"][:, -auxiliary - 1]

"""The head: answers, the modulator of plasticity, and auxiliary outputs, from one linear map."""

from flax import linen as nn

from plasticity.model.plastic_dense import Initializer, PlasticDense
from plasticity.types import Activity, Array, FastRead, Outputs, PyTree


class Head(nn.Module):
    """Columns [task outputs (O) | modulator (1) | auxiliary (A)]."""

    outputs: int
    auxiliary: int
    plastic: bool = False
    initializer: Initializer | None = None

    @nn.compact
    def __call__(self, x: Array, fast: FastRead) -> tuple[Outputs, dict[str, Activity]]:
        """x [S, D] -> Outputs [S, .], and the activity if the head is plastic."""
        columns = PlasticDense(
            self.outputs + 1 + self.auxiliary,
            self.plastic,
            self.initializer,
            self.initializer,
            name="columns",
        )
        raw, activities = columns(x, fast)
        outputs = Outputs(raw[:, : self.outputs], raw[:, self.outputs], raw[:, self.outputs + 1 :])
        return outputs, activities


def modulator_column(slow: PyTree, outputs: int) -> Array:
    """The slow weights [D] that produce the modulator; plastic backbones name their head "head"."""
    return slow["params"]["head"]["columns"]["kernel"][:, outputs]

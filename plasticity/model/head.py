"""The head: answers, the modulator of plasticity, and auxiliary outputs, from one linear map."""

from flax import linen as nn

from plasticity.model.linear import linear
from plasticity.types import Array, Outputs, PyTree


class Head(nn.Module):
    """Columns [task outputs (O) | modulator (1) | auxiliary (A)]."""

    outputs: int
    auxiliary: int

    @nn.compact
    def __call__(self, x: Array) -> Outputs:
        """x [..., D] -> Outputs [..., .]."""
        raw = linear(x.shape[-1], self.outputs + 1 + self.auxiliary, name="columns")(x)
        return Outputs(
            raw[..., : self.outputs], raw[..., self.outputs], raw[..., self.outputs + 1 :]
        )


def modulator_column(slow: PyTree, outputs: int) -> Array:
    """The slow weights [D] that produce the modulator; every backbone names its head "head"."""
    return slow["params"]["head"]["columns"]["kernel"][:, outputs]

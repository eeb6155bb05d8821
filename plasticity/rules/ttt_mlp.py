"""TTT-MLP: as TTT-Linear, with f(z) = W2 gelu(W1 z + b1) + b2, gelu in its tanh form.

Source: Sun et al. 2024 (arXiv 2407.04620) and its released code. Departure: the slope of the gelu
is exact, while the released code rounds its constants to 8 to 10 digits.
"""

import dataclasses

import jax

from plasticity.factory import Factory
from plasticity.rules.ttt_linear import TTTSettings, ttt_rule
from plasticity.settings import size
from plasticity.types import Array, LayerShape, Read, Rule


@dataclasses.dataclass(frozen=True)
class TTTMLPSettings(TTTSettings):
    """Settings of the rule."""

    expansion: int = size(4, "hidden units per input")


def make(settings: TTTMLPSettings) -> Rule:
    """The rule."""

    def layers(shape: LayerShape) -> dict[str, LayerShape]:
        hidden = settings.expansion * shape.inputs
        return {"W1": LayerShape(hidden, shape.inputs), "W2": LayerShape(shape.outputs, hidden)}

    return ttt_rule(settings, _net, layers=layers)


def _net(z: Array, read: Read) -> Array:
    return read(jax.nn.gelu(read(z, "W1")), "W2")


ttt_mlp = Factory(TTTMLPSettings, make)

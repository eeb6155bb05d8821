"""Small networks that are memories: what a gradient memory descends, and reads.

  linear        f(z) = M z
  mlp           f(z) = W2 silu(W1 z)                  (Titans)
  residual_mlp  f(z) = z + norm(W2 gelu(W1 z))        (Miras); values as long as keys

norm has no affine part and the biased variance; gelu is its tanh form.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.rules.credit import pullback
from plasticity.rules.site_rules import SiteSettings
from plasticity.settings import setting, size
from plasticity.types import KEEP, RATE, Array, LayerShape, Read, Site, Token, Write

NORM_EPSILON = 1e-6


def same_width(token: Token) -> Token:
    """The token.

    Raises:
      ValueError: its key and its value differ in width.
    """
    key, value = jnp.shape(token.key)[-1], jnp.shape(token.value)[-1]
    if key != value:
        raise ValueError(f"key has width {key} and value {value}, they should be equal here")
    return token


def normalised(z: Array) -> Array:
    """z without its mean, over its deviation."""
    return (z - z.mean()) * jax.lax.rsqrt(z.var() + NORM_EPSILON)


class Net(NamedTuple):
    """f: (z, read) -> f(z).

    deep: whether its layers are W1 and W2, or only one. check: (token) -> the token, or an error.
    """

    f: Callable[[Array, Read], Array]
    deep: bool = True
    check: Callable[[Token], Token] = lambda token: token


NETS = {
    "linear": Net(lambda z, read: read(z), deep=False),
    "mlp": Net(lambda z, read: read(jax.nn.silu(read(z, "W1")), "W2")),
    "residual_mlp": Net(
        lambda z, read: z + normalised(read(jax.nn.gelu(read(z, "W1")), "W2")), check=same_width
    ),
}


@dataclasses.dataclass(frozen=True)
class GradientMemorySettings(SiteSettings):
    """Settings of rules that descend the loss of a small network."""

    memory: str = setting("linear", "the network", choices=NETS)
    hidden: int = size(0, "its hidden units; 0: four times the inputs", low=0)
    frozen: int = size(1, "tokens whose gradients are taken at the first of them; 1: online")


def gradient_site(
    settings: GradientMemorySettings, slope: Callable[[Token, Array], Array], **parts: Any
) -> Site:
    """The site of a rule that writes minus the gradient of a loss of f(key) - value.

    Args:
      settings: of the memory.
      slope: (token, e = f(key) - value [O]) -> d loss / d f(key) [O].
      **parts: further fields of `Site`. `linear`, if not given, is False.
    """
    net = NETS[settings.memory]

    def write(token: Token, read: Read) -> Any:
        momentum = token.gates.get("momentum")

        def one(credit: Array, x: Array) -> Write:
            return Write(-credit, x, token.rate, token.keep, momentum)

        if not net.deep:
            return one(slope(token, read(token.key) - token.value), token.key)
        answer, credits = pullback(lambda read: net.f(token.key, read), read)
        found = credits(slope(token, answer - token.value))
        return {layer: one(*both) for layer, both in found.items()}

    def layers(shape: LayerShape) -> dict[str, LayerShape]:
        if not net.deep:
            return {"": shape}
        hidden = settings.hidden or 4 * shape.inputs
        return {"W1": LayerShape(hidden, shape.inputs), "W2": LayerShape(shape.outputs, hidden)}

    fields: dict[str, Any] = {
        "linear": False,
        "frozen": settings.frozen,
        "layers": layers,
        "empty": not net.deep,
        "takes": (RATE, KEEP),
        "prepare": net.check,
        "answer": lambda token, read: net.f(token.query, read),
    }
    return Site(write, **fields | parts)

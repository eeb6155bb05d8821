"""Conv-4: the encoder of the few-shot literature (Vinyals et al. 2016, Snell et al. 2017).

Four times: convolution 3 x 3, norm, relu, maximum over 2 x 2. The papers normalise by batch; here
each image is normalised by itself, so that an embedding does not depend on its neighbours, in
training or test.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.settings import Settings, setting, size
from plasticity.types import Array, Observation

BLOCKS = 4
NORM_EPSILON = 1e-5

# {name: filters -> module}. Groups of one channel are instance norm, one group is layer norm.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": lambda filters: nn.GroupNorm(filters, epsilon=NORM_EPSILON),
    "group": lambda filters: nn.GroupNorm(filters // 8, epsilon=NORM_EPSILON),
    "layer": lambda filters: nn.GroupNorm(1, epsilon=NORM_EPSILON),
}


@dataclasses.dataclass(frozen=True)
class EncoderSettings(Settings):
    """Sizes and variants of Conv-4."""

    section = "encoder"
    filters: int = size(64, "channels of every convolution")
    norm: str = setting("group", "normalisation; group: 8 channels each", choices=NORMS)
    projection: int = size(0, "width of a linear map behind the last block; 0: none", low=0)

    def check(self) -> None:
        """Raises ValueError if groups of 8 channels do not divide the filters."""
        if self.norm == "group" and self.filters % 8:
            raise ValueError(
                f"encoder.filters={self.filters} must be a multiple of 8 for encoder.norm='group'"
            )

    def features(self, image: tuple[int, int, int]) -> int:
        """The width of the embedding of an image (H, W, channels)."""
        height, width, _ = image
        side = 2**BLOCKS
        if min(height, width) < side:
            raise ValueError(f"images of {height} x {width} pixels are too small: {side} x {side}")
        return self.projection or (height // side) * (width // side) * self.filters


def halve(x: Array) -> Array:
    """The maximum over 2 x 2 pixels of [S, H, W, C]; an odd row or column is left out.

    XLA's own pooling takes as long as the convolutions, in the gradient, on a CPU.
    """
    images, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    even = even.reshape(images, height // 2, 2, width // 2, 2, channels)
    rows = _larger(even[:, :, 0], even[:, :, 1])
    return _larger(rows[:, :, :, 0], rows[:, :, :, 1])


def _larger(a: Array, b: Array) -> Array:
    """The maximum, whose gradient goes to exactly one of the two.

    The gradients of max() and maximum() ask which entry equals the maximum. Where XLA computes an
    entry twice and rounds it differently, none does: the gradient is 0 / 0, or lost.
    """
    return jnp.where(a > b, a, b)


class Conv4(nn.Module):
    """Images [S, H, W, channels] -> embeddings [S, F]."""

    settings: EncoderSettings

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """See the class."""
        s = self.settings
        for i in range(BLOCKS):
            # Instance norm takes away what a bias would add. Groups of channels do not, but there
            # the bias is left out all the same: the encoders that are stored have none.
            x = nn.Conv(s.filters, (3, 3), use_bias=s.norm == "layer", name=f"conv_{i}")(x)
            x = NORMS[s.norm](s.filters)(x)
            x = halve(nn.relu(x))
        x = x.reshape(len(x), -1)
        return nn.Dense(s.projection, name="projection")(x) if s.projection else x


class ImageEmbedding(nn.Module):
    """Images through Conv-4, centred and scaled by what it makes of reference_images images.

    What a Conv-4 answers to every image alike is, as drawn, 50 times (in squares) what tells
    classes apart, and would be most of every key and every write. Statistics of a batch would let
    images hear of each other; those of a fixed set of images do not (virtual batch normalisation,
    Salimans et al. 2016). They follow the encoder as it learns; no gradient passes through them.
    """

    settings: EncoderSettings

    @nn.compact
    def __call__(self, inputs: Observation, reference_images: Array | None) -> Array:
        """Inputs [S, ...], images [N, ...] to centre by, or None -> [S, F + I]."""
        encoder = Conv4(self.settings, name="encoder")
        if reference_images is None:
            return jnp.concatenate([encoder(inputs.image), inputs.vector], axis=-1)
        reference = jax.lax.stop_gradient(encoder(reference_images))
        centre = reference.mean(0)
        scale = jax.lax.rsqrt(jnp.square(reference - centre).mean() + NORM_EPSILON)
        return jnp.concatenate([scale * (encoder(inputs.image) - centre), inputs.vector], axis=-1)

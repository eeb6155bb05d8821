"""Conv-4: the encoder of the few-shot literature (Vinyals et al. 2016, Snell et al. 2017).

Four blocks: convolution 3 x 3, normalisation, ReLU, max pooling 2 x 2. Departure: the papers use
batch normalisation; here each image is normalised by itself, in training and test, so that its
embedding does not depend on the other images of a batch.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.settings import Settings, setting, size
from plasticity.task import Observation
from plasticity.types import Array

BLOCKS = 4
NORM_EPSILON = 1e-5

# {encoder.norm: filters -> module}. Group norm with one channel per group is instance norm, and
# with one group it is layer norm.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": lambda filters: nn.GroupNorm(filters, epsilon=NORM_EPSILON),
    "group": lambda filters: nn.GroupNorm(filters // 8, epsilon=NORM_EPSILON),
    "layer": lambda filters: nn.GroupNorm(1, epsilon=NORM_EPSILON),
}


@dataclasses.dataclass(frozen=True)
class EncoderSettings(Settings):
    """Sizes and variants of Conv-4, which maps images [H, W, channels] to embeddings [F].

    Source: Vinyals et al. 2016; Snell et al. 2017. It computes in the dtype of its parameters.
    """

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
        """Returns F, the width of the embedding of an image (H, W, channels).

        Raises:
          ValueError: the image is smaller than one pixel after four times max pooling.
        """
        height, width, _ = image
        side = 2**BLOCKS
        if min(height, width) < side:
            raise ValueError(f"images of {height} x {width} pixels are too small: {side} x {side}")
        return self.projection or (height // side) * (width // side) * self.filters


def halve(x: Array) -> Array:
    """Max pooling 2 x 2 of [S, H, W, channels]; a last odd row or column is dropped.

    The gradient of each window goes to exactly one of its entries. On a CPU, the gradient of XLA's
    own pooling takes as long as the convolutions. On a TPU, pairs are padded to whole tiles.
    """
    return jax.lax.platform_dependent(x, tpu=_by_windows, default=_by_pairs)


def _by_windows(x: Array) -> Array:
    return nn.max_pool(x, (2, 2), (2, 2))


def _by_pairs(x: Array) -> Array:
    images, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    even = even.reshape(images, height // 2, 2, width // 2, 2, channels)
    rows = _larger(even[:, :, 0], even[:, :, 1])
    return _larger(rows[:, :, :, 0], rows[:, :, :, 1])


def _larger(a: Array, b: Array) -> Array:
    """The elementwise maximum, with a gradient that goes to exactly one of the two.

    The gradients of `max` and `maximum` compare each entry with the maximum. If XLA computes an
    entry twice and rounds it differently, no entry equals it: the gradient is 0 / 0, or lost.
    What is not a number stays, so that a step that has gone wrong is seen.
    """
    return jnp.where((a > b) | jnp.isnan(a), a, b)


class Conv4(nn.Module):
    """Images [S, H, W, channels] -> embeddings [S, F]."""

    settings: EncoderSettings

    def setup(self) -> None:
        """Creates the parts. Their names are those of parameters in stored encoders."""
        s, blocks = self.settings, range(BLOCKS)
        # Instance norm cancels a bias. Group norm does not, but stored encoders have no bias there
        # either.
        bias = s.norm == "layer"
        self.conv = [nn.Conv(s.filters, (3, 3), use_bias=bias) for _ in blocks]
        self.GroupNorm = [NORMS[s.norm](s.filters) for _ in blocks]
        if s.projection:
            self.projection = nn.Dense(s.projection)

    def block(self, i: int, x: Array) -> Array:
        """Block i, [S, H, W, channels] -> [S, H / 2, W / 2, filters]."""
        return halve(nn.relu(self.GroupNorm[i](self.conv[i](x))))

    def __call__(self, x: Array) -> Array:
        """Maps images to embeddings, see the class."""
        for i in range(BLOCKS):
            x = self.block(i, x)
        x = x.reshape(len(x), -1)
        return self.projection(x) if self.settings.projection else x


class ImageEmbedding(nn.Module):
    """Embeds images by Conv-4, centred and scaled by the embeddings of fixed reference images.

    At initialisation, the squared norm of Conv-4's mean embedding is about 50 times the variance
    between classes: without centring, the mean would dominate every key and every write. With
    statistics of a batch, an embedding would depend on the other images; with those of a fixed
    reference set it does not (virtual batch normalisation, Salimans et al. 2016). The current
    encoder computes them; no gradient flows through them.
    """

    settings: EncoderSettings

    @nn.compact
    def __call__(self, inputs: Observation, reference_images: Array | None) -> Array:
        """Maps inputs [S, ...] to [S, F + I]; reference images [n, ...]: None: no centring."""
        encoder = Conv4(self.settings, name="encoder")
        if reference_images is None:
            return jnp.concatenate([encoder(inputs.image), inputs.vector], axis=-1)
        reference = jax.lax.stop_gradient(encoder(reference_images))
        centre = reference.mean(0)
        scale = jax.lax.rsqrt(jnp.square(reference - centre).mean() + NORM_EPSILON)
        return jnp.concatenate([scale * (encoder(inputs.image) - centre), inputs.vector], axis=-1)

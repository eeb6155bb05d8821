"""A plain classifier: a feed-forward net or Conv-4, which learns by backpropagation or locally.

  feed_forward  a_l = relu(W_l a_{l-1} + c_l), then a linear layer of answers
  conv4         the blocks of Conv-4, then a linear layer of answers

As a backbone it has no plastic layer, and takes every step by itself. With
`credit="counter_current"` no gradient crosses a layer: each layer but the last has a loss of its
own, see `plasticity.outer.counter_current`. The mirror of a dense layer is a dense layer; that of a
block enlarges its activities to the side of the block's inputs and convolves them. Activities of
the mirror pass an elu, except the lowest, which are compared with the inputs. The network itself
is the same under both, with the same initial weights.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import Backbone, FastRead, Forward
from plasticity.model.conv4 import BLOCKS, Conv4, EncoderSettings
from plasticity.model.parts import first_inputs
from plasticity.outer.counter_current import Alignment, Layer, ascend, counter_current
from plasticity.settings import Settings, setting, size
from plasticity.steps import join
from plasticity.task import Episode, Observation, TaskShape
from plasticity.types import Array, DType, Key, Outputs, PyTree

CREDITS = ("backprop", "counter_current")


@dataclasses.dataclass(frozen=True)
class ClassifierSettings(Settings):
    """Sizes, and how the weights learn."""

    section = "model"
    net: str = setting("feed_forward", "the network", choices=("feed_forward", "conv4"))
    hidden: int = size(256, "units of a hidden layer of a feed-forward net")
    layers: int = size(3, "hidden layers of a feed-forward net")
    credit: str = setting("backprop", "counter_current: by local losses", choices=CREDITS)
    temperature: float = setting(
        0.1, "of a softmax over classes, in a local loss; 0: squares, as in the source", low=0
    )
    spread: float = setting(0.0, "weight of what keeps activities apart, in a local loss", low=0)


def unchanged(x: Array) -> Array:
    """x, where there is no activation function."""
    return x


class Dense(nn.Module):
    """Activities [S, ...] -> [S, *shape], by one linear map of all their numbers."""

    shape: tuple[int, ...]
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """See the class."""
        total = 1
        for side in self.shape:
            total *= side
        y = nn.Dense(total, name="dense")(x.reshape(len(x), -1))
        return self.activation(y.reshape(-1, *self.shape))


class Enlarge(nn.Module):
    """The mirror of a block of Conv-4: activities [S, H / 2, W / 2, filters] -> [S, H, W, C]."""

    shape: tuple[int, int, int]  # H, W, C
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """See the class."""
        height, width, channels = self.shape
        larger = jax.image.resize(x, (len(x), height, width, x.shape[-1]), "nearest")
        return self.activation(nn.Conv(channels, (3, 3), name="conv")(larger))


class Classifier(nn.Module):
    """Inputs [S, ...] -> answers [S, O]."""

    settings: ClassifierSettings
    encoder: EncoderSettings
    outputs: int

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None) -> tuple[Array, Array | None]:
        """The answers, and with labels (one-hot, [S, O]) the local losses [L, S]."""
        s, layers = self.settings, self.network()
        if labels is None:
            return ascend(layers, x, local=s.credit != "backprop")[-1], None
        local = Alignment(s.temperature, s.spread)
        return counter_current(layers, self.mirrors(x.shape[1:]), x, labels, local)

    def network(self) -> list[Layer]:
        """The layers from the inputs to the answers."""
        s = self.settings
        answers = Dense((self.outputs,), unchanged, name="answers")
        if s.net == "conv4":
            encoder = Conv4(self.encoder, name="encoder")
            return [*(partial(encoder.block, i) for i in range(BLOCKS)), answers]
        hidden = (Dense((s.hidden,), nn.relu, name=f"layer_{i}") for i in range(s.layers))
        return [*hidden, answers]

    def mirrors(self, shape: tuple[int, ...]) -> list[Layer]:
        """The mirror of each layer, for inputs of a shape."""
        s, shapes = self.settings, [shape]
        if s.net == "conv4":
            for _ in range(BLOCKS):
                height, width, _ = shapes[-1]
                shapes.append((height // 2, width // 2, self.encoder.filters))
        else:
            shapes += [(s.hidden,)] * s.layers
        *below, top = shapes
        kind: Any = Enlarge if s.net == "conv4" else Dense
        functions = [unchanged, *[nn.elu] * (len(below) - 1)]
        inner = [
            kind(one, f, name=f"mirror_{i}")
            for i, (one, f) in enumerate(zip(below, functions, strict=True))
        ]
        return [*inner, Dense(top, nn.elu, name=f"mirror_{len(below)}")]


def numbers(inputs: Array | Observation) -> Array:
    """What the network sees of inputs [S, ...]."""
    return inputs.image if isinstance(inputs, Observation) else inputs


def classifier(settings: ClassifierSettings, encoder: EncoderSettings, task: TaskShape) -> Backbone:
    """Builds the backbone for a task.

    Raises:
      ValueError: Conv-4 has no images, or a map behind its blocks; inputs are tokens.
    """
    _check(settings, encoder, task)
    module = Classifier(settings, encoder, task.outputs)
    local = settings.credit == "counter_current"

    def init(key: Key) -> PyTree:
        x, labels = numbers(first_inputs(task)), jnp.zeros((1, task.outputs))
        return module.init(key, x, labels if local else None)

    def prepare(
        slow: PyTree, ahead: tuple[()], inputs: PyTree, queries: PyTree | None, *_: Any
    ) -> tuple[Array, Array | None, tuple[()]]:
        del slow
        return numbers(inputs), None if queries is None else numbers(queries), ahead

    def forward(
        slow: PyTree,
        past: Sequence[tuple[()]],
        x: Array,
        position: Array,
        fast: FastRead,
        key: Key | None,
        independent: bool = False,
    ) -> Forward:
        del past, position, fast, key, independent
        answers, _ = module.apply(slow, x)
        modulator = jnp.zeros(len(answers), answers.dtype)
        return Forward(Outputs(answers, modulator, answers[:, :0]), {}, ())

    def local_loss(slow: PyTree, episode: Episode) -> Array:
        if jnp.ndim(episode.targets) != 1 or not jnp.issubdtype(episode.targets.dtype, jnp.integer):
            raise ValueError(
                "model.credit='counter_current' must be 'backprop' for this task, whose targets "
                "are not classes"
            )
        x = numbers(join(episode.inputs, episode.queries))
        labels = jax.nn.one_hot(episode.targets, task.outputs)
        losses: Any = module.apply(slow, x, labels)[1]
        return (losses.sum(0) * episode.weights).sum() / episode.weights.sum()

    def blank(slots: int, dtype: DType) -> tuple[()]:
        del slots, dtype
        return ()

    return Backbone(
        init=jax.jit(init),
        shapes={},
        head=task.outputs + 1,
        prepare=prepare,
        forward=forward,
        blank=blank,
        window=-1,
        local_loss=local_loss if local else None,
    )


def _check(settings: ClassifierSettings, encoder: EncoderSettings, task: TaskShape) -> None:
    if task.tokens:
        raise ValueError("model.name='classifier' reads vectors or images, not tokens")
    if settings.net != "conv4":
        return
    if task.image is None:
        raise ValueError("model.net='conv4' must be 'feed_forward': the inputs are no images")
    encoder.features(task.image)  # large enough
    if encoder.projection:
        raise ValueError(
            f"encoder.projection={encoder.projection} must be 0 for model.net='conv4': the "
            "answers are a linear layer already"
        )

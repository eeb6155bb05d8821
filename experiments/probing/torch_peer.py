"""The paper's network in plain batched PyTorch, as one writes it at first: a peer to measure.

One step of all episodes after the other; fast weights [B, O, I] as they stand in the equations;
keys and values in lists; autograd through every write. It computes what `plasticity` computes for a
config of the Hebbian rule with plastic feed-forward nets, from the same parameters.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5  # of a norm over features


class Sizes(NamedTuple):
    """What the parameters do not tell."""

    layers: int
    heads: int
    window: int  # steps back that attention sees; 0: all
    auxiliary: int
    eta0: float
    max_norm: float
    decay_ratio: float
    norm_epsilon: float


def to_torch(tree: Mapping[str, Any], path: str = "") -> dict[str, Tensor]:
    """{a/b/c: tensor that takes a gradient} of nested parameters."""
    found: dict[str, Tensor] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= to_torch(value, f"{path}{name}/")
        elif value is not None:
            found[f"{path}{name}"] = torch.tensor(np.asarray(value), requires_grad=True)
    return found


class Peer:
    """The network; its parameters are those of `to_torch`."""

    def __init__(self, weights: Mapping[str, Tensor], sizes: Sizes):
        self.weights, self.sizes = weights, sizes
        blocks = range(sizes.layers)
        self.plastic = [f"block_{i}/{fc}" for i in blocks for fc in ("fc1", "fc2")]

    def loss(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Mean loss [] of inputs [B, T, I], targets [B, T] and weights [B, T] of steps."""
        answers = self.run(inputs)
        losses = F.cross_entropy(answers.transpose(1, 2), targets, reduction="none")
        return ((losses * weights).sum(1) / weights.sum(1)).mean()

    def run(self, inputs: Tensor) -> Tensor:
        """Answers [B, T, O] to inputs [B, T, I]."""
        w, s = self.weights, self.sizes
        h = {name: self._zeros(name, len(inputs)) for name in self.plastic}
        past: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(s.layers)]
        embedded = self._dense("embed", inputs) + w["position"][: inputs.shape[1]]
        answers = []
        for x in embedded.unbind(1):
            active = {}
            for i in range(s.layers):
                x = x + self._attend(i, self._norm(f"block_{i}/attention_norm", x), past[i])
                pre = self._norm(f"block_{i}/feed_forward_norm", x)
                post = self._read(f"block_{i}/fc1", pre, h)
                hidden = F.gelu(post)
                out = self._read(f"block_{i}/fc2", hidden, h)
                active |= {f"block_{i}/fc1": (pre, post), f"block_{i}/fc2": (hidden, out)}
                x = x + out
            raw = self._dense("head/columns", self._norm("final_norm", x))
            answers.append(raw[:, : -s.auxiliary - 1])
            h = self._write(h, active, raw[:, -s.auxiliary - 1])
        return torch.stack(answers, 1)

    def _zeros(self, name: str, batch: int) -> tuple[Tensor, Tensor]:
        kernel = self.weights[f"{name}/kernel"]
        inputs, outputs = kernel.shape
        return kernel.new_zeros(batch, outputs, inputs), kernel.new_zeros(batch, outputs)

    def _dense(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def _norm(self, name: str, x: Tensor) -> Tensor:
        scale, bias = self.weights[f"{name}/scale"], self.weights[f"{name}/bias"]
        return F.layer_norm(x, x.shape[-1:], scale, bias, EPSILON)

    def _attend(self, block: int, x: Tensor, past: list[tuple[Tensor, Tensor]]) -> Tensor:
        name, batch = f"block_{block}/attention", len(x)
        stacked = self._dense(f"{name}/query_key_value", x)
        query, key, value = stacked.view(batch, 3, self.sizes.heads, -1).unbind(1)
        past.append((key, value))
        seen = past[-self.sizes.window - 1 :] if self.sizes.window else past
        keys, values = (torch.stack(one, 2) for one in zip(*seen, strict=True))  # [B, H, P, W]
        scores = (keys @ query[..., None])[..., 0] * query.shape[-1] ** -0.5
        mixed = (scores.softmax(-1)[:, :, None] @ values)[:, :, 0]
        return self._dense(f"{name}/out", mixed.reshape(batch, -1))

    def _alpha(self, name: str) -> Tensor:
        given = (self.weights.get(f"{name}/{part}") for part in ("alpha", "alpha_out", "alpha_in"))
        alpha, out, into = given
        return alpha if alpha is not None else out[:, None] * into[None, :]

    def _read(self, name: str, pre: Tensor, h: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        trace, bias = h[name]
        fast = ((self._alpha(name) * trace) @ pre[..., None])[..., 0]
        return self._dense(name, pre) + fast + self.weights[f"{name}/beta"] * bias

    def _write(
        self,
        h: Mapping[str, tuple[Tensor, Tensor]],
        active: Mapping[str, tuple[Tensor, Tensor]],
        modulator: Tensor,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The traces after delta = post pre^T, at the clipped rate eta0 sigmoid(g)."""
        s = self.sizes
        squares = [(a**2).sum(-1) * (b**2).sum(-1) for a, b in active.values()]
        norm = (torch.stack(squares).sum(0) + s.norm_epsilon).sqrt() + s.norm_epsilon
        clip = s.max_norm / norm.clamp(min=s.max_norm) if s.max_norm else 1.0
        rate = (s.eta0 * modulator.sigmoid() * clip)[:, None]
        keep = 1 - s.decay_ratio * rate
        written = {}
        for name, (pre, post) in active.items():
            trace, bias = h[name]
            delta = post[:, :, None] * pre[:, None, :]
            trace = keep[..., None] * trace + rate[..., None] * delta
            written[name] = trace, keep * bias + rate * post
        return written

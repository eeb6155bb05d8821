"""Cue-reward association: recall the reward of each cue.

The support shows every cue with its reward. The query phase then shows every cue once more, in
another order, and the target is its reward. T = 2 * num_pairs, or 2 * draws:

  input [T, cue_dim + 2]   [cue (cue_dim) | reward, 0 in a query | 1 in a query]
  target [T, 1]            reward

  cues "one_hot"   different ones of `cue_dim`
       "vectors"   U(0, 1) in each of `cue_dim` dimensions, with normal noise at every step
  rewards "unit"   U(0, 1): predicting the mean, 1/2, scores a query MSE of 1/12
          "signed" U(-1, 1): predicting the mean, 0, scores 1/3

The optimum is a query MSE of 0, except with `draws` or `cue_noise`: of n cues, one does not occur
in the support with probability (1 - 1/n)^draws; and noise makes cues resemble each other.

Source: Chaudhary 2025, whose queries follow in the order of the support (`shuffle=False`, where the
position gives the answer away) and whose loss is the mean over all steps. Duan et al. 2023
(arXiv 2302.03235): 5 noisy vectors, signed rewards, 10 draws in each phase.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks import orders
from plasticity.tasks.squares import query_metrics, squares
from plasticity.types import Array, Key

# {name: (least, largest)}
REWARDS = {"unit": (0.0, 1.0), "signed": (-1.0, 1.0)}

# cues(key, num_pairs, cue_dim) -> [num_pairs, cue_dim]
Cues = Callable[[Key, int, int], Array]


def _one_hot(key: Key, num_pairs: int, cue_dim: int) -> Array:
    return jax.nn.one_hot(jax.random.permutation(key, cue_dim)[:num_pairs], cue_dim)


def _vectors(key: Key, num_pairs: int, cue_dim: int) -> Array:
    return jax.random.uniform(key, (num_pairs, cue_dim))


CUES: dict[str, Cues] = {"one_hot": _one_hot, "vectors": _vectors}


@dataclasses.dataclass(frozen=True)
class CueRewardSettings(Settings):
    """Settings of the task."""

    section = "task"
    num_pairs: int = size(8, "cues per episode")
    cue_dim: int = size(20, "number of one-hot cues, or width of a vector")
    cues: str = setting("one_hot", "kind of cue", choices=CUES)
    cue_noise: float = setting(0.0, "standard deviation of the noise on every cue", low=0)
    rewards: str = setting("unit", "U(0, 1) or U(-1, 1)", choices=REWARDS)
    draws: int = size(
        0, "support steps, and query steps, with cues drawn at random; 0: each cue once", low=0
    )
    shuffle: bool = setting(True, "queries in random order; False: in that of the support")
    loss_steps: str = setting(
        "query", "steps that the outer loss counts; all: as published", choices=("all", "query")
    )

    def check(self) -> None:
        """Raises ValueError if there are fewer one-hot cues than an episode needs."""
        if self.cues == "one_hot" and self.cue_dim < self.num_pairs:
            raise ValueError(
                f"task.cue_dim={self.cue_dim} must be at least task.num_pairs={self.num_pairs}: "
                "one-hot cues are all different"
            )


def _cue_reward(s: CueRewardSettings) -> Task:
    least, largest = REWARDS[s.rewards]
    support = s.draws or s.num_pairs
    steps = 2 * support
    is_query = (jnp.arange(steps) >= support).astype(jnp.float32)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        cue_key, reward_key, order_key = jax.random.split(key, 3)
        rewards = jax.random.uniform(reward_key, (s.num_pairs,), minval=least, maxval=largest)
        picked = _pick(order_key, s)
        cues = CUES[s.cues](cue_key, s.num_pairs, s.cue_dim)[picked]
        if s.cue_noise:
            noise = jax.random.normal(jax.random.fold_in(cue_key, 0), cues.shape)
            cues = cues + s.cue_noise * noise
        targets = rewards[picked][:, None]
        shown = (1 - is_query)[:, None] * targets
        inputs = jnp.concatenate([cues, shown, is_query[:, None]], axis=-1)
        weights = is_query if s.loss_steps == "query" else jnp.ones_like(is_query)
        return Episode(inputs, targets, weights)

    return Task(
        inputs=s.cue_dim + 2,
        outputs=1,
        steps=steps,
        main_metric="query_mse",
        chance=(largest - least) ** 2 / 12,
        sample=sample,
        loss=squares,
        metrics=partial(query_metrics, support),
        phases=orders.phases("stream", support, support),
    )


def _pick(key: Key, s: CueRewardSettings) -> Array:
    """The cue of every step, [T]."""
    if s.draws:
        return jax.random.randint(key, (2 * s.draws,), 0, s.num_pairs)
    order = jnp.arange(s.num_pairs)
    return jnp.concatenate([order, jax.random.permutation(key, order) if s.shuffle else order])


cue_reward = Factory(CueRewardSettings, _cue_reward)

"""Cue-reward association: what is each cue worth?

First every cue is shown with its reward, then every cue is shown once more, in another order, and
its reward is asked for:

  input   [cue (cue_dim) | reward, 0 when asked | 1 when asked]      target   reward

  cues "one_hot"   different ones of `cue_dim`
       "vectors"   U(0, 1) in each of `cue_dim` directions, with normal noise whenever one is shown
  rewards "unit"   U(0, 1): who knows nothing answers 1/2 and has a query MSE of 1/12
          "signed" U(-1, 1): 0 and 1/3

The optimum is 0, but for `draws` and `cue_noise`: with n cues one has not been shown with
probability (1 - 1/n)^draws, and its reward cannot be known; and with noise one cue may look like
another.

Source: Chaudhary 2025, which asks in the order of presentation (`shuffle=False`; the position then
tells the answer to a net that counts) and whose loss is the mean over all steps. Duan et al. 2023
(arXiv 2302.03235): 5 noisy vectors, signed rewards, 10 draws of each kind.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.registry import check_choice, lookup
from plasticity.tasks import orders
from plasticity.tasks.squares import query_metrics, squares
from plasticity.types import Array, Episode, Key, Task

LOSS_STEPS = ("all", "query")


# {name: (least, largest)}
REWARDS = {"unit": (0.0, 1.0), "signed": (-1.0, 1.0)}

# cues(key, num_pairs, cue_dim) -> [num_pairs, cue_dim]
Cues = Callable[[Key, int, int], Array]


def _one_hot(key: Key, num_pairs: int, cue_dim: int) -> Array:
    return jax.nn.one_hot(jax.random.permutation(key, cue_dim)[:num_pairs], cue_dim)


def _vectors(key: Key, num_pairs: int, cue_dim: int) -> Array:
    return jax.random.uniform(key, (num_pairs, cue_dim))


CUES: dict[str, Cues] = {"one_hot": _one_hot, "vectors": _vectors}


def cue_reward(
    *,
    num_pairs: int = 8,
    cue_dim: int = 20,
    cues: str = "one_hot",
    cue_noise: float = 0.0,
    rewards: str = "unit",
    draws: int = 0,
    shuffle: bool = True,
    loss_steps: str = "query",
) -> Task:
    """The task.

    Args:
      num_pairs: cues per episode.
      cue_dim: cues that there are, or the length of their vectors.
      cues, rewards: see above. cue_noise: deviation of what is added to a cue each time.
      draws: steps that show, and steps that ask; cues are drawn with replacement. 0: each once.
      shuffle: ask in an order of its own; False: in that of the presentation.
      loss_steps: the outer loss counts "all" steps (the paper) or those of the "query" only.
    """
    make_cues = lookup(CUES, cues, "task.cues")
    least, largest = lookup(REWARDS, rewards, "task.rewards")
    check_choice(loss_steps, LOSS_STEPS, "task.loss_steps")
    _check(num_pairs, cue_dim, cues, cue_noise, draws)
    shown_steps = draws or num_pairs
    steps = 2 * shown_steps
    asked = (jnp.arange(steps) >= shown_steps).astype(jnp.float32)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        cue_key, reward_key, order_key = jax.random.split(key, 3)
        values = jax.random.uniform(reward_key, (num_pairs,), minval=least, maxval=largest)
        picked = _pick(order_key, num_pairs, draws, shuffle)
        seen = make_cues(cue_key, num_pairs, cue_dim)[picked]
        if cue_noise:
            noise = jax.random.normal(jax.random.fold_in(cue_key, 0), seen.shape)
            seen = seen + cue_noise * noise
        targets = values[picked][:, None]
        shown = (1 - asked)[:, None] * targets
        inputs = jnp.concatenate([seen, shown, asked[:, None]], axis=-1)
        weights = asked if loss_steps == "query" else jnp.ones_like(asked)
        return Episode(inputs, targets, weights)

    return Task(
        inputs=cue_dim + 2,
        outputs=1,
        steps=steps,
        main_metric="query_mse",
        chance=(largest - least) ** 2 / 12,
        sample=sample,
        loss=squares,
        metrics=partial(query_metrics, shown_steps),
        phases=orders.phases("stream", shown_steps, shown_steps),
    )


def _pick(key: Key, num_pairs: int, draws: int, shuffle: bool) -> Array:
    """Which cue a step is about, [T]."""
    if draws:
        return jax.random.randint(key, (2 * draws,), 0, num_pairs)
    order = jnp.arange(num_pairs)
    return jnp.concatenate([order, jax.random.permutation(key, order) if shuffle else order])


def _check(num_pairs: int, cue_dim: int, cues: str, cue_noise: float, draws: int) -> None:
    if num_pairs < 1:
        raise ValueError(f"task.num_pairs={num_pairs} must be at least 1")
    if cue_noise < 0 or draws < 0:
        raise ValueError(f"task.cue_noise={cue_noise} and task.draws={draws} must be at least 0")
    if cue_dim < 1:
        raise ValueError(f"task.cue_dim={cue_dim} must be at least 1")
    if cues == "one_hot" and cue_dim < num_pairs:
        raise ValueError(
            f"task.cue_dim={cue_dim} must be at least task.num_pairs={num_pairs}: cues differ"
        )

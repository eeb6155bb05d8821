"""Cue-reward association: what is each cue worth?

An episode of T = 2 * num_pairs steps. First every cue is shown with its reward, then every cue is
shown once more, in another order, and its reward is asked for:

  input   [cue, one-hot (cue_dim) | reward, 0 when asked | 1 when asked]      target   reward

Cues are different ones of `cue_dim`; rewards are U(0, 1). Who knows nothing answers 1/2 and has a
query MSE of 1/12; the optimum is 0.

Source: Chaudhary 2025, which asks in the order of presentation (`shuffle=False`; the position then
tells the answer to a net that counts) and whose loss is the mean over all steps.
"""

import jax
import jax.numpy as jnp

from plasticity.registry import check_choice
from plasticity.types import Array, Episode, Key, Task

LOSS_STEPS = ("all", "query")


def cue_reward(
    *, num_pairs: int = 8, cue_dim: int = 20, shuffle: bool = True, loss_steps: str = "query"
) -> Task:
    """The task.

    Args:
      num_pairs: cues per episode.
      cue_dim: cues that there are.
      shuffle: ask in an order of its own; False: in that of the presentation.
      loss_steps: the outer loss counts "all" steps (the paper) or those of the "query" only.
    """
    if num_pairs < 1:
        raise ValueError(f"task.num_pairs={num_pairs} must be at least 1")
    if cue_dim < num_pairs:
        raise ValueError(
            f"task.cue_dim={cue_dim} must be at least task.num_pairs={num_pairs}: cues differ"
        )
    check_choice(loss_steps, LOSS_STEPS, "task.loss_steps")
    steps = 2 * num_pairs
    asked = (jnp.arange(steps) >= num_pairs).astype(jnp.float32)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        cue_key, reward_key, order_key = jax.random.split(key, 3)
        cues = jax.random.permutation(cue_key, cue_dim)[:num_pairs]
        rewards = jax.random.uniform(reward_key, (num_pairs,))
        order = jnp.arange(num_pairs)
        if shuffle:
            order = jax.random.permutation(order_key, order)
        cues = jax.nn.one_hot(jnp.concatenate([cues, cues[order]]), cue_dim)
        targets = jnp.concatenate([rewards, rewards[order]])[:, None]
        shown = (1 - asked)[:, None] * targets
        inputs = jnp.concatenate([cues, shown, asked[:, None]], axis=-1)
        weights = asked if loss_steps == "query" else jnp.ones_like(asked)
        return Episode(inputs, targets, weights)

    def loss(answers: Array, episode: Episode) -> Array:
        return ((answers - episode.targets) ** 2).mean(-1)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        squares = loss(answers, episode)
        return {"query_mse": squares[num_pairs:].mean(), "paper_validation_mse": squares.mean()}

    return Task(
        inputs=cue_dim + 2,
        outputs=1,
        steps=steps,
        main_metric="query_mse",
        chance=1 / 12,
        sample=sample,
        loss=loss,
        metrics=metrics,
    )

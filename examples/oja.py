"""A rule and a task of one's own, in one file that may lie anywhere, with the config of a run.

  python -m experiments.launch --config=examples/oja.py --workdir=runs/oja \
      [--config.rule.forgetting=.5 --config.task.pairs=8]

The rule is that of Oja 1982: each output forgets in proportion to the square of its activity.

  delta_t = post_t pre_t^T,   eta_t as in the Hebbian rule
  w_{t+1}[o] = max(0, 1 - forgetting eta_t post_t[o]^2) w_t[o] + eta_t alpha[o] * delta_t[o]

The task shows pairs of a cue and a sign, then one of the cues again, and asks for its sign.
Predicting the mean, 0, scores a query MSE of 1. The config closes attention, so that the pairs are
known from fast weights only.
"""

import dataclasses

import jax
import jax.numpy as jnp

import plasticity as P
from plasticity.configs import base


@dataclasses.dataclass(frozen=True)
class OjaSettings(P.PlasticSettings):
    """Those of every plastic rule, and one more; `traced`: another value does not recompile."""

    forgetting: float = P.setting(1.0, "1: Oja's rule; 0: nothing is forgotten", traced=True, low=0)


def oja(settings):
    """The rule."""
    hebbian = P.modulated(settings, lambda layer: (layer.post, layer.pre))

    def forgetting(write):
        keep = jnp.maximum(1 - settings.forgetting * write.rate * write.left**2, 0)
        return write._replace(rate=jnp.broadcast_to(write.rate, keep.shape), keep=keep)

    def write(theta, modulator, activities):
        writes = hebbian.write(theta, modulator, activities)
        return {name: forgetting(write) for name, write in writes.items()}

    return hebbian._replace(write=write, form=P.Form("output"))


@dataclasses.dataclass(frozen=True)
class PairsSettings(P.Settings):
    """Settings of the task."""

    section = "task"
    pairs: int = P.size(4, "pairs in an episode")


def pairs(settings):
    """The task: inputs [pairs + 1, pairs + 1], targets [pairs + 1, 1]."""
    count = settings.pairs

    def sample(key, data=None):
        sign_key, cue_key = jax.random.split(key)
        signs = jax.random.rademacher(sign_key, (count,), jnp.float32)
        asked = jax.random.randint(cue_key, (), 0, count)
        cues = jnp.eye(count)[jnp.append(jnp.arange(count), asked)]
        inputs = jnp.concatenate([cues, jnp.append(signs, 0.0)[:, None]], axis=-1)
        targets = jnp.append(jnp.zeros(count), signs[asked])[:, None]
        return P.Episode(inputs, targets, weights=jnp.zeros(count + 1).at[-1].set(1.0))

    def loss(answers, episode):
        return ((answers - episode.targets) ** 2).sum(-1)

    def metrics(answers, episode):
        return {"query_mse": loss(answers, episode)[-1]}

    return P.Task(
        inputs=count + 1,
        outputs=1,
        steps=count + 1,
        main_metric="query_mse",
        chance=1.0,
        sample=sample,
        loss=loss,
        metrics=metrics,
        phases=(("pair", count), ("query", 1)),
    )


P.register_rule("my_oja", oja, OjaSettings)
P.register_task("pairs", pairs, PairsSettings)


def get_config(which="my_oja"):
    """The config: --config=examples/oja.py:RULE, or :MODEL/RULE."""
    config = base.start(which, "pairs")
    if config.model.name == "transformer":
        config.model.attention_window = -1
    config.train.steps = 400
    return config

"""What and when: which outcome follows a cue, after how long, and how surely.

Each cue of an episode has an outcome, a latency from 1 to `latest` steps and a probability, drawn
anew in each episode. A trial is a step with a cue and `latest` further steps; at the latency of the
cue its outcome occurs, with its probability. Trials come in `rounds`, in each of which every cue
comes once, in random order. At each step the net predicts the next one: which outcome, or none.

The net does not see the cue, but a fixed random reservoir that is driven by cue and outcomes and
starts from rest at each trial. So the time since the cue is in the input, as a pattern:

  r <- (1 - leak) r + leak tanh(W r + U [cue | outcome]),   W of spectral radius .9

  input   [r (units) | the outcome of this step (outcomes)]
  answer  a distribution over no outcome and each outcome [1 + outcomes]

The answers of the second half of the rounds count (the last step of a trial has none): the first
half is what they are learned from.

The headline metric is skill: 0 is the cross-entropy of always predicting how often each outcome
occurs, 1 that of who knows outcome, latency and probability of every cue. Chance level: 0. Optimum:
below 1, since a few trials do not tell a probability. hit is how often the likeliest outcome is the
right one, at the latencies of cues, whether or not it occurs; it does not depend on probabilities.

Source: Yamada and Chao 2025 (arXiv 2510.14382), identity, latency and probability in one code, read
from a spiking reservoir. Departures: a reservoir of rates, without noise; predictions by
cross-entropy; contingencies change from episode to episode, not within.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import cross_entropy
from plasticity.types import Array, Key

RADIUS = 0.9  # spectral radius of the reservoir
PROBABILITIES = np.array([0.5, 0.75, 1.0])  # of an outcome, all equally likely


@dataclasses.dataclass(frozen=True)
class WhatAndWhenSettings(Settings):
    """Sizes of an episode, and of the reservoir."""

    section = "task"
    cues: int = size(3, "cues of an episode")
    outcomes: int = size(4, "different outcomes")
    latest: int = size(6, "latest step after a cue at which its outcome may occur")
    rounds: int = size(8, "trials of each cue", low=2)
    units: int = size(48, "units of the reservoir")
    leak: float = setting(0.5, "what a step of the reservoir replaces", above=0, high=1)
    reservoir: int = setting(0, "which random reservoir", low=0)


def reservoir(s: WhatAndWhenSettings) -> tuple[np.ndarray, np.ndarray]:
    """W [R, R] and U [R, cues + outcomes]."""
    draw = np.random.default_rng(s.reservoir)
    recurrent = draw.normal(size=(s.units, s.units))
    recurrent *= RADIUS / np.abs(np.linalg.eigvals(recurrent)).max()
    return recurrent, draw.normal(size=(s.units, s.cues + s.outcomes))


def levels(s: WhatAndWhenSettings) -> tuple[float, float]:
    """The mean cross-entropy over a trial of the best constant and of an omniscient prediction."""
    some = PROBABILITIES.mean() / s.latest  # that an outcome occurs at a given step
    ignorant = -(1 - some) * np.log1p(-some) - some * np.log(some / s.outcomes)
    p = PROBABILITIES[PROBABILITIES < 1]  # a sure outcome has no entropy
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p)).sum() / len(PROBABILITIES)
    return float(ignorant), float(entropy / s.latest)  # all in one step of the trial


def _what_and_when(s: WhatAndWhenSettings) -> Task:
    length, trials = s.latest + 1, s.cues * s.rounds
    steps = trials * length
    recurrent, driven = (jnp.asarray(a, jnp.float32) for a in reservoir(s))
    ignorant, omniscient = levels(s)
    first = s.rounds // 2 * s.cues * length  # steps of the rounds that do not count
    step_of_trial = jnp.arange(steps) % length
    weights = ((jnp.arange(steps) >= first) & (step_of_trial < s.latest)).astype(float)

    def states(inputs: Array) -> Array:
        """Of the reservoir, in a trial: [length, R] of inputs [length, cues + outcomes]."""

        def step(r: Array, x: Array) -> tuple[Array, Array]:
            r = (1 - s.leak) * r + s.leak * jnp.tanh(recurrent @ r + driven @ x)
            return r, r

        return jax.lax.scan(step, jnp.zeros(s.units), inputs)[1]

    def sample(key: Key, data: None = None) -> Episode:
        del data
        what_key, when_key, how_key, order_key, occurs_key = jax.random.split(key, 5)
        what = jax.random.randint(what_key, (s.cues,), 0, s.outcomes)
        when = jax.random.randint(when_key, (s.cues,), 1, s.latest + 1)
        how = jax.random.choice(how_key, jnp.asarray(PROBABILITIES, jnp.float32), (s.cues,))
        orders = jax.random.split(order_key, s.rounds)
        cue = jax.vmap(lambda k: jax.random.permutation(k, s.cues))(orders).ravel()  # [trials]
        occurs = jax.random.bernoulli(occurs_key, how[cue])
        at = jnp.arange(length) == when[cue][:, None]  # [trials, length]
        outcome = jnp.where(at & occurs[:, None], what[cue][:, None], -1)
        shown = jax.nn.one_hot(outcome, s.outcomes)
        start = jax.nn.one_hot(cue, s.cues)[:, None] * (jnp.arange(length) == 0)[:, None]
        state = jax.vmap(states)(jnp.concatenate([start, shown], -1))
        inputs = jnp.concatenate([state, shown], -1).reshape(steps, -1)
        following = jnp.roll(1 + outcome.ravel(), -1)  # of the last step of a trial: not asked
        # What may follow, whether or not it does: for `hit`.
        possible = jnp.roll(jnp.where(at, 1 + what[cue][:, None], 0).ravel(), -1)
        return Episode(inputs, {"next": following, "possible": possible}, weights)

    def loss(answers: Array, episode: Episode) -> Array:
        return cross_entropy(answers, episode._replace(targets=episode.targets["next"]))

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        mean = (loss(answers, episode) * weights).sum() / weights.sum()
        possible = episode.targets["possible"]
        latencies = weights * (possible > 0)
        hit = (1 + answers[:, 1:].argmax(-1) == possible) * latencies
        skill = (ignorant - mean) / (ignorant - omniscient)
        return {"skill": skill, "hit": hit.sum() / latencies.sum()}

    return Task(
        inputs=s.units + s.outcomes,
        outputs=1 + s.outcomes,
        steps=steps,
        main_metric="skill",
        chance=0.0,
        sample=sample,
        loss=loss,
        metrics=metrics,
        phases=(("learning", first), ("test", steps - first)),
    )


what_and_when = Factory(WhatAndWhenSettings, _what_and_when)

"""Needle in a haystack: a few pairs among filler, and the keys of some of them at the end.

An episode of T tokens, with q = `needles`, n = `needles` + `distractors`, and V = `vocabulary`:

  input   T - q positions: n pairs of a key and its value, filler elsewhere   k_1 .. k_q
  target                                                                      v_1 .. v_q

A third of the vocabulary each, in this order, are filler, keys and values. Keys are distinct,
values are distinct. A pair is asked (a needle) or never (a distractor): nothing but the query at
the end tells which. A query is a step, as in MQAR: it is read like the key of a pair, and it is
written to memory too. Filler is uniform over its third.

Pairs start at even positions. The depth of a needle is its position in the haystack. Needles are
spread over its thirds, as evenly as their number allows: each needle is in each third equally
often. With three needles or more, no third is empty, and there are metrics accuracy_early,
accuracy_middle and accuracy_late. For fewer needles, `depth` puts those of validation and test in
one third, as in --mode=evaluate --config.task.depth=early; training keeps all depths. Training has
T = `steps`, validation and test have T = `test_steps`, with as many pairs and more filler.

The headline metric is accuracy, over the queries. Chance level: each of the V - 2 (V // 3) values
is equally likely, so 1 / (V - 2 (V // 3)). A net that answers with any value of the episode
scores 1 / n. Optimum: 1.

Source: the needle-in-a-haystack tests of language models (Kamradt 2023), with keys and values of
one token as in the synthetic tests of RULER (Hsieh et al. 2024, arXiv 2404.06654): its single,
multi-key (`distractors`) and multi-query (`needles`) variants. Departure: nets are trained on it.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import accuracy, correct, token_task, tokens
from plasticity.tasks.mqar import drawn
from plasticity.types import Array, Key

UNIFORM = "uniform"
THIRDS = ("early", "middle", "late")


@dataclasses.dataclass(frozen=True)
class NeedleSettings(Settings):
    """Settings of the task."""

    section = "task"
    vocabulary: int = size(96, "tokens; a third each are filler, keys and values", low=6)
    steps: int = size(64, "tokens of an episode of training, queries included", low=4)
    test_steps: int = size(256, "tokens of an episode of validation and test", low=4)
    needles: int = size(3, "pairs whose keys are asked at the end")
    distractors: int = size(5, "pairs that are never asked", low=0)
    depth: str = setting(
        UNIFORM, "third of the haystack with the needles of the test", choices=(UNIFORM, *THIRDS)
    )

    @property
    def pairs(self) -> int:
        """Keys and values of an episode."""
        return self.needles + self.distractors

    def check(self) -> None:
        """Raises ValueError for more pairs than keys, or than fit into a third of the haystack."""
        least = self.needles + 6 * self.pairs
        for name in ("steps", "test_steps"):
            if getattr(self, name) < least:
                raise ValueError(
                    f"task.{name}={getattr(self, name)} must be at least {least}: a step for each "
                    f"of {self.needles} queries, and six for each of {self.pairs} pairs, so that "
                    f"most of the episode is filler"
                )
        if self.pairs > self.vocabulary // 3:
            raise ValueError(
                f"task.vocabulary={self.vocabulary} must be at least {3 * self.pairs}, "
                f"3 * (task.needles + task.distractors): keys differ, and are a third of it"
            )


def _slots(key: Key, s: NeedleSettings, slots: int, depth: str) -> Array:
    """The slots [n] of all pairs, those of the needles first.

    The needles are spread over the thirds as evenly as their number allows, starting at a random
    third; or all are in the third that `depth` names.
    """
    third_key, needle_key, order_key, distractor_key = jax.random.split(key, 4)
    index = jnp.arange(s.needles)
    if depth == UNIFORM:
        third = (index + jax.random.randint(third_key, (), 0, len(THIRDS))) % len(THIRDS)
    else:
        third = jnp.full(s.needles, THIRDS.index(depth))
    is_there = _third(jnp.arange(slots), slots) == jnp.arange(len(THIRDS))[:, None]
    keys = jax.random.split(needle_key, len(THIRDS))
    found = jax.vmap(drawn, (0, 0, None))(keys, jnp.log(is_there), s.needles)
    # The needles of a third take different entries of `found`.
    needles = jax.random.permutation(order_key, found[third, index])
    free = jnp.zeros(slots).at[needles].set(-jnp.inf)
    return jnp.concatenate([needles, drawn(distractor_key, free, s.distractors)])


def _third(slot: Array, slots: int) -> Array:
    """In which third of the haystack a slot is: 0, 1 or 2."""
    return len(THIRDS) * slot // slots


def _needle(s: NeedleSettings, steps: int, depth: str) -> Task:
    third = s.vocabulary // 3
    hay = steps - s.needles
    slots = hay // 2

    def sample(key: Key, data: None = None) -> Episode:
        del data
        key_key, value_key, slot_key, filler_key = jax.random.split(key, 4)
        keys = third + drawn(key_key, jnp.zeros(third), s.pairs)
        values = 2 * third + drawn(value_key, jnp.zeros(s.vocabulary - 2 * third), s.pairs)
        at = 2 * _slots(slot_key, s, slots, depth)
        inputs = jax.random.randint(filler_key, (steps,), 0, third)
        inputs = inputs.at[at].set(keys).at[at + 1].set(values).at[hay:].set(keys[: s.needles])
        targets = jnp.zeros(steps, jnp.int32).at[hay:].set(values[: s.needles])
        return Episode(inputs, targets, jnp.zeros(steps).at[hay:].set(1.0))

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        found = {"accuracy": accuracy(answers, episode)}
        if depth != UNIFORM or s.needles < len(THIRDS):
            return found  # no needle in some third of some episode
        is_right, inputs = correct(answers, episode.targets)[hay:], tokens(episode)
        at = (inputs[hay:, None] == inputs[:hay]).argmax(1)
        of_third = _third(at // 2, slots) == jnp.arange(len(THIRDS))[:, None]
        shares = (of_third * is_right).sum(1) / of_third.sum(1)
        return found | {f"accuracy_{name}": shares[i] for i, name in enumerate(THIRDS)}

    chance = 1 / (s.vocabulary - 2 * third)
    phases = (("haystack", hay), ("queries", s.needles))
    return token_task(s.vocabulary, chance, sample, phases)._replace(metrics=metrics)


def _in_training_and_test(s: NeedleSettings) -> Task:
    training = _needle(s, s.steps, UNIFORM)
    return _needle(s, s.test_steps, s.depth)._replace(training=training)


needle = Factory(NeedleSettings, _in_training_and_test)

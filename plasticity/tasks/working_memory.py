"""Working memory: symbols are shown, an interval passes, and they are asked for.

An episode has n items, one a step, then an interval of blank steps, then queries, each on its own:

  change_detection  a symbol at each place. Query: a place and a symbol; is it the one shown there?
                    Half are; the others were shown at another place, so knowing them does not help
  recognition       symbols. Query: a symbol; was it shown? All that were, and as many others
  serial_recall     symbols with their number in the list. Query: a number; which symbol?
  free_recall       symbols. One query: which symbols, in any order?
  updating          a symbol at each place, then `updates` steps that move the symbol of a place one
                    forward or back (16 comes before 1). Query: a place; which symbol?
  complex_span      as serial_recall, but after each item another symbol is shown, and it is to be
                    said at once whether its number is odd

Training draws n from `fewest` to `items` and the interval from 0 to `interval`, all equally likely;
validation and test have `test_items` and `test_interval`. Symbols of an episode differ. Where n is
less than `items`, or the interval shorter, the first steps are blank.

  input   [place or number (items) | symbol (symbols) | forward, back, judge | 1 in a query]
  answer  a distribution over symbols, no and yes [symbols + 2]

The headline metric is accuracy over the queries: if k symbols are asked for, the share of them that
is among the k likeliest answers (for one symbol: whether it is the likeliest). position_i is that
of item i: a curve over serial positions (not in free_recall).
Chance level: 1/2 where the answer is yes or no; test_items / symbols in free_recall; else
1 / symbols. Optimum: 1.

Source: Sikarwar and Zhang 2023 (arXiv 2307.10768), WorM. Departures: symbols and places are one-hot
vectors, there they are drawn as images; a number marks the place in a list; queries do not follow
each other and write nothing.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import size
from plasticity.task import Task
from plasticity.tasks.trials import (
    BACK,
    FORWARD,
    JUDGE,
    Kind,
    Trial,
    WorkingMemorySettings,
    answers_of,
    encoded,
    make,
)
from plasticity.types import Array, Key


@dataclasses.dataclass(frozen=True)
class UpdatingSettings(WorkingMemorySettings):
    """Settings of updating."""

    updates: int = size(6, "steps that change a symbol")


def _symbols(key: Key, s: WorkingMemorySettings, count: int = 0) -> Array:
    """As many different symbols as there are items, or `count`."""
    return jax.random.permutation(key, s.symbols)[: count or s.items]


def _items(s: WorkingMemorySettings, shown: Array, symbols: Array, *, placed: bool) -> Array:
    """A step for each item [N, I], blank where it is not shown."""
    return encoded(s, jnp.arange(s.items) if placed else None, symbols) * shown[:, None]


def _each_place(
    s: WorkingMemorySettings, symbols: Array, shown: Array
) -> tuple[Array, Array, Array]:
    """Which symbol [N] is at each place: queries, answers, weights."""
    queries = encoded(s, jnp.arange(s.items), query=True)
    return queries, answers_of(s, symbols), shown.astype(float)


def _change_detection(key: Key, s: WorkingMemorySettings, shown: Array) -> Trial:
    symbol_key, change_key, other_key = jax.random.split(key, 3)
    symbols = _symbols(symbol_key, s)
    same = jax.random.bernoulli(change_key, 0.5, (s.items,))
    others = shown & ~jnp.eye(s.items, dtype=bool)
    others = jnp.where(shown.sum() > 1, others, ~shown)  # one item alone: a symbol not shown
    other = jax.random.categorical(other_key, jnp.where(others, 0, -jnp.inf))
    asked = jnp.where(same, symbols, symbols[other])
    return Trial(
        _items(s, shown, symbols, placed=True),
        encoded(s, jnp.arange(s.items), asked, query=True),
        answers_of(s, s.symbols + same),
        shown.astype(float),
    )


def _recognition(key: Key, s: WorkingMemorySettings, shown: Array) -> Trial:
    symbols = _symbols(key, s, 2 * s.items)
    old = jnp.arange(2 * s.items) < s.items
    return Trial(
        _items(s, shown, symbols[: s.items], placed=False),
        encoded(s, None, symbols, query=True),
        answers_of(s, s.symbols + old),
        jnp.tile(shown, 2).astype(float),
    )


def _serial_recall(key: Key, s: WorkingMemorySettings, shown: Array) -> Trial:
    symbols = _symbols(key, s)
    steps = _items(s, shown, symbols, placed=True)
    return Trial(steps, *_each_place(s, symbols, shown))


def _free_recall(key: Key, s: WorkingMemorySettings, shown: Array) -> Trial:
    symbols = _symbols(key, s)
    wanted = (answers_of(s, symbols) * shown[:, None]).sum(0) / shown.sum()
    query = encoded(s, None, jnp.full((1,), -1), query=True)
    return Trial(_items(s, shown, symbols, placed=False), query, wanted[None], jnp.ones(1))


def _updating(key: Key, s: UpdatingSettings, shown: Array) -> Trial:
    place_key, back_key, key = jax.random.split(key, 3)
    symbols = _symbols(key, s)
    places = jax.random.categorical(place_key, jnp.where(shown, 0, -jnp.inf), shape=(s.updates,))
    back = jax.random.bernoulli(back_key, 0.5, (s.updates,))
    moved = symbols.at[places].add(jnp.where(back, -1, 1)) % s.symbols
    steps = _items(s, shown, symbols, placed=True)
    updates = encoded(s, places, None, jnp.where(back, BACK, FORWARD))
    return Trial(jnp.concatenate([steps, updates]), *_each_place(s, moved, shown))


def _complex_span(key: Key, s: WorkingMemorySettings, shown: Array) -> Trial:
    judge_key, key = jax.random.split(key)
    symbols = _symbols(key, s)
    steps = _items(s, shown, symbols, placed=True)
    between = jax.random.randint(judge_key, (s.items,), 0, s.symbols)
    judge = encoded(s, None, between, jnp.full((s.items,), JUDGE)) * shown[:, None]
    judged = answers_of(s, s.symbols + between % 2) * shown[:, None]
    steps = jnp.stack([steps, judge], 1).reshape(2 * s.items, -1)
    judged = jnp.stack([jnp.zeros_like(judged), judged], 1).reshape(2 * s.items, -1)
    return Trial(steps, *_each_place(s, symbols, shown), judged)


def _yes_or_no(s: WorkingMemorySettings) -> float:
    return 1 / 2


def _one_symbol(s: WorkingMemorySettings) -> float:
    return 1 / s.symbols


def _some_symbols(s: WorkingMemorySettings) -> float:
    return s.test_items / s.symbols


def _items_only(s: WorkingMemorySettings) -> tuple[tuple[str, int], ...]:
    return (("items", s.items),)


def _then_updates(s: UpdatingSettings) -> tuple[tuple[str, int], ...]:
    return (("items", s.items), ("updates", s.updates))


def _with_judgements(s: WorkingMemorySettings) -> tuple[tuple[str, int], ...]:
    return (("items", 2 * s.items),)


KINDS = {
    "change_detection": Kind(_change_detection, _items_only, _yes_or_no),
    "recognition": Kind(_recognition, _items_only, _yes_or_no),
    "serial_recall": Kind(_serial_recall, _items_only, _one_symbol),
    "free_recall": Kind(_free_recall, _items_only, _some_symbols, positions=False),
    "updating": Kind(_updating, _then_updates, _one_symbol),
    "complex_span": Kind(_complex_span, _with_judgements, _one_symbol),
}
# {name of the task: how it is made}
WORKING_MEMORY: dict[str, Factory[Task]] = {
    name: Factory(UpdatingSettings if name == "updating" else WorkingMemorySettings, make(kind))
    for name, kind in KINDS.items()
}

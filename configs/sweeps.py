"""Sweeps for any config: functions without arguments that return lists of overrides.

  python -m experiments.sweep --config=regression --sweep=architectures --workdir=DIR

A config file may define such functions of its own.
"""

from collections.abc import Callable

from plasticity.configs.algebra import Overrides, chain, over, product, zip_
from plasticity.rules import feed_forward


def rules() -> list[Overrides]:
    """Every rule that has a meaning at the sites of the networks: in their feed-forward layers."""
    return over("rule.name", feed_forward())


def attention() -> list[Overrides]:
    """Full and closed attention, each with every rule."""
    return product(over("model.attention_window", (0, -1)), rules())


def architectures() -> list[Overrides]:
    """Transformer with full and with closed attention, RNN, LSTM, each with every rule.

    The networks have about as many parameters each: see `configs.base.SMALL`.
    """
    transformer = product(over("model.name", ["transformer"]), attention())
    return chain(transformer, product(over("model.name", ["rnn", "lstm"]), rules()))


def shots() -> list[Overrides]:
    """1 and 5 shots, full and closed attention, each with every rule.

    Five shots take half the training episodes.
    """
    sizes = chain(
        over("task.shots", [1]), zip_(over("task.shots", [5]), over("train.steps", [300]))
    )
    return product(sizes, attention())


SWEEPS: dict[str, Callable[[], list[Overrides]]] = {
    sweep.__name__: sweep for sweep in (rules, attention, architectures, shots)
}

"""Sweeps: functions without arguments that return lists of overrides {dotted field: value}.

  python -m experiments.sweep --config=configs/regression.py --sweep=architectures --workdir=DIR

The fields `rule.name` and `model.name` choose the config, as FILE:MODEL/RULE does; every other one
is set in it.
"""

import itertools
from typing import Any

from plasticity.rules import RULES

Point = dict[str, Any]

# At matched numbers of parameters: see `configs.base.SMALL`.
ARCHITECTURES: list[Point] = [
    {"model.name": "transformer", "model.attention_window": 0},
    {"model.name": "transformer", "model.attention_window": -1},
    {"model.name": "rnn"},
    {"model.name": "lstm"},
]


def rules() -> list[Point]:
    """Every rule."""
    return [{"rule.name": rule} for rule in RULES]


def architectures() -> list[Point]:
    """Transformer with full attention, or with none of the past; RNN; LSTM: with each rule."""
    pairs = itertools.product(ARCHITECTURES, rules())
    return [architecture | rule for architecture, rule in pairs]


def attention() -> list[Point]:
    """Full attention, and none of the past; each rule."""
    windows = [{"model.attention_window": window} for window in (0, -1)]
    return [window | rule for window, rule in itertools.product(windows, rules())]


def shots() -> list[Point]:
    """1 and 5 shots, with and without attention; each rule. Five shots need half the episodes."""
    sizes = [{"task.shots": 1}, {"task.shots": 5, "train.steps": 300}]
    return [size | point for size, point in itertools.product(sizes, attention())]


SWEEPS = {"rules": rules, "attention": attention, "architectures": architectures, "shots": shots}

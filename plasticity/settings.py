"""Settings: frozen dataclasses whose fields state default, range and meaning once.

    @dataclasses.dataclass(frozen=True)
    class CopyingSettings(Settings):
        section = "task"
        delay: int = setting(20, "blanks before the delimiter", low=0)

    CopyingSettings(delay=2.5)  # ValueError: task.delay=2.5 must be an integer, at least 0

The type of a setting is the type of its default. A float setting also accepts integers, and arrays,
whose values may be unknown while a program is traced. Every float has to be a float32: a value that
float32 rounds to 0 or to infinity would change what is computed, silently.
"""

import dataclasses
import operator
from collections.abc import Collection, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from plasticity.registry import lookup, shown

LARGEST_INT = 2**31 - 1  # of int32, the type of every count on a device
LARGEST_SIZE = 2**20  # of an axis of an array
COMMON = {LARGEST_INT, LARGEST_SIZE}
FLOAT32 = np.finfo(np.float32)

BOUNDS = {
    "low": ("at least", operator.ge),
    "above": ("greater than", operator.gt),
    "high": ("at most", operator.le),
    "below": ("less than", operator.lt),
}
# {type of the default: (in words, types that are accepted)}
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("an integer", (Integral,)),
    float: ("a number", (Real, jax.Array, jax.ShapeDtypeStruct)),
    str: ("a string", (str,)),
}


class About(NamedTuple):
    """The metadata of a setting."""

    comment: str
    choices: Collection[str]  # a registry may grow; none: any value within the bounds
    bounds: dict[str, float]  # {a key of BOUNDS: limit}


def setting(default: Any, comment: str, *, choices: Collection[str] = (), **bounds: float) -> Any:
    """A field of a `Settings` dataclass.

    Args:
      default: the default value; its type is the type of the setting.
      comment: what the setting means, for a reader of `--help`.
      choices: the names that are valid.
      **bounds: `low` <= value <= `high`, `above` < value < `below`.
    """
    if type(default) is int:
        bounds = {"high": LARGEST_INT} | bounds
    return dataclasses.field(default=default, metadata={"about": About(comment, choices, bounds)})


def size(default: int, comment: str, **bounds: float) -> Any:
    """A setting that counts entries of an array: from 1, or `low`, to 2**20."""
    limits: dict[str, float] = {"low": 1, "high": LARGEST_SIZE}
    return setting(default, comment, choices=(), **limits | bounds)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of all settings: fields made by `setting`, checked when an instance is made."""

    section: ClassVar[str] = ""  # of the config; messages name a field SECTION.FIELD

    def __post_init__(self) -> None:
        """Raises ValueError for the first value that is not valid."""
        for field in dataclasses.fields(self):
            name, about = dotted(self.section, field.name), field.metadata["about"]
            _check(name, getattr(self, field.name), type(field.default), about)
        self.check()

    def check(self) -> None:
        """Raises ValueError if values, each of them valid, do not go together."""

    @classmethod
    def describe(cls) -> Iterator[tuple[str, Any, str]]:
        """Yields (SECTION.FIELD, default, meaning and range) of every setting."""
        for field in dataclasses.fields(cls):
            about: About = field.metadata["about"]
            words = [] if about.choices else [KINDS[type(field.default)][0]]
            words += [" | ".join(about.choices)] if about.choices else _limits(about.bounds)
            text = f"{about.comment} ({', '.join(words)})"
            yield dotted(cls.section, field.name), field.default, text


def dotted(section: str, field: str) -> str:
    """SECTION.FIELD, or FIELD outside any section."""
    return f"{section}.{field}" if section else field


def _check(name: str, value: Any, kind: type, about: About) -> None:
    """Raises ValueError unless `value` has the type and lies in the range of the setting."""
    if about.choices:
        lookup(dict.fromkeys(about.choices), value, name)
        return
    word, types = KINDS[kind]
    if not isinstance(value, types) or (kind is not bool and isinstance(value, bool)):
        wanted = ", ".join([word, *_limits(about.bounds)])
        raise ValueError(f"{name}={shown(value)} must be {wanted}{_literal(value, kind)}")
    if kind not in (int, float) or isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
        return
    is_array = isinstance(value, jax.Array)
    numbers: list[Any] = np.asarray(value).ravel().tolist() if is_array else [value]
    for number in numbers:
        if kind is float:
            _check_float32(name, number, _limits(about.bounds))
        _check_bounds(name, number, about.bounds)


def _check_bounds(name: str, value: float, bounds: dict[str, float]) -> None:
    broken = {key: limit for key, limit in bounds.items() if not BOUNDS[key][1](value, limit)}
    if broken:
        limits = _limits(broken, every=True) if COMMON & {*broken.values()} else _limits(bounds)
        raise ValueError(f"{name}={shown(value)} must be {' and '.join(limits)}")


def _check_float32(name: str, value: float, limits: list[str]) -> None:
    # Integers are compared, not converted: float(10**400) raises OverflowError.
    if not abs(value) < float("inf"):
        raise ValueError(f"{name}={value!r} must be {' and '.join(['finite', *limits])}")
    if abs(value) > float(FLOAT32.max):
        raise ValueError(
            f"{name}={shown(value)} is infinite in float32: must be at most {FLOAT32.max:.1e}"
        )
    if 0 < abs(value) < float(FLOAT32.tiny):
        raise ValueError(
            f"{name}={value!r} is 0 in float32, whose smallest number is {FLOAT32.tiny:.1e}"
        )


def _limits(bounds: dict[str, float], every: bool = False) -> list[str]:
    """The bounds in words, the lower one first; those of all integers only if `every`."""
    return [
        f"{word} {bounds[key]}"
        for key, (word, _) in BOUNDS.items()
        if key in bounds and (every or bounds[key] not in COMMON)
    ]


def _literal(value: Any, kind: type) -> str:
    """What 64.0 or '64' stands for where an integer is wanted, as ": 64"."""
    if not isinstance(value, str | float):
        return ""
    try:
        meant = kind(value)
        return f": {meant!r}" if float(value) == meant else ""
    except (ValueError, OverflowError):
        return ""

"""Settings: frozen dataclasses whose fields state default, range and meaning once.

    @dataclasses.dataclass(frozen=True)
    class CopyingSettings(Settings):
        section = "task"
        delay: int = setting(20, "blanks before the delimiter", low=0)

    CopyingSettings(delay=2.5)  # ValueError: task.delay=2.5 must be an integer, at least 0

The type of a setting is the type of its default. A float setting also accepts integers, and arrays,
whose values may be unknown while a program is traced. Every float must be within the range of
float32: a value that float32 rounds to 0 or to infinity would silently change what is computed.
"""

import dataclasses
import math
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
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
    traced: bool  # an input of the compiled program


def setting(
    default: Any,
    comment: str,
    *,
    choices: Collection[str] = (),
    traced: bool = False,
    **bounds: float,
) -> Any:
    """A field of a `Settings` dataclass.

    Args:
      default: the default value; its type is the type of the setting.
      comment: what the setting means, for a reader of `--help`.
      choices: the names that are valid.
      traced: of a float of a rule: another value does not compile the program again.
      **bounds: `low` <= value <= `high`, `above` < value < `below`.

    Raises:
      TypeError: the default is of another type, or a traced setting is not a float.

    >>> import dataclasses
    >>> import plasticity as P
    >>> @dataclasses.dataclass(frozen=True)
    ... class DelaySettings(P.Settings):
    ...     section = "task"
    ...     delay: int = P.setting(20, "blanks before the delimiter", low=0)
    >>> DelaySettings(delay=-1)
    Traceback (most recent call last):
    ValueError: task.delay=-1 must be at least 0
    """
    if type(default) not in KINDS:
        raise TypeError(f"a setting must be a bool, int, float or str, not {shown(default)}")
    if traced and type(default) is not float:
        raise TypeError(f"a traced setting must be a number such as 1.0, not {shown(default)}")
    for bound in bounds:
        lookup(BOUNDS, bound, "bound of a setting")
    if type(default) is int:
        bounds = {"high": LARGEST_INT} | bounds
    about = About(comment, choices, bounds, traced)
    return dataclasses.field(default=default, metadata={"about": about})


def size(default: int, comment: str, **bounds: float) -> Any:
    """A setting that counts entries of an array: from 1, or `low`, to 2**20.

    Args:
      default: the default value, an integer.
      comment: what the setting means.
      **bounds: as of `setting`.
    """
    limits: dict[str, float] = {"low": 1, "high": LARGEST_SIZE}
    return setting(default, comment, choices=(), traced=False, **limits | bounds)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of all settings: fields made by `setting`, checked when an instance is made.

    Raises:
      ValueError: a value is not valid; the message names SECTION.FIELD, the value and its range.
      TypeError: a field was made without `setting`.
    """

    section: ClassVar[str] = ""  # of the config; messages name a field SECTION.FIELD

    def __post_init__(self) -> None:
        """Raises ValueError for the first value that is not valid."""
        for field in dataclasses.fields(self):
            name, about = dotted(self.section, field.name), field.metadata.get("about")
            if about is None:
                raise TypeError(f"{name} must be made by plasticity.setting, as all fields are")
            value, kind = getattr(self, field.name), type(field.default)
            _check(name, value, kind, about)
            if kind is float and isinstance(value, int):  # JAX takes no integer above 2**31
                object.__setattr__(self, field.name, float(value))
        self.check()

    def check(self) -> None:
        """Raises ValueError if valid values do not go together; `traced` ones may be unknown."""

    @classmethod
    def traced(cls) -> dict[str, float]:
        """{setting: default} of those that are inputs of the compiled program."""
        fields: Iterable[Any] = dataclasses.fields(cls)
        return {field.name: field.default for field in fields if field.metadata["about"].traced}

    @classmethod
    def pick(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the fields that are settings of this class."""
        return {f.name: fields[f.name] for f in dataclasses.fields(cls) if f.name in fields}

    @classmethod
    def describe(cls) -> Iterator[tuple[str, str]]:
        """Yields (SECTION.FIELD, meaning and range) of every setting."""
        for field in dataclasses.fields(cls):
            about: About = field.metadata["about"]
            kind = KINDS[type(field.default)][0]
            limits = (
                [" | ".join(about.choices)] if about.choices else [kind, *_limits(about.bounds)]
            )
            yield dotted(cls.section, field.name), f"{about.comment} ({', '.join(limits)})"


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
        raise ValueError(f"{name}={shown(value)} must be {wanted}{literal(value, kind)}")
    if kind not in (int, float) or isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
        return
    is_array = isinstance(value, jax.Array)
    numbers: list[Any] = np.asarray(value).ravel().tolist() if is_array else [value]
    for number in numbers:
        if problem := _problem(number, kind, about.bounds):
            raise ValueError(f"{name}={shown(number)} {problem}")


def _problem(number: float, kind: type, bounds: dict[str, float]) -> str:
    """What is wrong with a number, or ""."""
    broken = {key: limit for key, limit in bounds.items() if not BOUNDS[key][1](number, limit)}
    # Integers are compared, not converted: float(10**400) raises OverflowError.
    if kind is float and not abs(number) < math.inf:
        return f"must be {' and '.join(['finite', *_limits(bounds)])}"
    if kind is float and abs(number) > float(FLOAT32.max):
        return f"is infinite in float32: must be at most {FLOAT32.max:.1e}"
    if kind is float and 0 < abs(number) < float(FLOAT32.tiny):
        return f"is 0 in float32, whose smallest number is {FLOAT32.tiny:.1e}"
    if broken:
        limits = _limits(broken, every=True) if COMMON & {*broken.values()} else _limits(bounds)
        return f"must be {' and '.join(limits)}"
    return ""


def _limits(bounds: dict[str, float], every: bool = False) -> list[str]:
    """The bounds in words, the lower one first; those of all integers only if `every`."""
    return [
        f"{word} {bounds[key]}"
        for key, (word, _) in BOUNDS.items()
        if key in bounds and (every or bounds[key] not in COMMON)
    ]


def literal(value: Any, kind: type) -> str:
    """ ": 64" if a value that is not of type `kind` means 64, as 64.0 and '64' do; or ""."""
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
        return f": {kind(number)!r}" if kind(number) == number else ""
    except (ValueError, OverflowError):
        return ""

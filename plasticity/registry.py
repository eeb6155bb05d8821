"""Look-up by name, with an error that helps; names of records in exported programs."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jax import export

T = TypeVar("T")


def shown(value: Any) -> str:
    """The value in one line of at most 80 characters."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python prints no integer of more than 4300 digits
        return "(an integer of more than 4300 digits)"
    return text if len(text) <= 80 else f"{text[:77]}..."


def meant(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The hint "did you mean 'x'?", with the nearest of the names, or "" if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {close[0]!r}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Says which names are valid, the nearest first: "did you mean 'x'? valid: x, y"."""
    known = sorted(known)
    return f"{meant(name, known, 0.4)} valid: {', '.join(known)}".lstrip()


def lookup(registry: Mapping[str, T], name: str, field: str) -> T:
    """The entry called `name`.

    Raises:
      ValueError: no such entry; the message names `field`, the value and the nearest valid name.
    """
    if not isinstance(name, str) or name not in registry:
        text = name if isinstance(name, str) else shown(name)
        raise ValueError(f"{field}={shown(name)} is unknown: {nearest(text, registry)}")
    return registry[name]


def exportable(*records: type, module: str | None = None) -> None:
    """Names NamedTuples for `jax.export`, so that exported programs may take and return them.

    Args:
      records: the types.
      module: where they were first defined, which stored programs name; None: where they are.
    """
    for record in records:
        name = f"{module or record.__module__}.{record.__qualname__}"
        export.register_namedtuple_serialization(record, serialized_name=name)

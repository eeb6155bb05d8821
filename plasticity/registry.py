"""Look-up by name, with an error that helps."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Says which names are valid, the nearest first: "did you mean 'x'? valid: x, y"."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(known)}"


def lookup(registry: Mapping[str, T], name: str, field: str) -> T:
    """The entry called `name`.

    Raises:
      ValueError: no such entry; the message names `field`, the value and the nearest valid name.
    """
    if not isinstance(name, str) or name not in registry:
        raise ValueError(f"{field}={name!r} is unknown: {nearest(name, registry)}")
    return registry[name]


def check_choice(value: str, choices: Iterable[str], field: str) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    lookup(dict.fromkeys(choices), value, field)

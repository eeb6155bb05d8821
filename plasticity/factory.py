"""What an entry of a registry such as `RULES` is: settings, and what is made from them."""

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from plasticity.registry import nearest
from plasticity.settings import Settings

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Factory(Generic[T]):
    """A rule, task, backbone or optimizer, made from the fields of its settings: hebbian(eta0=1.0).

    Attributes:
      settings: the dataclass of the fields.
      make: (settings, ...) -> what is made.
      source: the file or module that registered it; empty: it is part of the library.
    """

    settings: type[Settings]
    make: Callable[..., T]
    source: str = ""

    def __post_init__(self) -> None:
        """Makes `help` show the text of its module, which has the equations, and its settings."""
        module = sys.modules.get(getattr(self.make, "__module__", ""))
        text = getattr(module, "__doc__", None) or ""
        object.__setattr__(self, "__doc__", f"{text.rstrip()}\n\n{_listed(self.settings)}\n")

    def __call__(self, *parts: Any, **fields: Any) -> T:
        """What is made of the settings, and of `parts`, the further arguments of `make`.

        Raises:
          ValueError: a setting is not valid; the message names SECTION.FIELD.
          TypeError: there is no such setting, or one is given without its name.

        >>> import plasticity as P
        >>> P.hebbian(eta0=-1.0)
        Traceback (most recent call last):
        ValueError: rule.eta0=-1.0 must be at least 0
        """
        known = [field.name for field in dataclasses.fields(self.settings)]
        if unknown := sorted(fields.keys() - set(known)):
            section = self.settings.section
            raise TypeError(f"{section}.{unknown[0]} is no setting: {nearest(unknown[0], known)}")
        if parts:
            self._check_parts(parts, known)
        return self.make(self.settings(**fields), *parts)

    def _check_parts(self, parts: tuple[Any, ...], known: list[str]) -> None:
        """Raises TypeError if `make` takes no such arguments: likely it is a setting."""
        try:
            inspect.signature(self.make).bind(None, *parts)
        except TypeError as error:
            raise TypeError(
                f"{self.settings.section} takes its settings by name, such as {known[0]}=...: "
                f"{', '.join(map(repr, parts))} is given without one"
            ) from error

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the settings, for `help` and `inspect`."""
        of_settings = inspect.signature(self.settings)
        by_name = [p.replace(kind=p.KEYWORD_ONLY) for p in of_settings.parameters.values()]
        return of_settings.replace(parameters=by_name)


def _listed(settings: Any) -> str:
    """The settings with their defaults and meanings."""
    fields = dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ()
    lines = [
        f"  {field.name}={field.default!r}: {field.metadata['about'].comment}"
        for field in fields
        if "about" in field.metadata
    ]
    return "\n".join(["Settings:", *lines])

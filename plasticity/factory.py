"""What an entry of a registry such as `RULES` is: settings, and what is made from them."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

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

    def __call__(self, *parts: Any, **fields: Any) -> T:
        """What is made of the settings, and of `parts`, the further arguments of `make`.

        Raises:
          ValueError: a setting is not valid; the message names SECTION.FIELD.
          TypeError: there is no such setting.

        >>> import plasticity as P
        >>> P.hebbian(eta0=-1.0)
        Traceback (most recent call last):
        ValueError: rule.eta0=-1.0 must be at least 0
        """
        return self.make(self.settings(**fields), *parts)

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the settings, for `help` and `inspect`."""
        return inspect.signature(self.settings)

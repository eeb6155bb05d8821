"""What an entry of `TASKS` is: settings, and a function from them to the task."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from plasticity.settings import Settings
from plasticity.types import Task


@dataclasses.dataclass(frozen=True)
class TaskFactory:
    """A task, made from the fields of its settings: copying(delay=40).

    settings: the dataclass of the fields. make: settings -> Task.
    """

    settings: type[Settings]
    make: Callable[[Any], Task]

    def __call__(self, **fields: Any) -> Task:
        """The task.

        Raises:
          ValueError: a setting is not valid; the message names task.FIELD.
        """
        return self.make(self.settings(**fields))

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the settings, for `help` and `inspect`."""
        return inspect.signature(self.settings)

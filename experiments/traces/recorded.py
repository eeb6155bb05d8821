"""Golden traces: recorded episodes of published code, as described in tests/golden/README.md."""

import abc
import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from plasticity.experiments.validate import ConfigError
from plasticity.memory import ENGINES
from plasticity.rules import RULES


class Arrays(dict[str, Any]):
    """Arrays by name; a name that is not there is a fault of the file."""

    def __missing__(self, name: str) -> Any:
        raise ConfigError(f"--trace lacks the array {name!r}")


@dataclasses.dataclass(frozen=True)
class GoldenTrace(abc.ABC):
    """One recorded run, and how our code repeats it.

    What a replay starts from is a pytree of arrays, `Parameters` of a network for example.
    """

    arrays: Mapping[str, np.ndarray]
    # Names of what a replay starts from, and of what it must reproduce, begin so.
    given: ClassVar[tuple[str, ...]] = ("param/",)
    results: ClassVar[tuple[str, ...]] = ("trace/", "fast/", "grad/", "loss_")
    numbers: ClassVar[tuple[str, ...]] = ("input",)  # what else has to be numbers
    what: ClassVar[str] = "rule"  # the array that says what was recorded
    known: ClassVar[Collection[str]] = RULES  # what that may be
    engines: ClassVar[tuple[str, ...]] = tuple(ENGINES)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def name(self) -> str:
        """What was recorded: the name of the rule, or of its variant."""
        return str(self[self.what])

    def weights(self) -> Arrays:
        """What a replay starts from, by name."""
        return Arrays(
            {
                n.removeprefix("param/"): a
                for n, a in self.arrays.items()
                if n.startswith(self.given)
            }
        )

    def recorded(self) -> dict[str, np.ndarray]:
        """All that a replay must reproduce."""
        return {name: array for name, array in self.arrays.items() if name.startswith(self.results)}

    @abc.abstractmethod
    def model(self, engine: str, chunk: int) -> Any:
        """What `replay` runs, with the settings of the trace: a network, for example."""

    @abc.abstractmethod
    def parameters(self, dtype: Any) -> Any:
        """The recorded weights as parameters of our model."""

    @abc.abstractmethod
    def names(self, params: Any) -> dict[str, Any]:
        """Parameters, or gradients of them, under the names and in the layout of the trace."""

    @abc.abstractmethod
    def replay(self, model: Any, params: Any) -> tuple[jax.Array, dict[str, Any]]:
        """The loss that was differentiated, and the recorded quantities except gradients."""


def load(path: str, formats: Mapping[str, type[GoldenTrace]]) -> GoldenTrace:
    """Reads a trace.

    Args:
      path: of the .npz file, of any name.
      formats: {name of an array that no other format has: format}.

    Raises:
      ConfigError: the file is missing, damaged, of another format, or holds what is no number.
    """
    arrays = _read(path)
    kind = next((kind for name, kind in formats.items() if name in arrays), None)
    if kind is None:
        raise ConfigError(
            f"--trace={path} is of no known format: it has no array {' or '.join(formats)}"
        )
    trace = kind(arrays)
    if trace.name not in kind.known:
        raise ConfigError(f"--trace: {kind.what}={trace.name!r} is not one of {sorted(kind.known)}")
    prefixes = (*kind.given, *kind.results, *kind.numbers)
    numbers = {n: a for n, a in arrays.items() if n.startswith(prefixes)}
    for name, array in numbers.items():
        if array.dtype.kind not in "biuf" or not array.size or not np.isfinite(array).all():
            raise ConfigError(f"--trace: {name!r} should hold finite numbers, at least one")
    return trace


def _read(path: str) -> Arrays:
    try:
        with open(pathlib.Path(path).expanduser(), "rb") as raw:
            file = np.load(raw, allow_pickle=False)
            arrays = Arrays({name: file[name] for name in file.files})
    except OSError as error:
        raise ConfigError(f"--trace={path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a dozen types, by what is damaged
        raise ConfigError(f"--trace={path} is not a .npz file of arrays, or damaged") from error
    return arrays

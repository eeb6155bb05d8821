"""Golden traces: recorded episodes of published code, as described in tests/golden/README.md."""

import abc
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from plasticity.experiments.validate import ConfigError
from plasticity.network import Network, Parameters
from plasticity.rules import RULES

RESULTS = ("trace/", "fast/", "grad/", "loss_")  # names of what a replay must reproduce begin so


class Arrays(dict[str, Any]):
    """Arrays by name; a name that is not there is a fault of the file."""

    def __missing__(self, name: str) -> Any:
        raise ConfigError(f"--trace lacks the array {name!r}")


@dataclasses.dataclass(frozen=True)
class GoldenTrace(abc.ABC):
    """One recorded run, and how our code repeats it."""

    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return str(self["rule"])

    def weights(self) -> Arrays:
        """The recorded weights, by name."""
        prefix = "param/"
        return Arrays(
            {n.removeprefix(prefix): a for n, a in self.arrays.items() if n.startswith(prefix)}
        )

    def recorded(self) -> dict[str, np.ndarray]:
        """All that a replay must reproduce."""
        return {name: array for name, array in self.arrays.items() if name.startswith(RESULTS)}

    @abc.abstractmethod
    def network(self, engine: str, chunk: int) -> Network:
        """Our network with the settings of the trace."""

    @abc.abstractmethod
    def parameters(self, dtype: Any) -> Parameters:
        """The recorded weights as parameters of our network."""

    @abc.abstractmethod
    def names(self, params: Parameters) -> dict[str, Any]:
        """Parameters, or gradients of them, under the names and in the layout of the trace."""

    @abc.abstractmethod
    def replay(self, network: Network, params: Parameters) -> tuple[jax.Array, dict[str, Any]]:
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
    if trace.rule not in RULES:
        raise ConfigError(f"--trace: rule={trace.rule!r} is not one of {sorted(RULES)}")
    numbers = {n: a for n, a in arrays.items() if n.startswith((*RESULTS, "param/", "input"))}
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

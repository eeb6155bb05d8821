"""Golden traces: recorded episodes of published code, as described in tests/golden/README.md."""

import abc
import dataclasses
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from experiments.validate import ConfigError
from plasticity.network import Network, Parameters
from plasticity.rules import RULES


@dataclasses.dataclass(frozen=True)
class GoldenTrace(abc.ABC):
    """One recorded run, and how our code repeats it."""

    arrays: Mapping[str, np.ndarray]
    required: ClassVar[tuple[str, ...]]  # names without which it is no such trace

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return str(self["rule"])

    def named(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays below `prefix/`, by the rest of their name."""
        return {
            name.removeprefix(f"{prefix}/"): array
            for name, array in self.arrays.items()
            if name.startswith(f"{prefix}/")
        }

    def recorded(self) -> dict[str, np.ndarray]:
        """All that a replay must reproduce."""
        results = ("trace/", "fast/", "grad/", "loss_")
        return {name: array for name, array in self.arrays.items() if name.startswith(results)}

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
        """The loss that was differentiated, and the recorded quantities but for gradients."""


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file.

    Raises:
      ConfigError: the file is missing or damaged.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"--trace={path} cannot be read as a .npz file: {error}") from error


def load(path: str, formats: Mapping[str, type[GoldenTrace]]) -> GoldenTrace:
    """Reads a trace in one of some formats.

    Raises:
      ConfigError: the file is missing, damaged, or of another format.
    """
    arrays = read_arrays(path)
    absent = {}
    for name, kind in formats.items():
        missing = [field for field in kind.required if field not in arrays]
        if not missing:
            trace = kind(arrays)
            if trace.rule not in RULES:
                raise ConfigError(f"--trace: rule={trace.rule!r} is not one of {sorted(RULES)}")
            return trace
        absent[name] = f"not of {name}, where {', '.join(missing)} would be"
    raise ConfigError(
        f"--trace={pathlib.Path(path).name} is of no known format: {'; '.join(absent.values())}"
    )

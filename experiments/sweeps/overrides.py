"""Values of a field, as --sweep_over gives them."""

from typing import Any

from ml_collections import ConfigDict

from experiments.validate import ConfigError
from plasticity.registry import lookup


def values_of(given: str, config: ConfigDict) -> tuple[str, list[Any]]:
    """The field and the values of a --sweep_over.

    Raises:
      ConfigError: it is not of the form config.FIELD=VALUES, or names no field of the config.
    """
    name, equals, told = given.partition("=")
    field = name.removeprefix("config.")
    if not equals or not told or field == name:
        raise ConfigError(f"--sweep_over={given} must be config.FIELD=VALUE,VALUE or =FIRST:END")
    default: Any = config
    for part in field.split("."):
        if not isinstance(default, ConfigDict) or part not in default:
            raise ConfigError(f"--sweep_over={given}: {field!r} is not a setting of this config")
        default = default[part]
    first, colon, end = told.partition(":")
    if colon:
        return field, list(range(int(first), int(end)))
    return field, [_parsed(value, default, given) for value in told.split(",")]


def _parsed(text: str, default: Any, given: str) -> Any:
    """A value, of the type of its default."""
    if isinstance(default, bool):
        return lookup({"True": True, "False": False}, text, f"--sweep_over={given}: value")
    try:
        return type(default)(text)
    except ValueError as error:
        kind = type(default).__name__
        raise ConfigError(f"--sweep_over={given}: {text!r} must be of type {kind}") from error

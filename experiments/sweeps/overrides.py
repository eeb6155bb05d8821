"""The values of a field, from the text of a --sweep_over flag."""

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from experiments.configfile import parse_value, section_of
from experiments.validate import ConfigError

FORMS = "config.FIELD=VALUE,VALUE,... or config.FIELD=FIRST:END[:STEP], integers"
COMMA_LISTS = ("model.plastic",)  # fields whose values contain commas themselves
MOST_VALUES = 10_000


def values_of(given: str, config: ConfigDict) -> tuple[str, list[Any]]:
    """The field and the values of a --sweep_over.

    Commas separate values, or semicolons if there is one, for values with commas in them:
    `config.model.plastic=feed_forward;attention,head` has two. FIRST:END:STEP are the integers of
    `range`: `config.seed=0:10:5` has the values 0 and 5.

    Raises:
      ConfigError: the text has another form, the config has no such field, or a value does not fit
        its type.
    """
    name, equals, text = given.partition("=")
    field = name.removeprefix("config.")
    if not equals or field == name:
        raise ConfigError(f"--sweep_over={given} must be {FORMS}")
    try:
        kind = section_of(config, field).get_type(field.rpartition(".")[2])
        return field, [value for part in _split(field, text) for value in _read(field, part, kind)]
    except ConfigError as error:
        raise ConfigError(f"--sweep_over={given}: {error}") from error


def _split(field: str, text: str) -> list[str]:
    if field in COMMA_LISTS and "," in text and ";" not in text:
        raise ConfigError(
            f"{field} takes a list with commas, so semicolons separate its values: "
            f"'--sweep_over=config.{field}=A;B,C', in quotes, has the values A and B,C"
        )
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    if not all(parts):
        raise ConfigError("a value is empty; only a sweep function can set an empty string")
    return parts


def _read(field: str, text: str, kind: type) -> Iterable[Any]:
    """The value of a text, or the integers of FIRST:END[:STEP]."""
    if ":" not in text or kind not in (int, float):
        return [parse_value(field, text, kind)]
    try:
        values = range(*map(int, text.split(":")))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{text!r} must be FIRST:END or FIRST:END:STEP in integers, STEP not 0, such as 0:5 or "
            "0:10:2. Other numbers are listed, such as .001,.003,.01"
        ) from error
    if not values:
        raise ConfigError(f"{text!r} is empty: END is not included, so that 0:5 ends with 4")
    if values[MOST_VALUES:]:
        raise ConfigError(f"{text!r} has more than {MOST_VALUES} values")
    return values

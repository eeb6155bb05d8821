"""Settings of rules, memory layers and attention that a network does not read."""

from collections.abc import Iterable, Iterator

from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.types import KEEP, RATE

# Mixers without attention inside, and those whose attention is not cut into segments.
WITHOUT = {"persistent": ("memory",), "segment": ("memory", "gate", "layer")}
# Without attention, or with attention within a segment, which has neither window nor rotation.
UNPLACED = ("memory", "context")
# {setting of a rule: (another one, the value with which it is not read)}
UNREAD = {
    "hidden": ("memory", "linear"),
    "sharpness": ("smooth", False),
    "smoothing": ("smooth", False),
}


def notes(config: ConfigDict, given: Iterable[str]) -> Iterator[str]:
    """A sentence for each of the fields `given` that has no effect.

    They are no errors: a sweep gives its settings to all of its points.
    """
    mixer = config.model.get("mixer", "attention")
    memory = build.make_memory(config)
    for field in given:
        section, _, name = field.partition(".")
        if mixer in UNPLACED and _places(field, config):
            yield f"note: {field}={config.model[name]!r} has no effect with model.mixer={mixer!r}"
        if section == "rule" and name in UNREAD:
            other, idle = UNREAD[name]
            if config.rule.get(other, not idle) == idle:
                value = f"{field}={config.rule[name]!r}"
                yield f"note: {value} has no effect with rule.{other}={idle!r}"
        if section != "site":
            continue
        value = f"note: {field}={config.site[name]!r} has no effect"
        if memory is None:
            yield f"{value}: there is no memory layer (model.mixer={mixer!r})"
            continue
        takes, rule = memory.site.takes, config.site.rule or config.rule.name
        names = [gate.name for gate in ((RATE, KEEP) if takes is None else takes)]
        gate = "rate" if name == "rate_limit" else name
        if mixer in WITHOUT.get(name, ()):
            yield f"{value} with model.mixer={mixer!r}"
        elif gate in ("rate", "keep", "momentum") and gate not in names:
            yield f"{value}: the rule {rule!r} has no {gate}"
        elif name in ("value_feature", "value_norm") and "value" in memory.site.ignores:
            yield f"{value}: the rule {rule!r} reads no value"
        elif name == "rate_limit" and config.site.rate == "one":
            yield f"{value}: site.rate='one' fixes the rate"


def _places(field: str, config: ConfigDict) -> bool:
    """Whether a field tells attention where steps are."""
    rotary = field == "model.position" and config.model.position == "rotary"
    return rotary or field == "model.attention_window"

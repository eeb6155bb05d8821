"""Settings that have no effect on a run."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence

from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.outer.task_stream import METHODS
from plasticity.rules import RULES
from plasticity.rules.settings import PlasticSettings
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
# Of the outer loop: {field: (another one, the value with which it is not read)}
IDLE = {
    "optimizer.refresh_noise": ("optimizer.refresh", 0),
    "optimizer.refresh_along": ("optimizer.refresh", 0),
}
# {field: what a method of `stream.method` must be for it}
OF_METHODS = {
    "stream.share": "replays",
    "stream.strength": "protects",
    "stream.fisher_episodes": "protects",
    "stream.decay": "online",
}


def notes(config: ConfigDict, given: Iterable[str]) -> Iterator[str]:
    """A sentence for each of the fields `given` that has no effect.

    They are no errors: a sweep gives its settings to all of its points.
    """
    mixer = config.model.get("mixer", "attention")
    memory = build.make_memory(config)
    for field in given:
        section, _, name = field.partition(".")
        if why := _idle(field, config):
            yield f"note: {field}={config[section][name]!r} has no effect: {why}"
        if mixer in UNPLACED and _places(field, config):
            yield f"note: {field}={config.model[name]!r} has no effect with model.mixer={mixer!r}"
        if section == "rule" and name in _of_layers(config):
            value = f"{field}={config.rule[name]!r}"
            yield f"note: {value} has no effect: there is no plastic layer (model.plastic='none')"
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


def notes_of_all(points: Sequence[tuple[ConfigDict, Collection[str]]]) -> Iterator[str]:
    """A note on each field that has no effect in any of the points that set it.

    Args:
      points: config, and the fields by which it differs from others.
    """
    for field in dict.fromkeys(field for _, fields in points for field in fields):
        found = [[*notes(config, [field])] for config, fields in points if field in fields]
        if all(found):
            yield found[0][0]


def _of_layers(config: ConfigDict) -> list[str]:
    """The settings of the rule that only plastic layers read, if none is written."""
    settings = RULES[config.rule.name].settings
    idle = issubclass(settings, PlasticSettings) and not build.writes_layers(config)
    return [field.name for field in dataclasses.fields(settings)] if idle else []


def _idle(field: str, config: ConfigDict) -> str:
    """Why a field of the outer loop has no effect, or ""."""
    if field in IDLE:
        other, idle = IDLE[field]
        section, _, name = other.partition(".")
        return f"{other} is {idle}" if config[section][name] == idle else ""
    if field in OF_METHODS and not getattr(METHODS[config.stream.method], OF_METHODS[field]):
        return f"stream.method={config.stream.method!r} does not read it"
    if field == "train.eta0_warmup" and "eta0" not in config.rule:
        return f"the rule {config.rule.name!r} has no eta0"
    return ""


def _places(field: str, config: ConfigDict) -> bool:
    """Whether a field tells attention where steps are."""
    rotary = field == "model.position" and config.model.position == "rotary"
    return rotary or field == "model.attention_window"

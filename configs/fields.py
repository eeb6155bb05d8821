"""Fields of a config that only some rules, models or tasks have."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import config_dict

from plasticity.configs import base

CHOSEN = ("rule.name", "optimizer.name")  # fields that exchange the fields of their section


class Former(NamedTuple):
    """What a field of an earlier version is today.

    now: its name. values: (value then, value now) where they differ.
    """

    now: str
    values: tuple[tuple[Any, Any], ...] = ()


FORMER = {
    "model.products": Former("model.matmul_precision"),
    "log.tensorboard": Former("log.trackers", ((False, ""), (True, "tensorboard"))),
}


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a config that an earlier version wrote, with the fields of today."""
    found = dict(config)
    for field, former in FORMER.items():
        section, _, name = field.partition(".")
        if name in found.get(section, {}):
            own = dict(found[section])
            value = own.pop(name)
            now = next((today for then, today in former.values if then == value), value)
            found[section] = own | {former.now.removeprefix(f"{section}."): now}
    return found


def _owners(field: str) -> list[str]:
    section, _, name = field.rpartition(".")
    kinds = base.alternatives().get(section, {})
    return [one for one, settings in kinds.items() if settings.pick({name: None})]


def where(field: str) -> str:
    """Says what a dotted field is today, or under which names of its section it is; "": neither."""
    if former := FORMER.get(field):
        return f"now {former.now}" + "".join(f"={value}" for _, value in former.values[-1:])
    section, names = field.rpartition(".")[0], " or ".join(map(repr, _owners(field)))
    return f"a setting of {section}.name={names}, {base.CHOICE[section]}" if names else ""


def foreign(field: str, rule: str) -> bool:
    """Whether a dotted field is a setting of other rules, which this rule lacks."""
    names = _owners(field) if field.startswith("rule.") else []
    return bool(names) and rule in base.alternatives()["rule"] and rule not in names


def set_fields(config: config_dict.ConfigDict, fields: Mapping[str, Any]) -> None:
    """Sets {dotted field: value}, without the settings that only other rules have."""
    rule = config.rule.name
    config.update_from_flattened_dict({f: v for f, v in fields.items() if not foreign(f, rule)})


def choose_rule(config: config_dict.ConfigDict, rule: str) -> None:
    """`choose` of a rule."""
    choose(config, "rule", rule)


def choose(config: config_dict.ConfigDict, kind: str, name: str) -> None:
    """Exchanges the "rule" or "optimizer": settings that were changed stay, others are defaults.

    Raises:
      ValueError: there is none of that name.
    """
    fields, section = base.defaults(base.sections({kind: name})[kind]), config[kind]
    before = base.defaults(base.sections({kind: section.name})[kind])
    with section.unlocked():
        for field, default in before.items():
            if field not in fields or section[field] == default:
                del section[field]
        section.update({f: default for f, default in fields.items() if f not in section})
        section.name = name

"""Rules without a network around them: a memory that is given keys, values and gates.

An entry of --rules is RULE[/NAME=VALUE...]: a rule of the registry, with settings of its own and
with numbers for its gates. The default of each gate is the value at which the rule does nothing
but write, so rules that differ from the delta rule by a gate only are then equal to it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.associate import associate, initial_state
from plasticity.experiments.configfile import parse_value
from plasticity.experiments.validate import ConfigError
from plasticity.features import unit
from plasticity.heads import axes
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.registry import lookup
from plasticity.rules import RULES
from plasticity.rules.site_rules import SiteSettings
from plasticity.settings import Settings, setting
from plasticity.site_steps import site_answer, site_of
from plasticity.types import Array, LayerShape, Rule, Site, Token


@dataclasses.dataclass(frozen=True)
class Numbers(Settings):
    """What the gates of a rule are made of, the same at every token."""

    rate: float = setting(1.0, "how much of a write is added", low=0)
    keep: float = setting(1.0, "what a step leaves of the memory", low=0, high=1)
    momentum: float = setting(0.0, "what a step leaves of the last write", low=0, below=1)
    ridge: float = setting(0.01, "the ridge of a regression", above=0)
    threshold: float = setting(1.0, "the size from which an error counts as large", above=0)


# {name of a gate: (key [I], numbers) -> the gate of this token}. At a keep of 1, `removal` and `a`
# remove what the key reads at the rate at which the value is written.
GATES: dict[str, Callable[[Array, Numbers], Any]] = {
    "rate": lambda key, numbers: numbers.rate,
    "keep": lambda key, numbers: numbers.keep,
    "momentum": lambda key, numbers: numbers.momentum,
    "threshold": lambda key, numbers: numbers.threshold,
    "ridge": lambda key, numbers: jnp.full(len(key), numbers.ridge),
    "error_key": lambda key, numbers: key,
    "removal": lambda key, numbers: unit(key),
    "a": lambda key, numbers: jnp.full(len(key), numbers.rate) * (key**2).sum(),
}


class Untrained(NamedTuple):
    """A rule at a memory site, and the numbers of its gates."""

    entry: str  # of --rules
    name: str
    settings: dict[str, Any]
    numbers: Numbers
    rule: Rule

    @property
    def used(self) -> dict[str, float]:
        """The numbers that the rule reads, by name."""
        names = ("rate", *_takes(site_of(self.rule)))
        return {n: a for n, a in dataclasses.asdict(self.numbers).items() if n in names}

    def tokens(self, keys: Array, values: Array) -> Token:
        """The tokens that write values [T, O] for keys [T, I], and ask for them."""
        given = jax.vmap(self._given)(keys, values)
        fields = {name: given.pop(name) for name in Token._fields if name in given}
        return Token(keys, **fields, gates=given)

    def _given(self, key: Array, value: Array) -> dict[str, Array]:
        """What one token is given beside its query: fields and gates, by name."""
        site, form = site_of(self.rule), self.rule.form
        given = {n: jnp.asarray(GATES[n](key, self.numbers), key.dtype) for n in _takes(site)}
        if "rate" not in given:  # such a rule is told the rate by the size of its key
            key = self.numbers.rate * key
        elif form.keep in ("output", "synapse"):
            given["rate"] = jnp.full_like(value, self.numbers.rate)
        given |= {"key": key, "value": value}
        if site.writes > 1:  # all writes of a token are of the same pair
            again = {n: given[n] for n in ("key", "value", "rate")}
            given |= {n: jnp.stack([a] * site.writes) for n, a in again.items()}
        return given

    def empty(self, keys: Array, values: Array) -> TraceMatrix:
        """The memory before anything is written."""
        return initial_state(self.rule, self.tokens(keys, values))

    def written(
        self,
        keys: Array,
        values: Array,
        state: TraceMatrix | None = None,
        valid: Array | None = None,
    ) -> TraceMatrix:
        """A memory after it was written at keys [T, I] with values [T, O].

        Args:
          keys, values: of the tokens.
          state: before; None: an empty memory.
          valid: [T] bool, which tokens are written; None: all.
        """
        return associate(self.rule, self.tokens(keys, values), state, valid=valid)[1]

    def asked(self, state: TraceMatrix, keys: Array, outputs: int) -> Array:
        """The answers [Q, O] to keys [Q, I]. Nothing is written or forgotten."""
        memory = dense(form=self.rule.form)
        fast = memory.open(state, LayerShape(*state.weight.shape), 1)
        tokens = self.tokens(keys, jnp.zeros((len(keys), outputs), keys.dtype))
        answer = functools.partial(site_answer, self.rule, memory, fast)
        return jax.vmap(answer, (axes(tokens),))(tokens)


def untrained(entry: str, **defaults: float) -> Untrained:
    """The rule of an entry of --rules.

    Args:
      entry: RULE[/NAME=VALUE...].
      **defaults: of numbers that the entry does not name.

    Raises:
      ConfigError: the entry is wrong, or such a rule cannot be probed so.
    """
    flag = f"--rules={entry}"
    name, *options = entry.split("/")
    try:
        factory = lookup(RULES, name, f"{flag}: rule")
        takes = _takes(_checked(factory(), name))
        # Settings of a rule that has a feed-forward site say nothing about its memory site.
        has_own = issubclass(factory.settings, SiteSettings)
        fields = dataclasses.fields(factory.settings) if has_own else ()
        own = {field.name: type(field.default) for field in fields}
        numbers = {f.name: float for f in dataclasses.fields(Numbers) if f.name in takes}
        given = _given(options, own | numbers | {"rate": float})
        settings = {n: value for n, value in given.items() if n in own}
        rule = factory(**settings)
        _checked(rule, entry)
        chosen = {n: value for n, value in given.items() if n not in own}
        return Untrained(entry, name, settings, Numbers(**defaults | chosen), rule)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from error


def _given(options: Sequence[str], known: Mapping[str, type]) -> dict[str, Any]:
    """{name: value} of NAME=VALUE; ValueError: the rule has no such setting or number."""
    found = {}
    for option in options:
        name, _, text = option.partition("=")
        kind = lookup(known, name, "setting or gate")
        found[name] = parse_value(name, text, kind)
    return found


def _takes(site: Site) -> tuple[str, ...]:
    """The names of what a rule reads of a token beside query, key and value."""
    return ("rate", "keep") if site.takes is None else tuple(gate.name for gate in site.takes)


def _checked(rule: Rule, name: str) -> Site:
    """The site of a rule; ValueError: its memory cannot be probed."""
    site = rule.site
    if site is None or rule.static:
        raise ValueError(f"{name} {'has no memory site' if site is None else 'never writes'}")
    if "value" in site.ignores:
        raise ValueError(f"{name} reads no values, so it cannot learn what belongs to a key")
    if not site.empty:
        raise ValueError(f"{name} has no empty memory, and here a memory starts empty")
    for gate in _takes(site):
        if gate not in GATES:
            raise ValueError(f"{name} reads the gate {gate!r}, which has no value here")
    return site

r"""Which effects of classical conditioning a memory rule shows. Nothing is trained.

python -m experiments.conditioning --out=FILE.json [--rules=delta,hebb,titans/momentum=.5] \
    [--rate=.4 | --seed=0]

An entry of --rules is RULE[/NAME=VALUE...]: settings of the rule, and numbers of its gates (rate,
keep, momentum, ridge, threshold), the same at every trial. Gates that are not named have the value
at which the rule does nothing but write: keep 1, momentum 0. Designs, effects and their measures
are in experiments/probing/designs.py. An effect is shown if its measure exceeds .1:

  acquisition             1 - |1 - V|: how near V comes to the reinforcement, 1
  extinction, blocking, overshadowing, overexpectation
                          the share of V that is missing beside the control design
  conditioned inhibition  by how much V is below that of a cue which was never given

The file holds, for each rule, the verdicts with these numbers, and V of every cue before the first
trial and after each. `delta` is the model of Rescorla and Wagner.
With --seed, the rate (.2 to .6) and the saliences are drawn.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import jax
from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.probing.designs import (
    CUES,
    DESIGNS,
    EFFECTS,
    MARGIN,
    Design,
    Shown,
    courses,
    drawn,
    verdict,
)
from plasticity.experiments.probing.untrained import Untrained, untrained
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import write_text
from plasticity.experiments.validate import ConfigError

DEFAULT = (
    "hebb", "hebb/keep=.98", "hebb/normalised=true", "delta", "gated_delta/keep=.98",
    "delta_product", "oja_gated", "longhorn", "longhorn/form=exact", "mesa", "titans/momentum=.5",
)  # fmt: skip
RULE_NAMES = flags.DEFINE_list("rules", list(DEFAULT), "RULE[/NAME=VALUE...], see above")
RATE = flags.DEFINE_float("rate", 0.4, "of rules whose entry names none", lower_bound=0)
SEED = flags.DEFINE_integer("seed", None, "draws the rate and saliences", 0, 2**31 - 1)
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")
DIGITS = 9  # of V in the file


def probed(learner: Untrained, designs: Mapping[str, Design]) -> dict[str, Any]:
    """The record of one rule."""
    found = courses(learner, designs)
    shown = {name: verdict(effect, found) for name, effect in EFFECTS.items()}
    print(line(learner.entry, shown), flush=True)
    return {
        "gates": learner.used,
        "effects": {name: said(one) for name, one in shown.items()},
        "V": {design: V.round(DIGITS).tolist() for design, V in found.items()},
    }


def said(shown: Shown) -> dict[str, Any]:
    """A verdict as a record; null: there is no such number."""
    numbers = {n: a if math.isfinite(a) else None for n, a in shown._asdict().items()}
    return numbers | {"shows": shown.shows}


def line(entry: str, shown: dict[str, Shown]) -> str:
    """The verdicts of a rule as a line of text."""
    parts = [f"{n} {'yes' if v.shows else 'no'} ({v.measure:.2f})" for n, v in shown.items()]
    return f"{entry:24} {', '.join(parts)}"


def main() -> int:
    """Probes every rule, prints the verdicts and writes the file."""
    if not RULE_NAMES.value:
        raise ConfigError(f"--rules is empty: name some, such as {','.join(DEFAULT)}")
    if RATE.present and SEED.present:
        raise ConfigError(f"--rate={RATE.value} and --seed={SEED.value}: give one, a seed draws it")
    rate, designs = (RATE.value, DESIGNS) if SEED.value is None else drawn(SEED.value)
    learners = [untrained(entry, rate=rate) for entry in RULE_NAMES.value]
    path = cli.new_path("out", OUT.value)
    jax.config.update("jax_enable_x64", True)
    content = {
        "launch": describe_launch(),
        "cues": list(CUES),
        "margin": MARGIN,
        "effects": {name: effect.about for name, effect in EFFECTS.items()},
        "designs": {
            name: {"phases": design.phases, "salience": design.saliences.tolist()}
            for name, design in designs.items()
        },
        "rules": {learner.entry: probed(learner, designs) for learner in learners},
    }
    # Without the line per number that indented JSON has: there are tens of thousands.
    write_text(path, json.dumps(content) + "\n")
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    cli.run(main)

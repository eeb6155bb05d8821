r"""How well a memory rule keeps N items of d dimensions that are written. No training.

python -m experiments.interference --out=FILE.json [--rules=hebb,delta,mesa] [--dims=32] \
    [--items=8,16,32,64] [--keys=random|correlated|sparse|positive] [--common=.5] [--winners=4] \
    [--rewritten] [--outliers=.1] [--draws=200]

Keys and values have unit length; values are random. Keys are random, or share a common component
that is --common of their squared length, or have --winners equal entries and zeros, or the sizes of
random entries. Every item is written once; with --rewritten twice, the second time with a new
value; --outliers is the share of items whose value is ten times as long. After the last write every
key is asked for, but those of outliers:

  mse       |M k - v|^2, where M k is the answer
  accuracy  whether the value nearest to the answer, of all that were written, is the right one

Both are means over draws, with standard errors, of all items and by age (the oldest item first).
`expected` is the exact expectation of `mse`, where there is a formula: `hebb`, and `delta` at a
rate of 1 with random keys (experiments/probing/crosstalk.py); `least_squares` that of the best
linear map. Of sparse keys, `false_match` is the probability that two of them have at least
0, 1, 2, ... entries in common. All rules are given the same draws. Entries of --rules: see
`python -m experiments.conditioning --help`; the default of all rates is 1.

This program trains nothing. `experiments.capacity` trains the map from inputs to keys.
"""

from typing import Any

import jax
from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.probing.crosstalk import (
    KEYS,
    Spread,
    false_match,
    least_squares_error,
)
from plasticity.experiments.probing.recall_errors import Drawn, Sizes, record, simulation
from plasticity.experiments.probing.untrained import untrained
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import write_json
from plasticity.experiments.validate import ConfigError

DEFAULT = (
    "hebb", "hebb/keep=.98", "delta", "gated_delta/keep=.98", "oja_gated", "longhorn",
    "longhorn/form=exact", "mesa", "titans/rate=.5/momentum=.5",
)  # fmt: skip
RULE_NAMES = flags.DEFINE_list("rules", list(DEFAULT), "RULE[/NAME=VALUE...], see above")
DIMS = flags.DEFINE_list("dims", ["32"], "d, of keys and values")
ITEMS = flags.DEFINE_list("items", ["8", "16", "32", "64"], "N")
KIND = flags.DEFINE_enum("keys", "random", list(KEYS), "how keys are drawn")
COMMON = flags.DEFINE_float("common", 0.5, "of correlated keys, see above", 0, 1)
WINNERS = flags.DEFINE_integer("winners", 4, "of sparse keys, see above", 1)
REWRITTEN = flags.DEFINE_bool("rewritten", False, "every key is written twice, see above")
OUTLIERS = flags.DEFINE_float("outliers", 0.0, "the share of outliers, see above", 0, 0.5)
DRAWS = flags.DEFINE_integer("draws", 200, "how often all is drawn", 2, 1_000_000)
SEED = flags.DEFINE_integer("seed", 0, "of the draws", 0, 2**31 - 1)
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")
LEAST, LARGEST = {"dims": 2, "items": 1}, 4096


def sizes_of(flag: flags.FlagHolder) -> list[int]:
    """The numbers of --dims or --items.

    Raises:
      ConfigError: there is none, or one is no size.
    """
    least = LEAST[flag.name]
    for text in flag.value or [""]:
        if not (text.isdecimal() and len(text) < 9 and least <= int(text) <= LARGEST):
            raise ConfigError(
                f"--{flag.name}={','.join(flag.value)[:80]} must be integers from {least} to "
                f"{LARGEST}, such as 16,32"
            )
    return [int(text) for text in flag.value]


def alone(sizes: Sizes, drawn: Drawn) -> dict[str, Any]:
    """What is known of such items, whatever the rule."""
    found: dict[str, Any] = sizes._asdict()
    found["least_squares"] = least_squares_error(*sizes)
    if drawn.keys == "sparse":
        k = drawn.spread.winners
        found["false_match"] = [false_match(sizes.dim, k, overlap) for overlap in range(k + 1)]
    return found


def line(cell: dict[str, Any]) -> str:
    """A record as a line of text."""
    known = f", expected {cell['expected']:.4g}" if "expected" in cell else ""
    numbers = [
        f"{name} diverged"
        if cell[name] is None
        else f"{name} {cell[name]:.4g} +- {cell[f'{name}_standard_error']:.2g}"
        for name in ("mse", "accuracy")
    ]
    where = f"{cell['rule']:24} d {cell['dim']:3} N {cell['items']:3}"
    return f"{where}: {numbers[0]}{known}, {numbers[1]}"


def main() -> int:
    """Simulates every rule at every size, prints the means, and writes the file after each."""
    if not RULE_NAMES.value:
        raise ConfigError(f"--rules is empty: name some, such as {','.join(DEFAULT)}")
    learners = [untrained(entry) for entry in RULE_NAMES.value]
    dims, counts = sizes_of(DIMS), sizes_of(ITEMS)
    if KIND.value == "sparse" and WINNERS.value > min(dims):
        raise ConfigError(f"--winners={WINNERS.value} must be at most {min(dims)}, as in --dims")
    spread = Spread(COMMON.value, WINNERS.value)
    drawn = Drawn(KIND.value, spread, DRAWS.value, SEED.value, REWRITTEN.value, OUTLIERS.value)
    path = cli.new_path("out", OUT.value)
    jax.config.update("jax_enable_x64", True)
    pairs = [Sizes(items, dim) for dim in dims for items in counts]
    content = {
        "launch": describe_launch(),
        "keys": drawn._replace(spread=spread._asdict())._asdict(),
        "sizes": [alone(sizes, drawn) for sizes in pairs],
        "cells": [],
    }
    for sizes in pairs:
        for learner in learners:
            found = simulation(learner, sizes, drawn)(drawn.seed)
            content["cells"].append(record(learner, sizes, drawn, found))
            print(line(content["cells"][-1]), flush=True)
            write_json(path, content)
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    cli.run(main)

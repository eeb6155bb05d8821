"""Formal languages by nets that learn at several speeds: `experiments.reproduce --preset=nested`.

Trained on short strings, tested on longer ones, three paired seeds, one width. The languages are
those of Irie et al. 2023 (after Bhattamishra et al. 2020), on which Behrouz et al. 2025 (arXiv
2512.24695) compare a Transformer, linear attention, DeltaNet and Hope. Their sizes and training are
not known here, nor whether their rates of DeltaNet are in (0, 1), as here.
"""

from plasticity.configs.algebra import Overrides
from plasticity.configs.memories import SELDOM
from plasticity.configs.memory_tasks import MEMORY
from plasticity.configs.study import Study

NETS: dict[str, Overrides] = {
    "transformer": {"rule.name": "none", "model.plastic": "none"},
    "linear": MEMORY | {"rule.name": "hebb", "site.keep": "one"},
    "delta": MEMORY | {"rule.name": "delta"},
    "hope": MEMORY | {"rule.name": "self_modifying", "model.levels": "4,16"},
}
# What of Hope it takes: its memory alone, and the decay of its step alone, of rates in (0, 2).
PARTS: dict[str, Overrides] = {
    "memory": MEMORY | {"rule.name": "self_modifying"},
    "decay": MEMORY | {"rule.name": "dgd", "site.rate_limit": 2.0, "site.keep": "one"},
}
MODULO, COUNTERS = ("parity", "aa_star", "abab_star"), ("anbn", "anbncn", "shuffle2")
# Parity asks once per string, and has a plateau that grows with the length of the strings. Its test
# has strings of up to twice the length, as in the other languages.
OWN: dict[str, Overrides] = {
    "parity": {"train.steps": 2000, "train.batch": 64, "task.longest": 20}
    | {"task.test_shortest": 21, "task.test_longest": 40},
    "aa_star": {"train.steps": 400},
}
ELSEWHERE: dict[str, list[Overrides]] = {
    "parity": [
        {"task.test_shortest": 4, "task.test_longest": 20},
        {"task.test_shortest": 41, "task.test_longest": 256},
    ]
}
TRAINED: list[Overrides] = [{"task.test_shortest": 4, "task.test_longest": 50}]


def nested() -> dict[str, Study]:
    """A study for each language."""
    fixed = SELDOM | {"train.num_seeds": 3, "train.batch": 32, "train.steps": 800}
    fixed |= {"model.width": 32, "model.feed_forward": 64}
    return {
        name: Study(
            name,
            f"{name}: trained on short strings, tested on longer ones",
            name,
            [*NETS.values(), *(PARTS.values() if name in MODULO else ())],
            fixed | OWN.get(name, {}),
            elsewhere=ELSEWHERE.get(name, TRAINED),
        )
        for name in (*MODULO, *COUNTERS)
    }

"""Methods against forgetting on streams: `experiments.reproduce --preset=streams`.

Five paired seeds everywhere. Every stream with every method, with static weights and with Hebbian
fast weights; optimizers of the outer loop; concept shift, in which labels swap.
"""

from plasticity.configs.algebra import Overrides, chain, over, product
from plasticity.configs.stream import STREAMS
from plasticity.configs.study import Study

# Seed 0 chose the settings below.
FIVE: Overrides = {"seed": 10, "train.num_seeds": 5, "log.every": 100, "checkpoint.every": 1000}
DATASETS = {"alphabets": "omniglot"} | dict.fromkeys(("tens", "superclasses", "swaps"), "cifar_fs")
METHODS = over("stream.method", ["plain", "replay", "ewc", "online_ewc", "joint"])
PLAIN: Overrides = {"stream.method": "plain"}
# Learning rates, EWC's strength and CLASSP's threshold are those that were best in a small grid on
# five tasks of `tens`, see docs/results/streams.md.
SGD: Overrides = {"optimizer.name": "sgd", "train.learning_rate": 0.02}
CLASSP: Overrides = {
    "optimizer.name": "classp",
    "train.learning_rate": 0.02,
    "optimizer.threshold": 1e-4,
}
REFRESH: Overrides = {"optimizer.refresh": 1e-3}
# Of no strength, it only keeps the Fisher information, which divides the refresh.
GUARDED: Overrides = {"stream.method": "online_ewc", "stream.strength": 0.0}
OPTIMIZERS: list[Overrides] = [
    PLAIN | SGD,
    SGD | {"stream.method": "ewc"},
    PLAIN | CLASSP,
    *product([PLAIN | REFRESH], over("optimizer.refresh_along", ["gradient", "random"])),
    GUARDED | REFRESH,
]
SWAPS = (1, 4, 9)  # within the same number of steps


def streams() -> dict[str, Study]:
    """All studies, in the order in which they are run; `--tasks` selects streams."""
    found = {name: _study(name, _points(name)) for name in STREAMS if name != "swaps"}
    shifts = product(
        over("task.tasks", [swaps + 1 for swaps in SWAPS]),
        chain(product([PLAIN], over("rule.name", ["none", "hebbian"])), [PLAIN | SGD]),
    )
    return found | {"swaps": _study("swaps", shifts)}


def _points(stream: str) -> list[Overrides]:
    rules = product(METHODS, over("rule.name", ["none", "hebbian"]))
    if stream == "tens":
        hidden: Overrides = {"stream.method": "replay", "stream.boundaries": "hidden"}
        rules += product([PLAIN], over("rule.name", ["gradient", "delta"]))
        rules += [hidden | {"rule.name": "none"}]
    if stream in ("alphabets", "tens"):
        rules += product(OPTIMIZERS, over("rule.name", ["none"]))
    return rules


def _study(stream: str, points: list[Overrides]) -> Study:
    dataset = DATASETS.get(stream, "")
    return Study(
        stream,
        f"stream {stream}: what is left of earlier tasks",
        f"stream:{stream}/none",
        points,
        FIVE,
        dataset=dataset,
        frozen=bool(dataset),
    )

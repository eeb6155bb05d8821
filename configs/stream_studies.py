"""Methods against forgetting on streams: `experiments.reproduce --preset=streams`.

Five paired seeds everywhere. Every stream with every method, with static weights and with Hebbian
fast weights; optimizers of the outer loop; concept shift, in which labels swap; consolidation of
fast weights into slow ones; repetitions that are massed or spaced; blocks that learn at one to four
speeds.
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
RATES = (0.0, 0.01, 0.1)
SHUFFLED: Overrides = {"consolidation.rate": RATES[-1], "consolidation.what": "shuffled"}
# At the rate of the stream itself, 2e-3, copying is at the floor once another task has followed.
REPEATED: dict[str, Overrides] = {"copying": {"train.learning_rate": 5e-4}, "tens": {}}
# Blocks of a network of four that change once per so many training steps: {levels: periods}. Four
# levels in the other order, too: whether the first or the last blocks should be slow is open.
LEVELS: dict[str, str] = {
    "1": "",
    "2": "block_2:4,block_3:4",
    "3": "block_1:4,block_2:16,block_3:16",
    "4": "block_1:4,block_2:16,block_3:64",
    "4, first slow": "block_0:64,block_1:16,block_2:4",
}
SPACINGS = over("stream.spacing", ["massed", "spaced"])
# Streams on which consolidation and spacing are studied; the first needs no images.
SEVERAL_SPEEDS = ("copying", "tens")


def streams() -> dict[str, Study]:
    """All studies, in the order in which they are run; `--tasks` selects streams."""
    found = {name: _study(name, _points(name)) for name in STREAMS if name != "swaps"}
    shifts = product(
        over("task.tasks", [swaps + 1 for swaps in SWAPS]),
        chain(product([PLAIN], over("rule.name", ["none", "hebbian"])), [PLAIN | SGD]),
    )
    found |= {"swaps": _study("swaps", shifts)}
    for stream in SEVERAL_SPEEDS:
        found |= {
            f"consolidation_{stream}": _consolidation(stream),
            f"spacing_{stream}": _spacing(stream),
            f"levels_{stream}": _levels(stream),
        }
    return found


def _points(stream: str) -> list[Overrides]:
    rules = product(METHODS, over("rule.name", ["none", "hebbian"]))
    if stream == "tens":
        hidden: Overrides = {"stream.method": "replay", "stream.boundaries": "hidden"}
        rules += product([PLAIN], over("rule.name", ["gradient", "delta"]))
        rules += [hidden | {"rule.name": "none"}]
    if stream in ("alphabets", "tens"):
        rules += product(OPTIMIZERS, over("rule.name", ["none"]))
    return rules


def _consolidation(stream: str) -> Study:
    points = chain(over("consolidation.rate", RATES), [SHUFFLED])
    study = _study(stream, product([PLAIN | {"rule.name": "hebbian"}], points))
    return study._replace(
        task="consolidation",
        about=f"stream {stream}: do fast weights that flow into slow ones stay?",
    )


def _spacing(stream: str) -> Study:
    points = product([PLAIN], over("rule.name", ["none", "hebbian"]), SPACINGS)
    study = _study(stream, points)
    return study._replace(
        task="spacing",
        about=f"stream {stream}: are repetitions that are spaced retained better than massed ones?",
        fixed={**study.fixed, **REPEATED[stream], "stream.repetitions": 5},
    )


def _levels(stream: str) -> Study:
    static: Overrides = PLAIN | {"rule.name": "none", "model.layers": 4}
    study = _study(stream, product([static], over("optimizer.periods", LEVELS.values())))
    return study._replace(
        task="levels",
        about=f"stream {stream}: do blocks that learn at several speeds forget less?",
    )


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

"""Studies of untrained memories, whose claims are decided as those of trained networks.

A seed is an independent draw. It takes seconds per point, within `experiments.reproduce`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from plasticity.configs.algebra import Overrides, over, product


class ProbeStudy(NamedTuple):
    """Measurements that are compared with each other.

    about: the title. probe: a name in `PROBES` of `experiments/sweeps/probes.py`.
    points: the fields of each measurement. fixed: the fields of all. seeds: how many draws.
    """

    about: str
    probe: str
    points: Sequence[Overrides]
    fixed: Mapping[str, Any] = {}
    seeds: int = 10

    @property
    def task(self) -> str:
        """By which --tasks selects it."""
        return self.probe


SUMS, DELTA, DECAYED = {"rule": "hebb"}, {"rule": "delta"}, {"rule": "hebb/keep=.95"}
MOMENTUM = {"rule": "titans/rate=.5/momentum=.5"}
# The error of a clean write has a length of about 1, that of an outlier of about 10.
# Each at the threshold, of .05 to 4, at which its error under outliers is smallest.
HUBER, PRINTED = {"rule": "yaad/threshold=1"}, {"rule": "yaad/threshold=.1/tail=printed"}
OVERLOAD = (32, 64, 128)  # items in 32 dimensions
WINNERS, CODE_SIZES = (1, 2, 4), (64, 256)


def _items(about: str, points: Sequence[Overrides], **fixed: Any) -> ProbeStudy:
    """Items that are written and asked for; 32 draws a seed, 32 dimensions unless said."""
    varied = {field for point in points for field in point}
    common = {"dim": 32, "draws": 32} | fixed
    return ProbeStudy(
        about, "interference", points, {f: v for f, v in common.items() if f not in varied}
    )


def probes() -> dict[str, ProbeStudy]:
    """All studies."""
    codes: list[Overrides] = [{"keys": "random"}, {"keys": "positive"}]
    codes += product(over("keys", ["sparse"]), over("winners", WINNERS))
    sizes = [{"dim": dim, "items": 4 * dim} for dim in CODE_SIZES]
    robust = [rule | {"outliers": 0.1} for rule in (DELTA, MOMENTUM, HUBER, PRINTED)]
    loads = product([SUMS, DELTA], over("items", OVERLOAD))
    return {
        "probe_width": _items(
            "sums, by the width of keys", over("dim", [32, 64]), items=32, **SUMS
        ),
        "probe_overload": _items("more items than dimensions", loads),
        "probe_rewriting": _items(
            "keys are written twice, the last value counts", [SUMS, DELTA], items=16, rewritten=True
        ),
        "probe_codes": _items(
            "sums of sparse, dense and positive keys", product(sizes, codes), draws=8, **SUMS
        ),
        "probe_outliers": _items("one value of ten is ten times as long", robust, items=20),
        "probe_recency": _items("old and new items", [SUMS, DECAYED, DELTA], items=48),
        "probe_conditioning": ProbeStudy(
            "classical conditioning, at drawn rates and saliences", "conditioning", [SUMS, DELTA]
        ),
    }


def shifts() -> dict[str, ProbeStudy]:
    """A homeostatic learning rate of the outer loop where labels swap; no memory is in it."""
    fixed = {"samples": 2000, "rate": 0.02, "step": 0.002}
    about = "homeostatic and fixed learning rates, by how often labels swap"
    return {"concept_shift": ProbeStudy(about, "concept_shift", over("swaps", [0, 4, 19]), fixed)}


# {preset of `experiments.reproduce`: its studies}
PROBES: dict[str, Callable[[], dict[str, ProbeStudy]]] = {"memories": probes, "streams": shifts}

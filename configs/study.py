"""What a study is, and the points that several of them share."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plasticity.configs.algebra import Overrides, over, product

# The paper's own rules; `configs.sweeps.rules` has every rule of the library.
PAPER_RULES = over("rule.name", ["none", "hebbian", "gradient"])
PLASTIC = over("rule.name", ["hebbian", "gradient"])
CLOSED = {"model.attention_window": -1}
IMAGES = {"cifar_fs": "cifar_fs", "omniglot": "omniglot"}  # {task: its data set}


class Study(NamedTuple):
    """Runs that are compared with each other.

    task: its task. about: the title of its table. config: FILE[:ARGUMENT].
    points: the overrides of each run. fixed: the overrides of all runs.
    elsewhere: further overrides under which each trained net is evaluated.
    analysed: whether `experiments.analysis` is applied to its plastic nets.
    time_scales: whether the time constants of its nets are measured, of leaky RNNs.
    dataset: the images that it needs. frozen: as features of an encoder.
    """

    task: str
    about: str
    config: str
    points: Sequence[Overrides]
    fixed: Mapping[str, Any] = {}
    elsewhere: Sequence[Overrides] = ()
    analysed: bool = False
    time_scales: bool = False
    dataset: str = ""
    frozen: bool = False


def paper_attention() -> list[Overrides]:
    """Full and closed attention, each with the paper's rules."""
    return product(over("model.attention_window", (0, -1)), PAPER_RULES)

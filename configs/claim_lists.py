"""The claims of each preset of `configs/studies.py`; the preset `paper` tests none."""

from collections.abc import Callable

from plasticity.configs.claims import Claim, paper_claims
from plasticity.configs.decisive_claims import decisive_claims
from plasticity.configs.memory_claims import memory_claims
from plasticity.configs.memory_task_claims import telling_claims
from plasticity.configs.nested_claims import nested_claims
from plasticity.configs.own_claims import own_claims
from plasticity.configs.probe_claims import probe_claims
from plasticity.configs.stream_claims import stream_claims

CLAIMS: dict[str, Callable[[], list[Claim]]] = {
    "full": lambda: [*paper_claims(), *own_claims()],
    "decisive": decisive_claims,
    "nested": nested_claims,
    "memories": lambda: [*memory_claims(), *telling_claims(), *probe_claims()],
    "streams": stream_claims,
}

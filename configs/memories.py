"""Every rule as a memory: `experiments.reproduce --preset=memories`.

What rules that correct an error can do and sums cannot (recall of many pairs), what a rate above 1
is for (state tracking), and which rule bridges the gap of the paper's own copying task and learns
the classes of Omniglot, as a memory layer or, where its equation makes sense there, in the
feed-forward layers. Budgets are those of a CPU, some hours of a core for each part, but for
`modular` and `mqar_published`, which have published sizes and want a GPU.
"""

from collections.abc import Mapping, Sequence

from plasticity.configs.algebra import Overrides, chain, over, product
from plasticity.configs.memory_tasks import MEMORY, telling_apart
from plasticity.configs.study import CLOSED, Study

# Rules that ask for features of their own.
POSITIVE: Overrides = {"site.feature": "elu", "site.key_norm": "none"}
SOFTMAX: Overrides = {"site.feature": "softmax", "site.key_norm": "none"}
BOUNDED: Overrides = {"site.value_norm": "unit"}
DEEP: Overrides = {"rule.memory": "mlp", "rule.hidden": 32}
LINEAR = ("hebb", "delta", "gated_delta", "kda", "comba", "delta_product", "oja_gated", "longhorn")
NONLINEAR = ("rwkv7", "mesa", "titans", "ttt_linear", "ttt_mlp", "moneta", "yaad", "memora", "oja")
# Neighbours of an image are of other classes: with the short convolution nothing is learned.
IMAGES: Overrides = {
    "site.convolution": 0,
    "site.feature": "none",
    "site.value_feature": "none",
    "site.output_gate": "none",
}
THREE = {"train.num_seeds": 3, "train.batch": 16}
SELDOM = {"log.every": 100, "checkpoint.every": 1000}
STATE = MEMORY | SELDOM | {"train.num_seeds": 3}
# Published, for both: width 128, 20,000 steps with batches of 256. Parity needs far less.
STATE_BUDGETS: dict[str, Overrides] = {
    "parity": {"train.steps": 2500, "train.batch": 64, "model.width": 64},
    "modular": {
        "train.steps": 20_000,
        "train.batch": 256,
        "model.width": 128,
        "model.matmul_precision": "float32",
    },
}


def memories() -> dict[str, Study]:
    """All studies, in the order in which they are run."""
    return _state_tracking() | _recall() | _tasks() | telling_apart()


def every_rule() -> Sequence[Overrides]:
    """Each rule as a memory layer, then those that have a meaning in feed-forward layers."""
    named = over("rule.name", [*LINEAR, *NONLINEAR])
    special: list[Overrides] = [
        {"rule.name": "hebb", "rule.normalised": True} | POSITIVE,
        {"rule.name": "srwm"} | SOFTMAX,
        {"rule.name": "titans"} | DEEP,
        {"rule.name": "titans"} | DEEP | BOUNDED,
        {"rule.name": "oja_gated"} | BOUNDED,
    ]
    layers = product(over("rule.name", ["none", "hebbian", "gradient", "delta"]))
    return chain(product([MEMORY], chain(named, special)), layers)


def _state_tracking() -> dict[str, Study]:
    """Grazzi et al. 2024: trained on up to 40 symbols, tested on up to 256."""
    points = product(over("rule.name", ["delta"]), over("site.rate_limit", [1.0, 2.0]))
    return {
        task: Study(
            task,
            f"{task}: rates in (0, 1) and (0, 2), trained on 3 to 40 symbols, tested on 40 to 256",
            task,
            points,
            STATE | budget,
        )
        for task, budget in STATE_BUDGETS.items()
    }


def _recall() -> dict[str, Study]:
    """Arora et al. 2023: accuracy over width, and with their vocabulary of 8,192 tokens."""
    memory = product([MEMORY], over("rule.name", ["hebb", "delta", "gated_delta", "titans"]))
    # Attention has no convolution that puts a key beside its value: it stays on a plateau for long.
    attention: Overrides = {
        "rule.name": "none",
        "model.position": "learned",
        "train.batch": 128,
    }
    return {
        "mqar": Study(
            "mqar",
            "recall of several pairs, by the width of the network",
            "mqar",
            product(
                _sizes({(64, 4): (16, 32, 64), (128, 8): (32, 64), (256, 16): (64,)}),
                [*memory, attention],
            ),
            SELDOM | {"task.vocabulary": 512, "train.batch": 32, "train.steps": 4000},
        ),
        "mqar_published": Study(
            "mqar",
            "recall of several pairs with 8,192 tokens, as published",
            "mqar",
            product(
                _sizes({(128, 8): (64,), (256, 16): (64,)}),
                [*memory, attention | {"train.steps": 8000}],
            ),
            SELDOM | {"train.batch": 128, "train.steps": 4000},
        ),
    }


def _sizes(widths: Mapping[tuple[int, int], Sequence[int]]) -> Sequence[Overrides]:
    """Of {(tokens, pairs): widths}."""
    return [
        {"task.steps": steps, "task.pairs": pairs, "model.width": width}
        for (steps, pairs), all_widths in widths.items()
        for width in all_widths
    ]


def _tasks() -> dict[str, Study]:
    """The paper's copying task, and Omniglot with attention closed."""
    return {
        "rules_copying": Study(
            "copying",
            "every rule: copying over 20 steps, attention windows of six",
            "copying",
            every_rule(),
            THREE,
        ),
        "rules_omniglot": Study(
            "omniglot",
            "every rule: Omniglot 5 shots, frozen features, attention closed",
            "omniglot",
            every_rule(),
            CLOSED | THREE | IMAGES | {"task.shots": 5, "train.steps": 600},
            dataset="omniglot",
            frozen=True,
        ),
    }

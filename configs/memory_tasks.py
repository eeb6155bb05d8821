"""Studies that tell memories apart, of `experiments.reproduce --preset=memories`.

Each has five paired seeds and a budget of minutes on a CPU core. A question that no published task
asks has a task of ours; sizes are such that the memories differ.
"""

from plasticity.configs.algebra import Overrides, over, product
from plasticity.configs.study import CLOSED, Study

MEMORY: Overrides = {"model.mixer": "memory", "model.plastic": "none"}
FIVE: Overrides = {"train.num_seeds": 5, "train.batch": 16}
SEEDS = over("seed", range(5))  # a run for each, so that each earns stages of its own
SELDOM: Overrides = {"log.every": 100, "checkpoint.every": 1000}

# Khajehabdollahi et al. 2023: N grows at 98 %.
GROWS: Overrides = {
    "task.largest": 30,
    "task.outputs_to": 30,
    "curriculum.field": "largest",
    "curriculum.stages": "2..29",
    "curriculum.until": 0.98,
    "curriculum.metrics": "accuracy,largest_accuracy",
    "train.schedule": "constant",
}
FEW: Overrides = {"train.steps": 600}  # of networks with fast weights, which take longer a step
TWELVE: Overrides = {"task.largest": 12, "task.outputs_to": 12}
KEEPS = ["exponential", "one"]
HEADS = {"multi-head": 0, "single-head": 1, "sliding": 3}


def telling_apart() -> dict[str, Study]:
    """All of them, in the order in which they are run."""
    return _time_scales() | _rewriting() | _working_memory() | _languages() | _clamped() | _needle()


def _time_scales() -> dict[str, Study]:
    """Curricula of N-parity, and what networks with fast weights reach in the same steps."""
    fixed = SELDOM | {"train.steps": 2000}
    return {
        "parity_12": Study(
            "n_parity",
            "2- to 12-parity at once, with and without a curriculum",
            "n_parity:leaky_rnn/none",
            product(
                [TWELVE | {"task.heads": heads} for heads in (0, 1)],
                [
                    {},
                    {f: v for f, v in GROWS.items() if f not in TWELVE}
                    | {"curriculum.stages": "2..11"},
                ],
            ),
            fixed | FIVE | {"train.batch": 64, "train.schedule": "constant", "train.steps": 3000},
        ),
        "curricula": Study(
            "n_parity",
            "a leaky RNN, N grows at an accuracy of .98: single-head, multi-head, sliding",
            "n_parity:leaky_rnn/none",
            product(over("task.heads", list(HEADS.values())), SEEDS),
            fixed | GROWS,
            elsewhere=[{"task.largest": 6}],
            time_scales=True,
        ),
        "curricula_rules": Study(
            "n_parity",
            "multi-head, N grows at an accuracy of .98: what each rule reaches in the same steps",
            "n_parity:rnn/none",
            product(over("rule.name", ["none", "hebbian", "gradient"]), SEEDS),
            fixed | GROWS | FEW,
        ),
        "curricula_memory": Study(
            "n_parity",
            "the same of memory layers, rates in (0, 2)",
            "n_parity:delta",
            product(over("rule.name", ["hebb", "delta"]), SEEDS),
            fixed | GROWS | MEMORY | FEW | {"site.rate_limit": 2.0},
        ),
    }


def _rewriting() -> dict[str, Study]:
    """Which rule, at which site, with which parts, on keys that are written again."""
    fixed = FIVE | SELDOM | {"train.steps": 1500}
    # At rates up to 1, and with momentum, a deep memory comes to NaN in some seeds.
    deep: Overrides = {"rule.name": "titans", "rule.hidden": 16}
    deep |= {"site.value_norm": "unit", "site.rate_limit": 0.2}
    whole: Overrides = {"rule.memory": "mlp"}
    ablations: list[Overrides] = [
        whole,
        whole | {"site.keep": "one"},
        {"rule.memory": "linear"},
        whole | {"site.convolution": 0},
        whole | {"site.momentum": "zero"},
    ]
    # Fast weights of a block: 64 x 64 in a memory layer, 64 x 32 and 32 x 64 in the feed-forward.
    memory = MEMORY | {"site.heads": 1}
    # A key and its value are two tokens: attention of one step back joins them, as the convolution
    # of a memory layer does, and holds nothing.
    layers = product([{"model.feed_forward": 32}], [CLOSED, {"model.attention_window": 1}])
    return {
        "rewriting": Study(
            "rewriting",
            "eight keys written four times; the last value counts",
            "rewriting:delta",
            product([MEMORY], over("rule.name", ["hebb", "delta", "gated_delta"])),
            fixed,
        ),
        "titans_parts": Study(
            "rewriting",
            "deep Titans without one of its parts at a time; width 32",
            "rewriting:titans",
            product([MEMORY | deep], ablations),
            fixed | {"model.width": 32, "site.heads": 2, "task.writes": 2, "task.keys": 4},
        ),
        "equal_state": Study(
            "rewriting",
            "4,096 fast weights in each layer: in a memory layer, or in the feed-forward layers",
            "rewriting:delta",
            [
                *product([memory], over("rule.name", ["hebb", "delta"])),
                *product(layers, over("rule.name", ["hebbian", "gradient", "delta"])),
            ],
            fixed,
        ),
    }


def _working_memory() -> dict[str, Study]:
    """Sikarwar and Zhang 2023: set size and serial position, with memories that are too small.

    A net reads lists of one length. If shorter ones were among them, the last numbers of a list,
    which all lists have, would be asked most often, and a small memory would keep those.
    """
    lengths: list[Overrides] = [
        {"task.items": items, "task.fewest": items, "task.test_items": items}
        for items in (3, 6, 12)
    ]
    return {
        "serial_recall": Study(
            "serial_recall",
            "lists of 3, 6 and 12 symbols in small memories, with and without decay",
            "working_memory:serial_recall/hebb",
            product([MEMORY | {"rule.name": "hebb"}], over("site.keep", KEEPS), lengths),
            FIVE
            | SELDOM
            | {"model.width": 16, "site.heads": 4, "task.symbols": 24, "train.steps": 1500},
        )
    }


def _languages() -> dict[str, Study]:
    """Grazzi et al. 2024 and Bhattamishra et al. 2020: counting modulo 2."""
    return {
        "aa_star": Study(
            "aa_star",
            "(aa)*: rates in (0, 1) and (0, 2), trained on up to 50 symbols, tested on up to 100",
            "aa_star:delta",
            over("site.rate_limit", [1.0, 2.0]),
            # Every seed may come to the same difference, of which a sign test needs seven.
            MEMORY | FIVE | SELDOM | {"train.steps": 600, "train.num_seeds": 8},
        )
    }


def _needle() -> dict[str, Study]:
    """Length and depth beyond training, which has 64 tokens."""
    return {
        "needle": Study(
            "needle",
            "pairs among filler, trained on 64 tokens, by length and by depth of the needles",
            "needle:hebb",
            product([MEMORY], over("rule.name", ["hebb", "gated_delta"])),
            FIVE | SELDOM | {"train.steps": 2000, "train.batch": 32, "evaluate.episodes": 256},
            elsewhere=product(
                over("task.test_steps", [64, 256, 512]),
                over("task.depth", ["early", "middle", "late"]),
            ),
        )
    }


def _clamped() -> dict[str, Study]:
    """Networks with attention and fast weights, tested with either clamped."""
    fixed = FIVE | SELDOM | {"model.attention_window": 0, "train.steps": 800}
    clamp = [{"model.attention_window": -1}]
    return {
        f"clamped_{task}": Study(
            task,
            f"{task}: trained with attention and fast weights, tested without either",
            task,
            over("rule.name", ["hebbian", "gradient"]),
            fixed | {"train.learning_rate": 3e-3},
            elsewhere=clamp,
        )
        for task in ("copying", "regression", "cue_reward")
    }

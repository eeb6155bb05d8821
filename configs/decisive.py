"""Studies with the budgets that the paper's claims need: `experiments.reproduce --preset=decisive`.

The preset `full` left eleven of the paper's sixteen claims without support, several for want of
training. Here rate and decay are separate under both rules (`rule.decay_ratio`, see
`configs.base.OURS`), which lets every seed leave its plateau; claims on the lowest loss and on
rates have ten paired seeds instead of five; horizons, depths, Duan's tasks and images from pixels
are trained for longer. Budgets are those of two cores: a point is here if a claim needs it, and
what decides most per hour stands first.
"""

from collections.abc import Mapping
from typing import Any

from plasticity.configs.algebra import Overrides, chain, over, product, zip_
from plasticity.configs.study import CLOSED, IMAGES, PAPER_RULES, PLASTIC, Study, paper_attention

GRADIENT = over("rule.name", ["gradient"])
COUPLED: Overrides = {"rule.decay_ratio": 1.0}  # as published: keep = 1 - eta
SEPARATE: Overrides = {"rule.decay_ratio": 0.05}
# Small batches, since each step trains all seeds.
FIVE, TEN = ({"train.num_seeds": seeds, "train.batch": 16} for seeds in (5, 10))
COPYING = {"train.learning_rate": 3e-3, "train.steps": 1200}
ONE_SHOT = {"task.shots": 1, "train.steps": 1200}
FIVE_SHOTS = {"task.shots": 5, "train.steps": 600}
# With full attention, half of the Hebbian seeds are on a plateau of CIFAR-FS after 600 steps.
ENOUGH = {"omniglot": 600, "cifar_fs": 1200}


def decisive() -> dict[str, Study]:
    """All studies, in the order in which they are run."""
    return _plateaus() | _horizons() | _paired() | _depth() | _coupled() | _duan() | _pixels()


def _plateaus() -> dict[str, Study]:
    """Why the gradient rule stays on plateaus: one factor changed at a time, attention closed."""
    cells = product([ONE_SHOT, FIVE_SHOTS], GRADIENT, over("rule.decay_ratio", [1.0, 0.05]))
    factors = [
        {"rule.max_norm": 0.0},
        {"rule.eta0": 0.2},
        {"rule.internal_scale": 100.0},
        {"train.eta0_warmup": 200},
        {"train.clip": 1.0},
        {"train.learning_rate": 3e-3},
    ]
    each = product([FIVE_SHOTS], GRADIENT, [COUPLED], factors)
    return {
        f"plateau_{task}": Study(
            task,
            "gradient rule, attention closed: which setting lets all seeds leave the plateau?",
            task,
            cells + (each if task == "cifar_fs" else []),
            CLOSED | FIVE,
            dataset=dataset,
            frozen=True,
        )
        for task, dataset in IMAGES.items()
    }


def _horizons() -> dict[str, Study]:
    delays = zip_(
        over("task.delay", [20, 50, 100, 200]), over("train.steps", [1200, 1200, 2400, 2400])
    )
    horizon = Study(
        "copying",
        "attention windows of six steps, delays in training, rate and decay separate",
        "copying",
        product(delays, PAPER_RULES),
        FIVE | SEPARATE | {"train.learning_rate": 3e-3},
    )
    curriculum: Overrides = {"curriculum.field": "delay", "curriculum.stages": "10,20,30"}
    factors: list[Overrides] = [
        SEPARATE,
        COUPLED,
        COUPLED | curriculum,
        COUPLED | {"train.eta0_warmup": 400},
        COUPLED | {"rule.alpha_init": "constant"},
        COUPLED | {"train.schedule": "cosine"},
    ]
    return {
        "horizon": horizon,
        "horizon_factors": Study(
            "copying",
            "a delay of 50: what helps to learn it, one factor at a time",
            "copying",
            product(factors, PLASTIC),
            COPYING | FIVE | {"task.delay": 50, "train.steps": 1000},
        ),
    }


def _paired() -> dict[str, Study]:
    """The claims on the lowest loss, with ten paired seeds."""
    return {
        "copying": Study(
            "copying",
            "attention too short, ten seeds",
            "copying",
            PAPER_RULES,
            COPYING | TEN | SEPARATE,
            analysed=True,
        ),
        "copying_attention": Study(
            "copying",
            "full attention, ten seeds",
            "copying",
            PAPER_RULES,
            COPYING | TEN | SEPARATE | {"model.attention_window": 0, "train.steps": 800},
        ),
        "regression": Study(
            "regression",
            "attention full and closed, ten seeds",
            "regression",
            paper_attention(),
            TEN | SEPARATE | {"train.learning_rate": 3e-3, "train.steps": 1000},
        ),
        **{
            task: Study(
                task,
                "features of a frozen encoder, attention full and closed, ten seeds",
                task,
                product([{"task.shots": 1, "train.steps": ENOUGH[task]}], paper_attention()),
                TEN | SEPARATE,
                dataset=dataset,
                frozen=True,
            )
            for task, dataset in IMAGES.items()
        },
    }


# {task: what each of its depths is trained with}. In copying, 16 layers stay on a plateau with the
# larger rate, so a claim must hold with both. The delay is short, since over 20 steps two layers
# are on a plateau (recall .4) after 400 steps.
DEPTH_TRAINING: dict[str, list[Overrides]] = {
    "copying": [
        {"task.delay": 5, "train.learning_rate": 3e-3, "train.steps": 800},
        {"task.delay": 5, "train.learning_rate": 1e-3, "train.steps": 1600},
    ],
    "regression": [{"train.learning_rate": 3e-3, "train.steps": 400}],
}


def _depth() -> dict[str, Study]:
    clip, free = ({"rule.max_norm": norm} for norm in (1.0, 0.0))
    points = product([clip], PLASTIC, over("model.layers", [2, 16]))
    points += product([free], GRADIENT, [{"model.layers": 16}])
    about = "attention closed, depth, with and without the clip of the write"
    return {
        f"depth_{task}": Study(
            task,
            about,
            task,
            product(training, points),
            CLOSED | FIVE | SEPARATE,
        )
        for task, training in DEPTH_TRAINING.items()
    }


def _duan() -> dict[str, Study]:
    """Recurrent networks of Duan et al. 2023; their tables are not public."""
    fixed: Mapping[str, Any] = {
        "rule.alpha": "per_neuron",
        "train.num_seeds": 4,
        "train.batch": 32,
        "train.steps": 5000,
        "train.warmup": 100,
        "train.learning_rate": 3e-3,
        "train.schedule": "cosine",
    }
    rules = chain(over("rule.name", ["none"]), product(PLASTIC, [SEPARATE]))
    return {
        "duan_mlp": Study(
            "regression",
            "regression of small networks (6-2-1), RNN",
            "duan:mlp/rnn/gradient",
            rules,
            fixed,
        ),
        "duan_copying": Study(
            "copying",
            "sequence reproduction of five numbers, RNN",
            "duan:copying/rnn/gradient",
            product(over("task.delay", [0, 20, 40]), rules),
            fixed,
        ),
    }


def _pixels() -> dict[str, Study]:
    """From pixels, end to end. Several ways first, on one cell; then the best on all."""
    warm = {
        dataset: {"encoder.start_from": f"experiments/results/encoders/{dataset}"}
        for dataset in IMAGES.values()
    }
    fixed = SEPARATE | {"train.schedule": "cosine", "evaluate.batch": 32, "train.batch": 16}
    # A trained encoder that changes at every step loses what it knows while the rest learns to
    # write: so it changes once per ten steps, by the mean of their gradients.
    slow = {"optimizer.periods": "encoder:10"}
    windows = over("model.attention_window", [-1, 0])
    steps = {"omniglot": 400, "cifar_fs": 600}
    return {
        "pixels_ways": Study(
            "omniglot",
            "from pixels: ways to train it",
            "omniglot:hebbian",
            [
                *product([warm["omniglot"] | {"train.steps": 400}], PLASTIC, windows),
                warm["omniglot"] | {"train.steps": 600},
                warm["omniglot"] | {"train.steps": 400} | slow,
                {"train.steps": 3000},
                {"train.steps": 3000, "task.crop": 2, "task.jitter": 0.2},
            ],
            CLOSED | fixed,
            dataset="omniglot",
        ),
        **{
            f"pixels_{task}": Study(
                task,
                "from pixels, end to end, from a trained encoder that changes once per ten steps",
                task,
                product(over("task.shots", [1, 5]), windows, PAPER_RULES),
                fixed | warm[dataset] | slow | {"train.steps": steps[task]},
                dataset=dataset,
            )
            for task, dataset in IMAGES.items()
        },
    }


def _coupled() -> dict[str, Study]:
    """The long horizon as published, keep = 1 - eta, at four times the episodes of `full`."""
    return {
        "horizon_coupled": Study(
            "copying",
            "a delay of 100 as published, keep = 1 - eta, four times the episodes",
            "copying",
            PLASTIC,
            COPYING | FIVE | COUPLED | {"task.delay": 100, "train.steps": 4800},
        )
    }

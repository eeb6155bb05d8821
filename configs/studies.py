"""The studies of `experiments.reproduce`: each a config, its points, and their common settings.

`published` are the paper's tables under its own protocol. `proper` tests the same claims with
learned writes, longer training, paired seeds, and plasticity switched off in the same nets.
`decisive`, in a file of its own, gives those that it left undecided what they need, `memories`
compares rules as memories, `nested` trains Hope and its parts, and `streams` methods against
forgetting.
"""

from collections.abc import Callable
from typing import Any

from plasticity.configs import paper
from plasticity.configs.algebra import over, product
from plasticity.configs.decisive import decisive
from plasticity.configs.memories import memories
from plasticity.configs.nested import nested
from plasticity.configs.stream_studies import streams
from plasticity.configs.study import CLOSED, IMAGES, PAPER_RULES, PLASTIC, Study, paper_attention


def published() -> dict[str, Study]:
    """Five tasks with three rules each, and the two published ablations."""
    tables = {
        task: Study(
            task,
            f"{task}, as published",
            f"paper:{task}/hebbian",
            PAPER_RULES,
            # The paper draws 50 to 100 episodes, others for each rule.
            fixed={"evaluate.episodes": 200, "evaluate.batch": 20} if task in IMAGES else {},
            dataset=IMAGES.get(task, ""),
        )
        for task in paper.TASKS
    }
    no_auxiliary = tables["copying"]._replace(
        about="copying, no auxiliary outputs",
        points=[{"rule.name": "gradient"}],
        fixed={"model.auxiliary": 0},
    )
    no_writes = tables["cifar_fs"]._replace(
        about="cifar_fs, eta0 = 0",
        points=[{"rule.name": "hebbian"}],
        fixed=tables["cifar_fs"].fixed | {"rule.eta0": 0.0},
    )
    return tables | {"copying_no_auxiliary": no_auxiliary, "cifar_fs_no_writes": no_writes}


def proper() -> dict[str, Study]:
    """The paper's claims under a protocol that can decide them."""
    return _copying() | _values() | _images()


def _copying() -> dict[str, Study]:
    file = "copying"
    truncated = product(over("rule.meta_gradient", ["truncated"]), PLASTIC)
    studies = {
        "copying": Study(
            "copying",
            "attention too short: does plasticity bridge a delay, and must it be learned?",
            file,
            PAPER_RULES + truncated,
            analysed=True,
        ),
        "copying_attention": Study(
            "copying",
            "full attention, which learns it sooner",
            file,
            PAPER_RULES,
            {"model.attention_window": 0, "train.steps": 600},
        ),
        "delay": Study(
            "copying",
            "attention windows of six steps, delays in training",
            file,
            product(over("task.delay", [0, 100]), PAPER_RULES),
        ),
        "longer": Study(
            "copying",
            "trained with a delay of 20, tested with others; rotary positions, of no fixed length",
            file,
            PLASTIC,
            {"model.position": "rotary"},
            elsewhere=over("task.delay", [0, 10, 30, 40, 60, 100]),
        ),
    }
    # The config has 800 steps with batches that are four times as large.
    longer = {"train.steps": 1200, "train.learning_rate": 3e-3}
    return {name: s._replace(fixed={**longer, **s.fixed}) for name, s in studies.items()}


def _values() -> dict[str, Study]:
    file = "cue_reward"
    # Attention is closed: with windows, a deep net reaches far back without plasticity.
    clipped = [*PLASTIC, {"rule.name": "gradient", "rule.max_norm": 0.0}]
    closed = {
        "associations": Study(
            "cue_reward",
            "attention closed, number of associations",
            file,
            product(over("task.num_pairs", [4, 16]), PAPER_RULES),
        ),
        "alpha": Study(
            "cue_reward",
            "attention closed, coefficients of plasticity",
            file,
            product(over("rule.alpha", ["per_synapse", "shared"]), PLASTIC),
        ),
        "depth": Study(
            "cue_reward",
            "attention closed, depth, with and without the clip of the write",
            file,
            product(over("model.layers", [2, 4, 8]), clipped),
            {"train.steps": 400},
        ),
    }
    steps = {"train.steps": 1000}
    return {
        "cue_reward": Study(
            "cue_reward", "attention full and closed", file, paper_attention(), steps
        ),
        **{
            name: study._replace(fixed={**CLOSED, **steps, **study.fixed})
            for name, study in closed.items()
        },
        "regression": Study(
            "regression",
            "attention full and closed",
            "regression",
            paper_attention(),
            {"train.steps": 2000},
            analysed=True,
        ),
    }


def _images() -> dict[str, Study]:
    # As many episodes as the tables of the notes, in twice as many steps.
    shots = [{"task.shots": 1, "train.steps": 1200}, {"task.shots": 5, "train.steps": 600}]
    points = product(shots, paper_attention())
    return {
        task: Study(
            task,
            "features of a frozen encoder, attention full and closed",
            task,
            points,
            dataset=dataset,
            frozen=True,
        )
        for task, dataset in IMAGES.items()
    }


PRESETS: dict[str, Callable[[], dict[str, Study]]] = {
    "paper": published,
    "full": proper,
    "decisive": decisive,
    "memories": memories,
    "nested": nested,
    "streams": streams,
}
# What each campaign is to tell: the first line of its report.
QUESTIONS = {
    "paper": "Do the paper's tables come out again, under its own protocol?",
    "full": "Which of the paper's claims hold when the writes are learned, seeds are paired, and "
    "plasticity is switched off in the same networks?",
    "decisive": "Which of the claims that five seeds left undecided hold, with the seeds and the "
    "training that they need?",
    "memories": "What does each memory hold, how does it learn to, and what disturbs it?",
    "nested": "Does a net that learns at several speeds track states that others do not?",
    "streams": "What keeps a network from forgetting the earlier tasks of a stream, and do fast "
    "weights help?",
}
TINY = {
    "train.num_seeds": 2,
    "train.steps": 3,
    "train.warmup": 1,
    "train.batch": 2,
    "evaluate.episodes": 8,
    "evaluate.batch": 4,
}
# {budget: {preset: overrides of every run}}
BUDGETS: dict[str, dict[str, dict[str, Any]]] = {
    # Small batches, since each step trains five seeds: about four hours on two CPU cores.
    "standard": {
        "paper": {"train.num_seeds": 3},
        # Rate and decay are one, as published: results/full was trained so.
        "full": {
            "train.num_seeds": 5,
            "train.batch": 16,
            "evaluate.every": 0,
            "rule.decay_ratio": 1.0,
        },
        # More than ten hours of one core; every study states its seeds.
        "decisive": {"evaluate.every": 0},
        "memories": {"evaluate.every": 0},
        "nested": {"evaluate.every": 0},
        "streams": {},
    },
    "smoke": dict.fromkeys(("paper", "full", "decisive", "memories", "nested"), TINY)
    # Updates that five repetitions divide, and two test episodes, of each of 20 tasks.
    | {"streams": TINY | {"train.steps": 100, "evaluate.episodes": 40}},
}

"""The published protocol, errors included.

Paper: Chaudhary 2025 (arXiv 2510.21908) and its code.

  python -m experiments.launch --config=paper:TASK/RULE --workdir=DIR
  python -m experiments.reproduce --preset=paper --workdir=DIR   all tables of the paper

TASK is a config of this folder, RULE none, hebbian or gradient. No gradient passes through the
writes (`truncated`); training takes one episode per step, for 100 to 750 steps; all queries follow
in one stream, in the order of the support; CIFAR-FS is tested on its training classes. Metrics with
the prefix `paper_` are computed as in the published code, on the same test episodes for all rules.
Expected results: experiments/results/paper. Departures: docs/science/departures.md.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from plasticity.configs import cifar_fs, copying, cue_reward, omniglot, regression
from plasticity.configs.fields import set_fields
from plasticity.registry import lookup

ALL = {
    "rule.meta_gradient": "truncated",
    "rule.eta0": 0.2,
    "rule.decay_ratio": 1.0,
    "rule.alpha": "per_synapse",
    "rule.alpha_init": "constant",
    "rule.alpha_scale": 0.02,
    "model.width": 128,
    "model.feed_forward": 256,
    "model.dropout": 0.1,
    "model.attention_window": 0,
    "model.position": "none",
    "train.batch": 1,
    "train.learning_rate": 1e-3,
    "train.schedule": "constant",
    "train.warmup": 0,
    "evaluate.every": 0,
}
IMAGES = {
    "model.width": 256,
    "model.feed_forward": 512,
    "train.weight_decay": 5e-4,
    "task.queries": 15,
    "task.order": "stream",
    "task.shuffle": False,
    "task.flip": False,
    "task.crop": 0,
    "task.jitter": 0.0,
}
# {task: (its config, published settings)}; steps: training episodes of an epoch x epochs
TASKS: dict[str, tuple[Any, Mapping[str, Any]]] = {
    "copying": (copying, {"train.steps": 50 * 2, "task.loss_steps": "all"}),
    "cue_reward": (
        cue_reward,
        {"train.steps": 100 * 4, "task.loss_steps": "all", "task.shuffle": False},
    ),
    "regression": (regression, {"train.steps": 150 * 5, "task.loss_steps": "all"}),
    "cifar_fs": (cifar_fs, IMAGES | {"train.steps": 80 * 5, "task.split": "same_classes"}),
    # The paper reports 1 shot; its code runs 5 shots.
    "omniglot": (
        omniglot,
        IMAGES | {"train.steps": 100 * 5, "task.split": "alphabets", "task.shots": 5},
    ),
}


def get_config(which: str = "copying/hebbian") -> config_dict.ConfigDict:
    """The published config: --config=paper:TASK/RULE."""
    task, _, rule = which.partition("/")
    module, published = lookup(TASKS, task, "TASK of --config=paper:TASK/RULE")
    config = module.get_config(rule or "hebbian")
    set_fields(config, ALL | dict(published))
    return config

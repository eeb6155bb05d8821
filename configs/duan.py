"""Plastic recurrent networks and their tasks.

Paper: Duan et al. 2023 (arXiv 2302.03235).

  python -m experiments.launch --config=duan:TASK/CELL/RULE --workdir=DIR
  python -m experiments.launch --config=duan:copying/rnn/gradient --workdir=runs/duan

TASK is copying (numbers), cue_reward, linear or mlp (regression); CELL rnn or lstm; RULE none,
hebbian or gradient. Lengths and delays are fields of `task`. Expected results and times:
docs/results/recurrent.md. Departures: AdamW without the maximum of AMSGrad; the internal loss is
not divided by the number of episodes in a batch.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from plasticity.configs import copying, cue_reward, regression
from plasticity.configs.algebra import Overrides, over, product
from plasticity.configs.fields import set_fields
from plasticity.configs.sweeps import rules
from plasticity.registry import lookup

RULE = {
    "rule.meta_gradient": "full",
    "rule.alpha": "per_synapse",
    "rule.alpha_init": "uniform",
    "rule.alpha_scale": 1.0,
    "rule.eta0": 0.2,  # .1 * 2 sigmoid(g)
    "rule.max_norm": 1.0,
    "rule.decay": "unclipped",
    "rule.decay_ratio": 1.0,
    "rule.norm_biases": True,
    "rule.norm_epsilon": 0.0,
    "rule.post": "activation",
    "rule.projection": "elementwise",
    "train.batch": 64,
    "train.learning_rate": 1e-3,
    "train.warmup": 0,
    "train.schedule": "constant",
    "train.clip": 5.0,
}
_REGRESSION = {
    "task.k_support": 20,
    "task.k_query": 20,
    "task.standardise": True,
    "task.noise": 0.1,
    "train.steps": 10_000,
}
# {task: (its config, settings of the paper)}
TASKS: dict[str, tuple[Any, Mapping[str, Any]]] = {
    "copying": (
        copying,
        {
            "task.content": "reals",
            "task.seq_length": 5,
            "task.delay": 20,
            "task.loss_steps": "recall",
            "train.steps": 10_000,
        },
    ),
    "cue_reward": (
        cue_reward,
        {
            "task.num_pairs": 5,
            "task.cue_dim": 14,
            "task.cues": "vectors",
            "task.cue_noise": 0.1,
            "task.rewards": "signed",
            "task.draws": 10,
            "task.loss_steps": "all",
            "train.steps": 20_000,
        },
    ),
    "linear": (regression, _REGRESSION | {"task.input_dim": 12}),
    "mlp": (
        regression,
        _REGRESSION | {"task.family": "mlp", "task.input_dim": 6, "task.hidden": 2},
    ),
}


def delays() -> list[Overrides]:
    """For --config=duan:copying/CELL/RULE: the paper's delays, with each rule."""
    return product(over("task.delay", (0, 20, 40)), rules())


# Units of a plastic cell; a cell without plasticity has 1.5 times as many.
HIDDEN = {"rnn": 256, "lstm": 128}


def get_config(which: str = "copying/rnn/gradient") -> config_dict.ConfigDict:
    """The paper's config: --config=duan:TASK/CELL/RULE."""
    task, _, network = which.partition("/")
    cell, _, rule = network.partition("/")
    cell, rule = cell or "rnn", rule or "gradient"
    module, special = lookup(TASKS, task, "TASK of --config=duan:TASK/CELL/RULE")
    hidden = lookup(HIDDEN, cell, "CELL of --config=duan:TASK/CELL/RULE")
    config = module.get_config(f"{cell}/{rule}")
    biases = {"rule.plastic_biases": rule == "gradient"}
    set_fields(config, RULE | biases | dict(special))
    config.model.hidden = hidden if rule != "none" else hidden * 3 // 2
    return config

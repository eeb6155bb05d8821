"""Every setting and its default. A task's config starts from these and adds `config.task`.

Values may be overridden from the command line: --config.model.width=64. Types are fixed by the
defaults; `experiments.validate` checks values, before anything is compiled or written.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from plasticity.registry import lookup
from plasticity.rules import RULES


def get_config() -> config_dict.ConfigDict:
    """Defaults: the paper's network and rule, with the full meta-gradient."""
    config = config_dict.ConfigDict()
    config.seed = 0  # of initial weights, episodes and dropout

    config.rule = config_dict.ConfigDict()
    config.rule.name = "hebbian"  # none | hebbian | gradient
    config.rule.meta_gradient = "full"  # full | truncated (the published code: nothing is learned)
    config.rule.alpha = "per_synapse"  # per_synapse | per_neuron (rank one) | shared
    config.rule.alpha_init = "constant"  # constant: alpha_scale | uniform: U(-scale, scale)
    config.rule.alpha_scale = 0.02  # beta, of plastic biases, is drawn likewise
    config.rule.eta0 = 0.2  # largest rate of writing
    config.rule.max_norm = 1.0  # global clip of ||delta||; 0: none
    config.rule.norm_biases = False  # whether biases count in ||delta||
    config.rule.plastic_biases = True
    config.rule.decay = "clipped"  # keep = 1 - eta after the clip | unclipped: before it
    config.rule.post = "linear"  # hebbian: post before the nonlinearity | activation: after it
    config.rule.projection = "trained"  # gradient: P of the internal loss is learned | fixed

    config.memory = config_dict.ConfigDict()
    config.memory.engine = "auto"  # auto: by a cost model | dense | factored | chunked
    config.memory.chunk = -1  # steps per chunk; 0: whole episodes (not chunked); -1: chosen

    config.model = config_dict.ConfigDict()
    config.model.name = "transformer"  # transformer
    config.model.products = "default"  # of matrices: default (the device's) | float32 | bfloat16
    config.model.layers = 2
    config.model.heads = 4
    config.model.width = 128
    config.model.feed_forward = 256
    config.model.auxiliary = 4  # outputs that only the internal loss hears
    config.model.dropout = 0.1
    config.model.attention_window = 0  # 0: full; k: the last k steps and the present one
    config.model.position = "none"  # none | learned | rotary

    config.train = config_dict.ConfigDict()
    config.train.steps = 1000
    config.train.batch = 64  # episodes per step
    config.train.microbatch = 0  # most that a device differentiates at once: memory; 0: its share
    config.train.num_seeds = 1  # seeds from `seed` on, trained side by side in one program
    config.train.learning_rate = 1e-3
    config.train.warmup = 50  # steps of linear warm-up
    config.train.schedule = "constant"  # constant | cosine: to zero at train.steps
    config.train.weight_decay = 1e-4  # of slow weights only
    config.train.clip = 5.0  # global norm of the outer gradient

    config.evaluate = config_dict.ConfigDict()
    config.evaluate.episodes = 1024  # fixed by the seed; also the n of every interval reported
    config.evaluate.batch = 128
    config.evaluate.every = 200  # steps between validations; 0: only at the end

    config.checkpoint = config_dict.ConfigDict()
    config.checkpoint.every = 100  # steps
    config.checkpoint.keep = 2  # newest ones kept

    config.log = config_dict.ConfigDict()
    config.log.every = 20  # steps between lines of metrics.jsonl
    config.log.tensorboard = False  # needs the extra `tensorboard`
    return config


def with_rule(
    config: config_dict.ConfigDict, name: str, tuned: Mapping[str, Mapping[str, Any]]
) -> config_dict.ConfigDict:
    """Selects a rule, with the values of `rule.*` that a task's config found to suit it."""
    lookup(RULES, name, "rule.name")
    config.rule.update(tuned.get(name, {}))
    config.rule.name = name
    return config

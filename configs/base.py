"""Every setting and its default. A task's config starts from these and adds `config.task`.

Values may be overridden from the command line: --config.model.width=64. Types are fixed by the
defaults; `experiments.validate` checks values, before anything is compiled or written.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from plasticity.registry import lookup
from plasticity.rules import RULES


def get_config(model: str = "transformer") -> config_dict.ConfigDict:
    """Defaults: the paper's network and rule, with the full meta-gradient.

    Args:
      model: the backbone, on which the fields of `config.model` depend.
    """
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
    config.rule.norm_epsilon = 1e-8  # added to ||delta||
    config.rule.plastic_biases = True
    config.rule.decay = "clipped"  # keep = 1 - eta after the clip | unclipped: before it
    config.rule.decay_ratio = 1.0  # keep = 1 - ratio * eta
    config.rule.modulated = True  # False: eta0 / 2 in place of eta0 sigmoid(g)
    config.rule.post = "linear"  # hebbian: post before the nonlinearity | activation: after it
    config.rule.projection = "trained"  # gradient: P of the internal loss | fixed | elementwise
    config.rule.internal_scale = 1.0  # gradient: factor of the internal loss

    config.memory = config_dict.ConfigDict()
    config.memory.engine = "auto"  # auto: by a cost model | dense | factored | chunked
    config.memory.chunk = -1  # steps per chunk; 0: whole episodes (not chunked); -1: chosen

    config.model = config_dict.ConfigDict()
    config.model.name = model  # transformer | rnn | lstm | prototypical
    config.model.products = "default"  # of matrices: default (the device's) | float32 | bfloat16
    lookup(MODELS, model, "model.name")(config.model)

    config.encoder = config_dict.ConfigDict()  # of tasks whose inputs are images: Conv-4
    config.encoder.filters = 64
    config.encoder.norm = "group"  # group (8 channels) | instance | layer
    config.encoder.projection = 0  # width of a linear map behind it; 0: none

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


def _transformer(model: config_dict.ConfigDict) -> None:
    model.layers = 2
    model.heads = 4
    model.width = 128
    model.feed_forward = 256
    model.auxiliary = 4  # outputs that only the internal loss hears
    model.dropout = 0.1
    model.attention_window = 0  # 0: full; k: the last k steps and the present one; -1: that alone
    model.position = "none"  # none | learned | rotary
    model.plastic = "feed_forward"  # parts with fast weights: feed_forward, attention, head


def _prototypical(model: config_dict.ConfigDict) -> None:
    model.temperature = 1.0  # divides the distances


def _recurrent(model: config_dict.ConfigDict) -> None:
    model.hidden = 128
    model.auxiliary = 4
    model.plastic = "input,recurrent,head"  # parts with fast weights


MODELS = {
    "transformer": _transformer,
    "rnn": _recurrent,
    "lstm": _recurrent,
    "prototypical": _prototypical,
}


def with_model(config: config_dict.ConfigDict, name: str) -> config_dict.ConfigDict:
    """Puts a backbone in place of the present one, with the defaults of its fields.

    What does not depend on the backbone (products, auxiliary) stays.
    """
    old = config.model
    config.model = get_config(name).model
    for field in ("products", "auxiliary"):
        if field in old and field in config.model:
            config.model[field] = old[field]
    return config


def override(config: config_dict.ConfigDict, values: Mapping[str, Any]) -> config_dict.ConfigDict:
    """Sets fields by their dotted names; `model.name` first, which brings fields of its own."""
    if "model.name" in values:
        with_model(config, values["model.name"])
    config.update_from_flattened_dict(dict(values))
    return config


# Coefficients of both signs, as in Duan et al. 2023: a write may strengthen or weaken. The paper's
# constant 0.02 leaves the gradient rule no choice of sign.
_SIGNED = {"alpha": "per_neuron", "alpha_init": "uniform", "alpha_scale": 1.0}
SIGNED = {"hebbian": _SIGNED, "gradient": _SIGNED}


def with_rule(
    config: config_dict.ConfigDict, name: str, tuned: Mapping[str, Mapping[str, Any]]
) -> config_dict.ConfigDict:
    """Selects a rule, with the values of `rule.*` that a task's config found to suit it."""
    lookup(RULES, name, "rule.name")
    config.rule.update(tuned.get(name, {}))
    config.rule.name = name
    return config

"""Every setting and its default. A task's config starts from these and adds `config.task`.

Values may be overridden from the command line: --config.model.width=64. Types are fixed by the
defaults; `experiments.validate` checks values, before anything is compiled or written.
"""

from collections.abc import Mapping
from types import MappingProxyType
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
    _rule(config.rule)

    config.memory = config_dict.ConfigDict()
    config.memory.engine = "auto"  # auto: by a cost model | dense | factored | chunked
    config.memory.chunk = -1  # steps per chunk; 0: whole episodes (not chunked); -1: chosen

    config.model = config_dict.ConfigDict()
    config.model.name = model  # transformer | rnn | lstm | prototypical
    config.model.matmul_precision = "default"  # default (the device's) | float32 | bfloat16
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

    config.mesh = config_dict.ConfigDict()
    config.mesh.data = 0  # devices that share a batch; -1: all; 0: as many as divide it evenly
    config.mesh.model = 1  # devices that share each wide layer, in each of those shares

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


def _rule(rule: config_dict.ConfigDict) -> None:
    rule.name = "hebbian"  # none | hebbian | gradient
    rule.meta_gradient = "full"  # full | truncated (the published code: nothing is learned)
    rule.alpha = "per_synapse"  # per_synapse | per_neuron (rank one) | shared
    rule.alpha_init = "constant"  # constant: alpha_scale | uniform: U(-scale, scale)
    rule.alpha_scale = 0.02  # beta, of plastic biases, is drawn likewise
    rule.eta0 = 0.2  # largest rate of writing
    rule.max_norm = 1.0  # global clip of ||delta||; 0: none
    rule.norm_biases = False  # whether biases count in ||delta||
    rule.norm_epsilon = 1e-8  # added to ||delta||
    rule.plastic_biases = True
    rule.decay = "clipped"  # keep = 1 - eta after the clip | unclipped: before it
    rule.decay_ratio = 1.0  # keep = 1 - ratio * eta
    rule.modulated = True  # False: eta0 / 2 in place of eta0 sigmoid(g)
    rule.post = "linear"  # hebbian: post before the nonlinearity | activation: after it
    rule.projection = "trained"  # gradient: P of the internal loss | fixed | elementwise
    rule.internal_scale = 1.0  # gradient: factor of the internal loss


def _transformer(model: config_dict.ConfigDict) -> None:
    model.layers = 2
    model.heads = 4
    model.width = 128
    model.feed_forward = 256
    model.auxiliary = 4  # outputs that only the internal loss hears
    model.dropout = 0.1
    model.attention_window = 0  # 0: full; k: each block sees k steps back; -1: none
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


# Coefficients of both signs, as in Duan et al. 2023: a write may strengthen or weaken. The paper's
# constant 0.02 leaves the gradient rule no choice of sign.
SIGNED = {"alpha": "per_neuron", "alpha_init": "uniform", "alpha_scale": 1.0}
# Sizes for synthetic tasks: 67,000 to 69,000 slow weights each.
SMALL = {
    "transformer": {"width": 64, "feed_forward": 128, "dropout": 0.0},
    "rnn": {"hidden": 180},
    "lstm": {"hidden": 91},
}


def start(
    which: str, sizes: Mapping[str, Mapping[str, Any]] = MappingProxyType(SMALL)
) -> config_dict.ConfigDict:
    """The defaults from which a task's config starts, without `config.task`.

    Args:
      which: RULE, or MODEL/RULE: what follows the colon of --config; the model is a Transformer
        unless it is named.
      sizes: {model: fields of `config.model`}.
    """
    model, _, rule = which.rpartition("/")
    config = get_config(model or "transformer")
    config.model.update(sizes.get(config.model.name, {}))
    lookup(RULES, rule, "rule.name")
    config.rule.update(SIGNED)
    config.rule.name = rule
    return config

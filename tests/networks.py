"""Small networks and inputs for tests."""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.memory import ENGINES
from plasticity.model import BACKBONES, EncoderSettings
from plasticity.network import Network, Parameters, init_parameters
from plasticity.rules import RULES
from plasticity.task import TaskShape

INPUTS, OUTPUTS, STEPS = 3, 2, 7
SMALL = {
    "transformer": {"layers": 1, "heads": 2, "width": 8, "feed_forward": 6, "dropout": 0.0},
    "rnn": {"hidden": 5},
    "leaky_rnn": {"hidden": 5},
    "lstm": {"hidden": 4},
}


def make_rule(rule, **settings):
    """A rule with those of the settings that it has."""
    return RULES[rule](**RULES[rule].settings.pick(settings))


def make_network(
    rule="hebbian",
    *,
    engine="dense",
    model=None,
    rule_settings=None,
    meta_gradient="full",
    chunk=3,
    steps=STEPS,
    backbone="transformer",
    shape=None,
) -> Network:
    """A small net (one block, width 8) with strong plasticity: eta0 = 1, large signed alpha."""
    make = BACKBONES[backbone]
    model = make.settings(**(SMALL[backbone] | {"auxiliary": 2} | (model or {})))
    options = {"eta0": 1.0, "alpha_init": "uniform", "alpha_scale": 1.0} | (rule_settings or {})
    made = make_rule(rule, **options)
    return Network(
        make.make(model, EncoderSettings(), shape or TaskShape(INPUTS, OUTPUTS, steps)),
        made,
        ENGINES[engine](chunk, made.form),
        meta_gradient,
    )


def make_params(network: Network, seed=0) -> Parameters:
    """Random parameters, none of them zero, in JAX's default float type."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: init_parameters(network, key), jax.random.key(0))
    dtype = jnp.result_type(float)
    return jax.tree.map(lambda s: jnp.asarray(0.5 * rng.normal(size=s.shape), dtype), shapes)


def make_inputs(steps=STEPS, seed=1):
    """Inputs [T, I]."""
    return jax.random.normal(jax.random.key(seed), (steps, INPUTS), jnp.result_type(float))

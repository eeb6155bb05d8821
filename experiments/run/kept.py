"""The parameters with which a run began, and those that it kept."""

from collections.abc import Iterator

import jax.numpy as jnp
from ml_collections import ConfigDict

from plasticity.experiments.run.evaluate import trained_state
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.warm_start import with_encoder
from plasticity.experiments.run.workdir import Workdir
from plasticity.learner import Hyperparameters, Learner
from plasticity.network import Parameters


def initial_parameters(
    config: ConfigDict, learner: Learner, number: int, hyper: Hyperparameters
) -> Parameters:
    """The parameters with which a seed begins."""
    return with_encoder(config, learner.init(jnp.int32(number), hyper).params)


def kept_parameters(
    config: ConfigDict, workdir: Workdir, learner: Learner, hyper: Hyperparameters
) -> Iterator[tuple[int, int, Parameters]]:
    """(step, seed, parameters) of the untrained network, and of each checkpoint that a run kept."""
    seeds, saved = Seeds(config), workdir.saved_steps()
    for step in sorted({0, *saved}):
        state = trained_state(config, workdir, step) if step in saved else None
        for which, number in enumerate(seeds.numbers):
            yield (
                step,
                number,
                initial_parameters(config, learner, number, hyper)
                if state is None
                else seeds.pick(state, which).params,
            )

"""Training that starts with the encoder of another run: `encoder.start_from`."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.program import Program
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError
from plasticity.learner import Hyperparameters, TrainState
from plasticity.model import EncoderSettings
from plasticity.network import Parameters
from plasticity.types import Array, PyTree


def encoder_of(params: Parameters) -> PyTree:
    """The weights of the encoder: of an `ImageEmbedding`, or of an encoder alone."""
    slow = params.slow["params"]
    return slow.get("see", slow)["encoder"]


def check_start(config: ConfigDict) -> None:
    """Checks `encoder.start_from`.

    Raises:
      ConfigError: the task has no images, or the encoder there is another one.
      WorkdirError: there is no run, or it has no checkpoint.
    """
    start = config.encoder.start_from
    if not start:
        return
    field = f"encoder.start_from={start!r}"
    if build.make_task(config).image is None:
        raise ConfigError(f"{field} must be empty: the inputs of this task are no images")
    workdir = Workdir(start, "encoder.start_from")
    there = workdir.trained_config()
    for one, which in ((config, "of this config"), (there, "there")):
        if one.model.get("net", "conv4") != "conv4":
            raise ConfigError(f"{field}: the net {which}, {one.model.net!r}, has no encoder")
    if there.train.num_seeds > 1:
        raise ConfigError(f"{field} must be the run of one seed, not of {there.train.num_seeds}")
    ours, theirs = (_encoder(one) for one in (config, there))
    if ours != theirs:
        raise ConfigError(f"{field} has the encoder {theirs}, and this config {ours}")
    trained_parameters(there, workdir)


def _encoder(config: ConfigDict) -> str:
    return f"{build.read(config, EncoderSettings)} of images {build.make_task(config).image}"


def initial_state(
    config: ConfigDict, program: Program, seed: Array, hyper: Hyperparameters
) -> TrainState:
    """The initial state, with the encoder of `encoder.start_from` for every seed, if it is set."""
    state = program.init(seed, hyper)
    if not config.encoder.start_from:
        return state
    return program.start(with_encoder(config, state.params), hyper)


def with_encoder(config: ConfigDict, params: Parameters) -> Parameters:
    """Initial parameters, of one seed or of several, with the encoder of `encoder.start_from`."""
    if start := config.encoder.start_from:
        workdir = Workdir(start, "encoder.start_from")
        _, there = trained_parameters(workdir.trained_config(), workdir)
        params = jax.tree.map(lambda weight: weight, params)  # the caller's dicts stay as they are
        encoder = encoder_of(params)
        encoder.update(jax.tree.map(_in_place_of, encoder, encoder_of(there)))
    return params


def _in_place_of(initial: Array, trained: Array) -> Array:
    """`trained`, without an axis of seeds, in the shape and on the devices of `initial`."""
    return jax.device_put(jnp.broadcast_to(trained, initial.shape), initial.sharding)

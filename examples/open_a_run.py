"""Opens a trained run: its network, its parameters, and its fast weights after one test episode.

python examples/open_a_run.py runs/copying
"""

import sys

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.run.checkpoint import CheckpointError
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.workdir import Workdir, WorkdirError
from plasticity.experiments.validate import ConfigError, validate
from plasticity.learner import RandomStream
from plasticity.rules import RULES
from plasticity.unroll import run_episode


def main(folder):
    """Prints the metrics of one episode, on and off, and the norms of its last fast weights."""
    workdir = Workdir(folder)
    config = ConfigDict(workdir.load_config())
    validate(config)
    learner = build.make_learner(config)
    task, hyper = learner.task, build.make_hyperparameters(config, learner.task, RandomStream.TEST)
    network = learner.make_network(hyper)  # rule, memory and backbone: pure functions
    step, params = trained_parameters(config, workdir)
    params = Seeds(config).pick(params, 0)  # of several seeds, the first

    episode = task.sample(jax.random.key(0), hyper.data)
    static = network._replace(rule=RULES["none"]())  # the same network, plasticity off
    traces = {}
    for name, net in (("on", network), ("off", static)):
        run = jax.jit(lambda p, net=net: run_episode(net, p, episode.inputs, None, episode.queries))
        traces[name] = run(params)
        metrics = task.metrics(traces[name].outputs.task, episode)
        values = ", ".join(f"{metric} {float(value):.3g}" for metric, value in metrics.items())
        print(f"step {step}, plasticity {name}: {values}")

    fast = {
        layer: network.memory.weights(base, params.plasticity.synapses[layer])
        for layer, base in traces["on"].state.fast.items()
    }
    for layer, (weight, _) in fast.items():
        print(f"{layer}: fast weights {weight.shape}, norm {jnp.linalg.norm(weight):.3f}")
    return traces, fast


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/open_a_run.py WORKDIR")
    try:
        main(sys.argv[1])
    except (ConfigError, WorkdirError, CheckpointError) as error:
        sys.exit(f"error: {error}")

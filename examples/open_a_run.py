"""Opens a trained run: its network, its parameters, and its fast weights after one test episode.

python examples/open_a_run.py runs/copying
"""

import sys

import jax
import jax.numpy as jnp

import plasticity
from plasticity.rules import RULES
from plasticity.unroll import run_episode


def main(folder):
    """Prints the metrics of one episode, on and off, and the norms of its last fast weights."""
    run = plasticity.open_run(folder)
    print(run)
    network, params = run.network, run.params  # rule, memory and backbone: pure functions
    episode = run.task.sample(jax.random.key(0), run.task.data and run.task.data["test"])
    static = network._replace(rule=RULES["none"]())  # the same network, plasticity off
    traces = {}
    for name, net in (("on", network), ("off", static)):
        unroll = jax.jit(lambda p, n=net: run_episode(n, p, episode.inputs, None, episode.queries))
        traces[name] = unroll(params)
        metrics = run.task.metrics(traces[name].outputs.task, episode)
        values = ", ".join(f"{metric} {float(value):.3g}" for metric, value in metrics.items())
        print(f"plasticity {name}: {values}")

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
    except (ValueError, RuntimeError) as error:  # of the config, the workdir, the checkpoints
        sys.exit(f"error: {error}")

r"""Replays a recorded trace of the published code through our model, and compares everything.

python -m experiments.check_numerics --trace=FILE.npz [--dtype=float32|float64] [--engine=dense] \
    [--tolerance=1e-10]

Per quantity: the largest error, relative to the quantity's largest magnitude, or absolute where the
recorded quantity is all zeros. Exits with 1 if one exceeds the tolerance. Runs on whatever device
JAX finds; matrix products are done in full precision.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli
from experiments.traces.recorded import GoldenTrace, load
from experiments.traces.recurrent import RecurrentTrace
from experiments.traces.transformer import TransformerTrace
from experiments.validate import ConfigError
from plasticity.memory import ENGINES

FORMATS = {"chaudhary2025_*": TransformerTrace, "duan2023_*": RecurrentTrace}
TRACE = flags.DEFINE_string("trace", None, "a .npz file in the format of tests/golden/README.md")
DTYPE = flags.DEFINE_enum("dtype", "float64", ["float32", "float64"], "precision of the replay")
ENGINE = flags.DEFINE_enum("engine", "dense", list(ENGINES), "the memory to replay it with")
CHUNK = flags.DEFINE_integer("chunk", 4, "steps per chunk of the memory", lower_bound=1)
TOLERANCE = flags.DEFINE_float("tolerance", None, "default: 1e-10 in float64, 1e-4 in float32")
DEFAULT_TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def compare(trace: GoldenTrace, dtype: Any, engine: str, chunk: int = 4) -> dict[str, float]:
    """Error of every recorded quantity: {name: relative to its largest magnitude}."""
    network = trace.network(engine, chunk)
    run = jax.jit(jax.value_and_grad(lambda p: trace.replay(network, p), has_aux=True))
    (_, ours), grads = run(trace.parameters(dtype))
    ours |= {f"grad/{name}": gradient for name, gradient in trace.names(grads).items()}
    return {name: error(ours[name], array) for name, array in trace.recorded().items()}


def error(ours: Any, recorded: np.ndarray) -> float:
    """Largest absolute difference over the largest recorded magnitude, or over 1 if that is 0."""
    ours = np.asarray(ours, np.float64)
    if ours.shape != recorded.shape:
        raise ConfigError(f"recorded with shape {recorded.shape}, computed with {ours.shape}")
    scale = np.abs(recorded).max(initial=0.0)
    return float(np.abs(ours - recorded).max(initial=0.0) / (scale or 1.0))


def main() -> int:
    """Prints the table; 1 if an error exceeds the tolerance."""
    cli.require(trace=TRACE.value)
    jax.config.update("jax_enable_x64", DTYPE.value == "float64")
    jax.config.update("jax_default_matmul_precision", "highest")
    tolerance = TOLERANCE.value
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCE[DTYPE.value]
    trace = load(TRACE.value, FORMATS)
    errors = compare(trace, jnp.dtype(DTYPE.value), ENGINE.value, CHUNK.value)
    for name, value in errors.items():
        print(f"{value:9.2e}  {name}{'' if value <= tolerance else '   > tolerance'}")
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    passed = all(value <= tolerance for value in errors.values())
    print(
        f"{'passed' if passed else 'FAILED'}: rule {trace.rule}, engine {ENGINE.value}, "
        f"{DTYPE.value}, {jax.devices()[0].device_kind}: worst {errors[worst]:.2e} ({worst}), "
        f"tolerance {tolerance:.0e}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    cli.run(main)

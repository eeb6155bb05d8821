r"""Replays a recorded trace of the published code through our model, and compares everything.

python -m experiments.check_numerics --trace=FILE.npz [--dtype=float32|float64] [--engine=dense] \
    [--tolerance=1e-10]

Per quantity: the largest error, relative to the quantity's largest magnitude, or absolute where the
recorded quantity is all zeros. Exits with 1 if one exceeds the tolerance, with 2 if the file does
not hold a whole trace. Runs on the device that JAX chooses, with matrix products in full precision.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.traces.associative import AssociativeTrace
from plasticity.experiments.traces.recorded import GoldenTrace, load
from plasticity.experiments.traces.recurrent import RecurrentTrace
from plasticity.experiments.traces.transformer import TransformerTrace
from plasticity.experiments.validate import ConfigError

FORMATS = {"num_heads": TransformerTrace, "cell": RecurrentTrace, "variant": AssociativeTrace}
TRACE = flags.DEFINE_string("trace", None, "a .npz file in the format of tests/golden/README.md")
DTYPE = flags.DEFINE_enum("dtype", "float64", ["float32", "float64"], "precision of the replay")
ENGINE = flags.DEFINE_enum(
    "engine", "dense", list(AssociativeTrace.engines), "the memory to replay it with"
)
CHUNK = flags.DEFINE_integer(
    "chunk", 4, "steps per chunk of the memory, or that are computed at once", lower_bound=1
)
TOLERANCE = flags.DEFINE_float(
    "tolerance", None, "largest error that passes; default: 1e-10 in float64, 1e-4 in float32"
)
DEFAULT_TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def compare(trace: GoldenTrace, dtype: Any, engine: str, chunk: int = 4) -> dict[str, float]:
    """Error of every recorded quantity: {name: relative to its largest magnitude}.

    Raises:
      ConfigError: the engine cannot replay such a trace, or the trace lacks a quantity, has one
        that we do not compute, or shapes that do not fit. Nothing is compiled before.
    """
    recorded = trace.recorded()

    if engine not in trace.engines:
        raise ConfigError(f"--engine={engine} cannot replay this trace: {list(trace.engines)} can")

    @jax.jit  # traced once, for the shapes and for the program
    def run(params: Any) -> dict[str, Any]:
        replay = jax.value_and_grad(lambda p: trace.replay(model, p), has_aux=True)
        (_, ours), grads = replay(params)
        return ours | {f"grad/{name}": grad for name, grad in trace.names(grads).items()}

    try:
        model, params = trace.model(engine, chunk), trace.parameters(dtype)
        shapes = {name: str(ours.shape) for name, ours in jax.eval_shape(run, params).items()}
    except ConfigError:
        raise
    except Exception as cause:  # JAX, Flax and NumPy have one each; only shapes are computed here
        raise ConfigError(f"--trace: its arrays do not fit together: {cause}") from cause
    for name in sorted(shapes.keys() | recorded.keys()):
        is_now = str(recorded[name].shape) if name in recorded else "missing"
        should_be = shapes.get(name, "absent, no quantity of this format")
        if is_now != should_be:
            raise ConfigError(f"--trace: {name} is {is_now}, it should be {should_be}")
    ours = run(params)
    return {name: error(ours[name], array) for name, array in recorded.items()}


def error(ours: Any, recorded: np.ndarray) -> float:
    """Largest absolute difference over the largest recorded magnitude, or over 1 if that is 0."""
    return float(
        np.abs(np.asarray(ours, np.float64) - recorded).max() / (np.abs(recorded).max() or 1.0)
    )


def main() -> int:
    """Prints the table; 1 if an error exceeds the tolerance."""
    cli.require(trace=TRACE.value)
    tolerance = TOLERANCE.value
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCE[DTYPE.value]
    if not 0 < tolerance < np.inf:
        raise ConfigError(f"--tolerance={tolerance} should be a positive, finite number")
    trace = load(TRACE.value, FORMATS)
    jax.config.update("jax_enable_x64", DTYPE.value == "float64")
    jax.config.update("jax_default_matmul_precision", "highest")
    errors = compare(trace, jnp.dtype(DTYPE.value), ENGINE.value, CHUNK.value)
    for name, value in errors.items():
        print(f"{value:9.2e}  {name}{'' if value <= tolerance else '   > tolerance'}")
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    passed = all(value <= tolerance for value in errors.values())
    print(
        f"{'passed' if passed else 'FAILED'}: {trace.what} {trace.name}, engine {ENGINE.value}, "
        f"{DTYPE.value}, {jax.devices()[0].device_kind}: worst {errors[worst]:.2e} ({worst}), "
        f"tolerance {tolerance:.0e}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    cli.run(main)

"""Our model computes the function that other people's code computed."""

import numpy as np
import pytest

from plasticity.memory import ENGINES
from plasticity.rules import RULES
from tests.conftest import GOLDEN

TRACES = sorted(GOLDEN.glob("chaudhary2025_*.npz"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", TRACES, ids=lambda p: p.stem)
def test_every_recorded_quantity_in_float64(path, engine, x64):
    import jax.numpy as jnp

    from experiments.check_numerics import compare
    from experiments.trace_format import GoldenTrace

    trace = GoldenTrace.load(str(path))
    errors = compare(trace, jnp.float64, engine)
    assert max(errors.values()) <= 1e-10, errors
    recorded = {n for n in trace.arrays if n.startswith(("trace/", "fast/", "grad/"))}
    assert errors.keys() == recorded | {"loss_sum"}
    assert sum(name.startswith("grad/") for name in errors) == len(trace.named("param"))


def test_there_are_traces_of_every_rule():
    assert len(TRACES) == 6
    assert {p.stem.split("_")[1] for p in TRACES} == set(RULES)


def test_the_program_in_float32(program):
    path = GOLDEN / "chaudhary2025_gradient_classification.npz"
    code, out, _ = program("check_numerics", f"--trace={path}", "--dtype=float32")
    assert code == 0
    assert "passed: rule gradient, engine dense, float32" in out
    assert "grad/internal_proj.weight" in out


@pytest.mark.parametrize(
    "name", ["trace/eta", "fast/blocks.0.fc2.b", "grad/head.weight", "grad/internal_proj.weight"]
)
def test_a_wrong_quantity_is_found(name, tmp_path, x64):
    """The comparison can fail: one recorded value is changed by one part in ten thousand."""
    import jax.numpy as jnp

    from experiments.check_numerics import compare
    from experiments.trace_format import GoldenTrace

    arrays = dict(np.load(GOLDEN / "chaudhary2025_gradient_regression.npz"))
    changed = arrays[name].copy()
    largest = np.unravel_index(np.abs(changed).argmax(), changed.shape)
    changed[largest] = changed[largest] * (1 + 1e-4) + (0.0 if changed.any() else 1e-4)
    np.savez(tmp_path / "wrong.npz", **(arrays | {name: changed}))
    errors = compare(GoldenTrace.load(str(tmp_path / "wrong.npz")), jnp.float64, "dense")
    assert errors.pop(name) > 0.9e-4
    assert max(errors.values()) <= 1e-10


def test_past_the_tolerance_the_program_exits_with_1(program):
    path = GOLDEN / "chaudhary2025_none_regression.npz"
    code, out, _ = program("check_numerics", f"--trace={path}", "--tolerance=1e-18")
    assert code == 1
    assert "> tolerance" in out
    assert "FAILED" in out


def test_what_is_no_trace_is_refused(program, tmp_path):
    from experiments.trace_format import GoldenTrace
    from experiments.validate import ConfigError

    code, _, err = program("check_numerics", f"--trace={tmp_path / 'none.npz'}")
    assert code == 2
    assert "cannot be read" in err
    assert "Traceback" not in err
    broken = tmp_path / "broken.npz"
    broken.write_bytes(TRACES[0].read_bytes()[:5000])
    with pytest.raises(ConfigError, match="cannot be read"):
        GoldenTrace.load(str(broken))
    with pytest.raises(ConfigError, match="not a trace of the Transformer"):
        GoldenTrace.load(str(GOLDEN / "duan2023_rnn_hebbian.npz"))

"""Our model computes the function that other people's code computed."""

import numpy as np
import pytest

from plasticity.memory import ENGINES
from plasticity.rules import RULES
from tests.conftest import GOLDEN

TRACES = sorted(GOLDEN.glob("*.npz"))
# By default every trace by the definition, and one of either format by each fast engine.
QUICK = ("gradient_regression", "rnn_gradient")
CASES = [
    pytest.param(path, engine, marks=() if always else pytest.mark.slow)
    for path in TRACES
    for engine in ENGINES
    for always in [engine == "dense" or path.stem.endswith(QUICK)]
]


@pytest.mark.parametrize(("path", "engine"), CASES, ids=lambda v: getattr(v, "stem", v))
def test_every_recorded_quantity_in_float64(path, engine, x64):
    import jax.numpy as jnp

    from experiments.check_numerics import FORMATS, compare
    from experiments.traces.recorded import load

    trace = load(str(path), FORMATS)
    errors = compare(trace, jnp.float64, engine)
    assert max(errors.values()) <= 1e-10, errors
    results = ("trace/", "fast/", "grad/", "loss_")
    assert errors.keys() == {name for name in trace.arrays if name.startswith(results)}
    assert sum(name.startswith("grad/") for name in errors) == len(trace.named("param"))


def test_there_are_traces_of_every_rule():
    assert len(TRACES) == 12
    assert {rule for p in TRACES for rule in p.stem.split("_") if rule in RULES} == set(RULES)


def test_the_program_in_float32(program):
    path = GOLDEN / "chaudhary2025_gradient_classification.npz"
    code, out, _ = program("check_numerics", f"--trace={path}", "--dtype=float32")
    assert code == 0
    assert "passed: rule gradient, engine dense, float32" in out
    assert "grad/internal_proj.weight" in out


TRANSFORMER, RNN = "chaudhary2025_gradient_regression.npz", "duan2023_rnn_gradient.npz"


@pytest.mark.parametrize(
    ("file", "names"),
    [
        (TRANSFORMER, ["trace/eta", "fast/blocks.0.fc2.b", "grad/internal_proj.weight"]),
        (RNN, ["trace/state", "grad/out_fc.0.w.lr"]),
    ],
)
def test_wrong_quantities_are_found(file, names, tmp_path, x64):
    """The comparison can fail: one value of each quantity is changed by 1e-4 of itself."""
    import jax.numpy as jnp

    from experiments.check_numerics import FORMATS, compare
    from experiments.traces.recorded import load

    arrays = dict(np.load(GOLDEN / file))
    for name in names:
        changed = arrays[name].copy()
        largest = np.unravel_index(np.abs(changed).argmax(), changed.shape)
        changed[largest] = changed[largest] * (1 + 1e-4) + (0.0 if changed.any() else 1e-4)
        arrays[name] = changed
    np.savez(tmp_path / "wrong.npz", **arrays)
    errors = compare(load(str(tmp_path / "wrong.npz"), FORMATS), jnp.float64, "dense")
    for name in names:
        assert errors.pop(name) > 0.9e-4
    assert max(errors.values()) <= 1e-10


def test_past_the_tolerance_the_program_exits_with_1(program):
    path = GOLDEN / "chaudhary2025_none_regression.npz"
    code, out, _ = program("check_numerics", f"--trace={path}", "--tolerance=1e-18")
    assert code == 1
    assert "> tolerance" in out
    assert "FAILED" in out


def test_what_is_no_trace_is_refused(program, tmp_path):
    from experiments.check_numerics import FORMATS
    from experiments.traces.recorded import load
    from experiments.validate import ConfigError

    code, _, err = program("check_numerics", f"--trace={tmp_path / 'none.npz'}")
    assert code == 2
    assert "cannot be read" in err
    assert "Traceback" not in err
    broken = tmp_path / "broken.npz"
    broken.write_bytes(TRACES[0].read_bytes()[:5000])
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(broken), FORMATS)
    np.savez(tmp_path / "other.npz", input=np.zeros(3), target=np.zeros(3))
    with pytest.raises(ConfigError, match=r"other.npz is of no known format: .*duan2023_.*p_lr"):
        load(str(tmp_path / "other.npz"), FORMATS)

"""Our model computes the function that other people's code computed."""

import numpy as np
import pytest

from plasticity.experiments.traces.memories import MEMORIES
from plasticity.memory import ENGINES
from plasticity.rules import RULES
from tests.conftest import GOLDEN
from tests.experiments.wrong_uses.traces import CASES as WRONG_USES
from tests.experiments.wrong_uses.traces import changed
from tests.sample import sampled

TRACES = sorted(GOLDEN.glob("*.npz"))
# By default two networks by the definition and a memory of each kind by its fast path. The others
# are replayed by the tests marked `thorough`.
NETWORKS = [
    f"{paper}_{network}"
    for paper, networks in {
        "chaudhary2025": ("hebbian_classification",),
        "duan2023": ("rnn_gradient",),
    }.items()
    for network in networks
]


def engines(path):
    """The engines that can replay a trace, and those of them that do by default."""
    if not path.stem.startswith("assoc"):
        return [*ENGINES], ["dense"] * (path.stem in NETWORKS)
    single = path.stem.removeprefix("assoc_") in BY_ANY_ENGINE
    by_default = ["parallel"] * (path.stem.removeprefix("assoc_") in KINDS)
    return ["dense", "parallel", *(["factored", "chunked"] if single else [])], by_default


KINDS = (
    "hebb_normalised",
    "gated_delta",
    "rwkv7",
    "mesa",
    "srwm",
    "titans_linear_online",
    "titans_mlp_frozen",
    "ttt_linear",
    "yaad_linear_huber",
)
# Memories of one layer, linear in the state, whose writes have no form that needs the matrix.
BY_ANY_ENGINE = {
    "hebb",
    "hebb_decay",
    "hebb_channel_decay",
    "hebb_normalised",
    "delta",
    "gated_delta",
    "kda",
    "comba",
    "rwkv7",
    "mesa",
    "oja_gated",
    "oja_classic",
    "longhorn_exact",
    "yaad_linear",
    "yaad_linear_huber",
}
CASES = [
    pytest.param(path, engine, marks=() if always else pytest.mark.thorough)
    for path in TRACES
    for engine in engines(path)[0]
    for always in [engine in engines(path)[1]]
]


@pytest.mark.parametrize(("path", "engine"), CASES, ids=lambda v: getattr(v, "stem", v))
def test_every_recorded_quantity_in_float64(path, engine, x64):
    import jax.numpy as jnp

    from plasticity.experiments.check_numerics import FORMATS, compare
    from plasticity.experiments.traces.recorded import load

    trace = load(str(path), FORMATS)
    errors = compare(trace, jnp.float64, engine)
    assert max(errors.values()) <= 1e-10, errors
    assert errors.keys() == {name for name in trace.arrays if name.startswith(trace.results)}
    assert sum(name.startswith("grad/") for name in errors) == len(trace.weights())


SITES = [path for path in TRACES if path.stem.startswith("assoc")]


@pytest.mark.parametrize(
    "path",
    sampled(SITES, lambda p: p.stem == "assoc_gated_delta", "thorough"),
    ids=lambda path: path.stem,
)
def test_memories_in_float32(path):
    """Answers, states and gradients. The others: docs/results/numerics.md."""
    import jax
    import jax.numpy as jnp

    from plasticity.experiments.check_numerics import FORMATS, compare
    from plasticity.experiments.traces.recorded import load

    with jax.default_matmul_precision("highest"):
        errors = compare(load(str(path), FORMATS), jnp.float32, "parallel")
    assert max(errors.values()) <= 1e-4, errors


def test_there_are_traces_of_every_rule():
    memories = {path.stem.removeprefix("assoc_") for path in SITES}
    assert memories == set(MEMORIES)
    networks = {rule for p in TRACES for rule in p.stem.split("_") if rule in RULES}
    # Held to loops in test_nested.py, and to the gradient rule in test_synthetic.py.
    untraced = {"dgd", "level", "self_modifying", "synthetic"}
    assert networks | {memory.rule for memory in MEMORIES.values()} | untraced == set(RULES)


def test_the_program_in_float32(program):
    path = GOLDEN / "chaudhary2025_none_regression.npz"
    code, out, _ = program("check_numerics", f"--trace={path}", "--dtype=float32")
    assert code == 0
    assert "passed: rule none, engine dense, float32" in out
    assert "grad/head.bias" in out


TRANSFORMER, RNN = "chaudhary2025_gradient_regression.npz", "duan2023_rnn_gradient.npz"
SITE = "assoc_gated_delta.npz"


@pytest.mark.parametrize(
    ("file", "names"),
    sampled(
        [
            (TRANSFORMER, ["trace/eta", "fast/blocks.0.fc2.b", "grad/internal_proj.weight"]),
            (RNN, ["trace/state", "grad/out_fc.0.w.lr"]),
            (SITE, ["output/o", "final/M", "grad/input/beta", "grad/initial/M", "loss"]),
        ],
        lambda case: case[0] == RNN,
        "thorough",
    ),
)
def test_wrong_quantities_are_found(file, names, tmp_path, x64):
    """The comparison can fail: one value of each quantity is changed by 1e-4 of itself."""
    import jax.numpy as jnp

    from plasticity.experiments.check_numerics import FORMATS, compare
    from plasticity.experiments.traces.recorded import load

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


@pytest.mark.thorough
def test_past_the_tolerance_the_program_exits_with_1(program):
    path = GOLDEN / "chaudhary2025_none_regression.npz"
    code, out, _ = program("check_numerics", f"--trace={path}", "--tolerance=1e-18")
    assert code == 1
    assert "> tolerance" in out
    assert "FAILED" in out


@pytest.mark.parametrize("case", WRONG_USES, ids=lambda case: f"{case.says} {case.args}")
def test_what_is_no_trace_is_refused(case, tmp_path):
    """In process; `tests/experiments/test_wrong_uses.py` runs the program."""
    from plasticity.experiments.check_numerics import FORMATS
    from plasticity.experiments.traces.recorded import load
    from plasticity.experiments.validate import ConfigError

    if len(case.args) != 1:
        return  # of flags alone
    if case.setup:
        case.setup(tmp_path)
    path = case.args[0].removeprefix("--trace=").format(tmp=tmp_path)
    with pytest.raises(ConfigError, match=case.says):
        load(path, FORMATS).model("dense", 1)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (TRANSFORMER, lambda a: {"trace/eta": None}, "trace/eta is missing, it should be"),
        (TRANSFORMER, lambda a: {"grad/head.bias": None}, "grad/head.bias is missing"),
        (TRANSFORMER, lambda a: {"param/head.bias": None}, "lacks the array 'head.bias'"),
        (TRANSFORMER, lambda a: {"trace/logits": None}, "lacks the array 'trace/logits'"),
        (
            TRANSFORMER,
            lambda a: {"trace/eta": a["trace/eta"][1:]},
            r"trace/eta is \(8,\), .* \(9,\)",
        ),
        (TRANSFORMER, lambda a: {"trace/more": np.ones(3)}, r"trace/more is \(3,\), .* absent"),
        (TRANSFORMER, lambda a: {"task": np.array("sorting")}, "task='sorting' is unknown"),
        (TRANSFORMER, lambda a: {"num_heads": np.array(3)}, "do not fit together: .*heads=3"),
        (TRANSFORMER, lambda a: {"input": a["input"][:, 1:]}, "do not fit together: .*"),
        (TRANSFORMER, lambda a: {"eta0": np.array(-1.0)}, "rule.eta0=-1.0 must be"),
        pytest.param(
            RNN,
            lambda a: {"grad/out_weight": None},
            "grad/out_weight is missing",
            marks=pytest.mark.thorough,  # as the missing gradients of the others
        ),
        (RNN, lambda a: {"loss_mean": None}, "loss_mean is missing"),
        (RNN, lambda a: {"cell": np.array("GRU")}, "do not fit together: .*gru"),
        (RNN, lambda a: {"param/out_fc.0.w.param": None}, "lacks the weights of head"),
        (RNN, lambda a: {"param/in_fc.0.b.lr": None}, "lacks the array 'in_fc.0.b.lr'"),
        (RNN, lambda a: {"param/rnn.h_fc.w.lr": np.ones((10, 9))}, "do not fit together"),
        (SITE, lambda a: {"output/o": None}, "output/o is missing"),
        (SITE, lambda a: {"grad/input/beta": None}, "grad/input/beta is missing"),
        (SITE, lambda a: {"input/k": None}, "lacks the array 'k'"),
        (SITE, lambda a: {"initial/M": None}, "lacks the array 'initial/M'"),
        (SITE, lambda a: {"setting/scale": None}, "lacks the array 'setting/scale'"),
        (SITE, lambda a: {"input/k": a["input/k"][..., 1:]}, "together: query has shape"),
        (SITE, lambda a: {"initial/M": a["initial/M"][:, 1:]}, "together: state.bias has"),
        (SITE, lambda a: {"cotangent/final/M": np.ones((5, 6))}, "do not fit together"),
        (SITE, lambda a: {"input/theta": a["input/beta"]}, "grad/input/theta is missing"),
    ],
)
def test_a_trace_that_lacks_something_is_refused(file, change, message, tmp_path):
    import jax.numpy as jnp

    from plasticity.experiments import check_numerics
    from plasticity.experiments.traces.recorded import load
    from plasticity.experiments.validate import ConfigError

    changed(GOLDEN / file, change)(tmp_path)

    def check():
        trace = load(str(tmp_path / "t.npz"), check_numerics.FORMATS)
        check_numerics.compare(trace, jnp.float32, "dense")

    with pytest.raises(ConfigError, match=message):
        check()


def test_engines_of_memory_sites_are_not_for_networks():
    import jax.numpy as jnp

    from plasticity.experiments.check_numerics import FORMATS, compare
    from plasticity.experiments.traces.recorded import load
    from plasticity.experiments.validate import ConfigError

    with pytest.raises(
        ConfigError, match=r"--engine=parallel .*\['dense', 'factored', 'chunked'\]"
    ):
        compare(load(str(GOLDEN / RNN), FORMATS), jnp.float32, "parallel")


def test_the_name_of_the_file_does_not_matter(tmp_path, monkeypatch):
    from plasticity.experiments.check_numerics import FORMATS
    from plasticity.experiments.traces.recorded import load
    from plasticity.experiments.traces.recurrent import RecurrentTrace

    changed(GOLDEN / RNN, lambda a: {})(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(load("~/t.npz", FORMATS), RecurrentTrace)

"""Training steps compiled for accelerators that are not there."""

import importlib.util
import json
import os
import types

import jax
import pytest

from plasticity import target
from plasticity.experiments import build, compiled
from plasticity.experiments.costs import compiled_step
from plasticity.experiments.hlo import operations
from plasticity.experiments.lowered import execution_of
from plasticity.experiments.topology import Topology, topology
from plasticity.experiments.validate import ConfigError, validate
from plasticity.memory import ENGINES
from plasticity.rules import RULES
from tests.experiments.test_hlo import TPU
from tests.plasticity.test_learner import small_config

# Rule and engine, at a tiny size: 20 to 50 seconds each. TOPOLOGY_RULES=all takes every rule.
SAMPLE = {
    "hebbian": "factored",
    "gradient": "chunked",
    "delta": "dense",
    "titans": "dense",
    "ttt_mlp": "dense",
}
LARGEST = 64e6  # bytes of temporary memory
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu]'",
)


@pytest.mark.parametrize("name", ["", "v5e", "v5e:2", "v5e:2x2x1", "v4:2x2", "v9:2x2", "v5e:0x2"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match=f"--topology={name} must be one of v4:AxBxC, v5e:AxB, "):
        topology(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x2", "tpu"), ("h100:4", "cuda12")])
def test_without_the_compiler_the_message_says_what_to_install(monkeypatch, name, extra):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"{name} needs .* pip install -e '.\[{extra}\]'"):
        topology(name)


def test_gpus_fill_their_hosts():
    with pytest.raises(ConfigError, match="h100:12 must be at most 8 GPUs, of one host, or a mul"):
        topology("h100:12")


def test_programs_are_made_for_other_devices():
    class Device:
        platform = "cuda"

        def __init__(self, process):
            self.process_index = process

    here = target.devices(), target.processes(), target.platform()
    with target.compiling_for([Device(0), Device(0), Device(1)]):
        assert len(target.devices()) == 3
        assert (target.processes(), target.platform()) == (2, "gpu")
    assert (target.devices(), target.processes(), target.platform()) == here


class Step:
    """A compiled training step, for `compiled.record`."""

    def memory_analysis(self):
        return types.SimpleNamespace(
            argument_size_in_bytes=5e9,
            output_size_in_bytes=4e9,
            alias_size_in_bytes=4e9,
            temp_size_in_bytes=0,
            peak_memory_in_bytes=17e9,
        )

    def as_text(self):
        return TPU


def record_of(monkeypatch, step):
    guess = {"state_bytes": 1e9, "temporary_bytes": 2e9, "products": 197e9, "moved_bytes": 0.0}
    monkeypatch.setattr(compiled, "compiled_step", step)
    monkeypatch.setattr(compiled, "compiled_cost", lambda config: guess)
    config = small_config(mesh={"data": 1})
    return compiled.record(Topology("v5e:2x2", "TPU v5e", jax.devices()[:1]), config)


def test_a_record_holds_what_the_compiler_says(monkeypatch):
    record = record_of(monkeypatch, lambda config: Step())
    assert (record["memory"]["peak"], record["fits"]) == (17e9, False)
    assert record["compiler_seconds"] == 7 * 1000 / 1.5e9
    assert record["estimate"]["seconds"]["products"] == pytest.approx(1e-3)
    shown = compiled.in_words(record)
    for words in ("does not fit", "1 all-gather outside loops", "8 operations", ": 1 ms", "; 3 GB"):
        assert words in shown
    json.dumps(record)


def test_a_step_that_does_not_fit_is_a_message(monkeypatch):
    def full(config):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Used 20G\n of 16G hbm")

    with pytest.raises(ConfigError, match="does not fit on v5e:2x2: RESOURCE_EXHAUSTED: Used 20G"):
        record_of(monkeypatch, full)


def compiled_for(name, config):
    """(the compiled training step, T)."""
    with target.compiling_for(topology(name).devices):
        validate(config)
        steps = build.make_learner(config).task.trained_on.steps
        return compiled_step(config), steps


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*cache")  # which cannot hold programs for other devices
@pytest.mark.parametrize(
    ("rule", "engine"),
    [(rule, engine) for rule in RULES for engine in ENGINES]
    if os.environ.get("TOPOLOGY_RULES") == "all"
    else SAMPLE.items(),
)
def test_every_rule_compiles_for_a_tpu(rule, engine):
    config = small_config(rule, memory={"engine": engine}, mesh={"data": 1})
    learner = build.make_learner(config)
    try:
        learner.make_network(build.make_hyperparameters(config, learner.task))
    except ValueError as error:
        pytest.skip(str(error))  # what this rule writes, this engine cannot hold
    step, _ = compiled_for("v5e:2x2", config)
    assert "f64[" not in step.as_text()
    assert execution_of(step.as_text()).cycles > 0
    assert step.memory_analysis().temp_size_in_bytes < LARGEST


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*cache")
def test_a_batch_over_four_chips_needs_one_message():
    """One sum of gradients a step, and nothing is sent within the episode."""
    config = small_config(memory={"engine": "factored"}, mesh={"data": 4})
    step, steps = compiled_for("v5e:2x2", config)
    text = step.as_text()
    assert (steps,) in {one.loops for one in operations(text)}
    execution = execution_of(text)
    assert (execution.once, execution.in_loops) == ({"all-reduce": 1}, {})
    assert "f64[" not in text
    assert step.memory_analysis().temp_size_in_bytes < LARGEST

"""A config that cannot run is refused before anything is compiled; the message names the field."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict, config_dict

from plasticity.configs import (
    base,
    cifar_fs,
    copying,
    cue_reward,
    duan,
    encoder,
    omniglot,
    paper,
    regression,
)
from plasticity.configs.sweeps import SWEEPS
from plasticity.experiments import build
from plasticity.experiments.run.stored_config import differences, read_config
from plasticity.experiments.sweeps.points import Point
from plasticity.experiments.validate import ConfigError, validate
from plasticity.model import BACKBONES
from plasticity.registry import shown
from plasticity.rules import RULES, feed_forward
from tests import pools
from tests.conftest import ROOT

SYNTHETIC = {"copying": copying, "cue_reward": cue_reward, "regression": regression}
IMAGES = {"omniglot": omniglot, "cifar_fs": cifar_fs}


@pytest.fixture
def images(monkeypatch, tmp_path):
    """Few-shot tasks draw from a few images, whatever data set they name."""
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(tmp_path))
    pools.install(monkeypatch, jnp.asarray(pools.marked_images()))


def put(config, field, value):
    """Sets a field, known or not, to any value; ConfigDict would first make it a float."""
    section, _, name = field.rpartition(".")
    target = config[section] if section else config
    with target.unlocked():
        if name in target:
            del target[name]
        target[name] = value


def refuse(message, **fields):
    config = copying.get_config()
    for field, value in fields.items():
        put(config, field.replace("__", "."), value)
    with pytest.raises(ConfigError, match=message):
        validate(config)


@pytest.mark.parametrize("rule", feed_forward())
def test_the_shipped_configs_are_valid(rule):
    for task, config in SYNTHETIC.items():
        for model in ("", "rnn/", "lstm/"):
            validate(config.get_config(f"{model}{rule}"))
        published = paper.get_config(f"{task}/{rule}")
        validate(published)
        assert published.rule.meta_gradient == "truncated"
        assert (published.train.batch, published.rule.name) == (1, rule)
    for task in duan.TASKS:
        for cell in duan.HIDDEN:
            theirs = duan.get_config(f"{task}/{cell}/{rule}")
            validate(theirs)
            assert (theirs.model.name, theirs.rule.name) == (cell, rule)


def test_a_rule_of_memories_makes_a_memory_layer():
    for rule in RULES.keys() - set(feed_forward()):
        config = copying.get_config(rule)
        validate(config)
        assert (config.model.mixer, config.model.plastic) == ("memory", "none")
        assert build.make_memory(config).rule.site is not None


@pytest.mark.parametrize(
    ("which", "changes", "message"),
    [
        ("rnn/gated_delta", {}, "has a meaning at memory sites only"),
        ("gated_delta", {"model.plastic": "head"}, "has a meaning at memory sites only"),
        ("hebbian", {"model.mixer": "memory"}, "site.rule may name another one"),
        ("hebbian", {"model.mixer": "memory", "site.rule": "delt"}, "site.rule='delt'"),
        ("gated_delta", {"rule.meta_gradient": "truncated"}, "must be 'full' for memory layers"),
        ("gated_delta", {"site.heads": 3, "site.key_width": 0}, "site.heads=3"),
        ("hebb", {"site.rate_limit": 2.5}, "site.rate_limit=2.5"),
    ],
)
def test_memory_layers_that_cannot_be(which, changes, message):
    config = copying.get_config(which)
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=message):
        validate(config)


@pytest.mark.parametrize(
    ("which", "mixer", "site_rule", "static"),
    [
        ("none", "attention", "", True),
        ("none", "attention", "delta", True),
        ("none", "memory", "delta", False),
        ("none", "memory", "", True),
        ("hebbian", "memory", "delta", False),
        ("hebbian", "attention", "", False),
    ],
)
def test_a_network_whose_memory_layers_write_is_not_static(which, mixer, site_rule, static):
    config = copying.get_config(which)
    config.model.mixer, config.site.rule = mixer, site_rule
    assert build.is_static(config) is static


def test_configs_of_recorded_runs_are_as_they_were(images):
    """A field that is renamed, removed or given another default changes what a run resumes."""
    made = {
        "encoders/omniglot": encoder.get_config("omniglot"),
        "encoders/cifar_fs": encoder.get_config("cifar_fs"),
        "few_shot/omniglot_end_to_end": omniglot.get_config("hebbian"),
    }
    made["few_shot/omniglot_end_to_end"].update_from_flattened_dict(
        {
            "train.batch": 16,
            "train.steps": 800,
            "model.attention_window": -1,
        }
    )
    for folder, config in made.items():
        path = ROOT / "experiments/results" / folder / "config.json"
        # Each section `rule` was recorded when it had the settings of all rules.
        assert {"post", "projection"} <= json.loads(path.read_text())["rule"].keys()
        assert differences(read_config(path), config.to_dict()) == []


@pytest.mark.parametrize("module", [*SYNTHETIC.values(), omniglot, encoder])
def test_every_setting_can_be_given_as_a_flag(module):
    """absl reads a flag's type from an attribute: a name that ConfigDict uses is no field."""
    for name, section in module.get_config().items():
        names = [name, *section] if isinstance(section, ConfigDict) else [name]
        assert not [name for name in names if hasattr(ConfigDict, name)]


def test_what_follows_the_colon_is_checked():
    for module, spec, message in (
        (paper, "copyin/hebbian", "TASK of .*'copyin'.*did you mean 'copying'"),
        (duan, "copying/gru", "CELL of .*'gru'.*valid: lstm, rnn"),
        (encoder, "omniglo", "DATASET of .*'omniglo'.*did you mean 'omniglot'"),
        (copying, "hebian", "rule.name='hebian'.*did you mean 'hebbian'"),
        (copying, "rn/hebbian", "model.name='rn'.*did you mean 'rnn'"),
    ):
        with pytest.raises(ValueError, match=message):
            module.get_config(spec)


def test_delays_are_of_duans_copying(tmp_path):
    points = [
        Point("configs/duan.py", "copying/rnn/none", chosen, {}, tmp_path)
        for chosen in duan.delays()
    ]
    configs = [point.config() for point in points]
    for config in configs:
        validate(config)
    found = {(config.model.name, config.task.delay, config.rule.name) for config in configs}
    assert found == {("rnn", delay, rule) for delay in (0, 20, 40) for rule in feed_forward()}


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_name_settings(name):
    """Each point is a change of a config, and no two points are the same."""
    points = SWEEPS[name]()
    assert len({tuple(sorted(point.items())) for point in points}) == len(points) > 1
    for point in points:
        assert point.keys() & {"rule.name", "model.name"}


NAN, INF = float("nan"), float("inf")
BATTERY = [NAN, INF, -INF, -1, 0, -0.0, True, 1.5, None, "", "x", "1", 10**12, [], {}, (), b"x"]
BATTERY += [1e-300, 1e39, 10**5000, np.int64(-3), np.float32(NAN), object()]


def flattened(config):
    """(dotted name, value) of every field."""
    for section, fields in config.items():
        if isinstance(fields, ConfigDict):
            yield from ((f"{section}.{name}", value) for name, value in fields.items())
        else:
            yield section, fields


def admits(default, value):
    """Whether a setting with that default may have a value of that type at all."""
    if isinstance(default, str | bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, float) and isinstance(value, float):
        return value == value and abs(value) != INF and (value == 0 or 1e-38 < abs(value) < 1e38)
    return isinstance(value, int) and abs(value) < 2**31 if isinstance(default, int) else True


def combinations():
    for modules, models in ((SYNTHETIC, ("transformer", "rnn", "lstm")), (IMAGES, BACKBONES)):
        for module in modules.values():
            for model in models:
                rule = "none" if model in ("prototypical", "classifier") else "gradient"
                yield module.get_config(f"{model}/{rule}")


@pytest.mark.thorough
def test_every_value_of_every_field_is_valid_or_refused_by_name(images):
    """1.5 for a size, NaN for a rate, None for a name: one message, which names the field."""
    tried = set()
    for config in combinations():
        validate(config)
        for field, default in flattened(config):
            section = field.partition(".")[0]
            kind = config[section].name if section in base.alternatives() else ""
            if (field, kind) in tried:  # the settings of a section check themselves
                continue
            tried.add((field, kind))
            for value in BATTERY:
                changed = config.copy_and_resolve_references()
                put(changed, field, value)
                try:
                    validate(changed)
                except ConfigError as error:
                    assert field in str(error), f"{field}={shown(value)}: {error}"  # noqa: PT017
                else:
                    assert admits(default, value), f"{field}={shown(value)} is accepted"
    assert len(tried) > 90


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rule__name", "hebian", "rule.name='hebian' is unknown: did you mean 'hebbian'"),
        ("rule__meta_gradient", "ful", "rule.meta_gradient='ful' .*did you mean 'full'"),
        ("rule__alpha", "neuron", "rule.alpha='neuron' .*did you mean 'per_neuron'"),
        ("memory__engine", "dens", "memory.engine='dens' .*did you mean 'dense'"),
        ("task__name", "copyng", "task.name='copyng' .*did you mean 'copying'"),
        ("model__name", "transfomer", "model.name=.*did you mean 'transformer'"),
        ("train__schedule", "cos", "train.schedule='cos' .*did you mean 'cosine'"),
        ("model__widht", 3, "model.widht is not a setting: did you mean 'width'"),
        ("task__dely", 3, "task.dely is not a setting: did you mean 'delay'"),
        ("extra", 3, "extra is not a setting"),
        ("model__width", 66, "model.heads=4 must divide model.width=66"),
        ("model__width", "64", "model.width='64' must be an integer, at least 1: 64"),
        ("model__width", True, "model.width=True must be an integer"),
        ("train__steps", 1e4, r"train.steps=10000.0 must be an integer, .*: 10000$"),
        ("train__batch", np.int64(8), "train.batch=.*8.* must be a number of Python"),
        ("task__delay", -3, "task.delay=-3 must be at least 0$"),
        ("task__delay", 2.5, "task.delay=2.5 must be an integer, at least 0$"),
        ("task__delay", 10**9, "task.delay=1000000000 must be at most 1048576"),
        ("task__vocabulary", 3, "task.vocabulary=3 must be at least 4"),
        ("train__learning_rate", NAN, "train.learning_rate=nan must be finite and greater than 0"),
        ("train__learning_rate", 1e-300, "train.learning_rate=1e-300 is 0 in float32"),
        ("train__clip", 1e-45, "train.clip=1e-45 is 0 in float32"),
        ("rule__max_norm", 1e39, r"rule.max_norm=1e\+39 is infinite in float32"),
        ("train__warmup", 801, "train.warmup=801 must be at most train.steps=800.*warmup=80"),
        ("model__dropout", 1.0, "model.dropout=1.0 must be at least 0 and less than 1"),
        ("model__plastic", "head,,head", "model.plastic='head,,head': '' is not a part"),
        ("model__plastic", "head,head", "model.plastic='head,head' names a part twice"),
        ("evaluate__episodes", 1, "evaluate.episodes=1 must be at least 2"),
        ("seed", 2**31, "seed=2147483648 must be at most 2147483647"),
        ("model", 3, "model=3 must be a section"),
        ("memory__chunk", 4, "memory.chunk=4 must be -1 for memory.engine='auto'"),
        ("model__name", "rnn", "model.name='rnn', but .* those of 'transformer': .* the colon"),
        ("task__name", "regression", "task.name='regression', but .* those of 'copying': "),
        ("train__batch", config_dict.required_placeholder(int), "required .* without a value"),
    ],
)
def test_what_is_wrong_is_named(field, value, message):
    refuse(message, **{field: value})


def test_the_last_seed_fits():
    refuse("train.num_seeds=3 from seed=2147483646", seed=2**31 - 2, train__num_seeds=3)
    config = copying.get_config()
    config.seed, config.train.num_seeds = 2**31 - 2, 2
    validate(config)


def test_microbatches_are_of_one_size():
    parts = {"mesh__data": 1, "train__batch": 62}
    refuse("train.microbatch=16 must divide the 62 .*: 2 and 31 do", train__microbatch=16, **parts)
    config = copying.get_config()
    for most in (0, 31, 64, 10**9):  # from 62 on: all of it
        config.train.batch, config.mesh.data, config.train.microbatch = 62, 1, most
        validate(config)
    # Another number of devices leaves 32 episodes for each, say, and parts of 16.
    config.train.batch, config.train.microbatch = 32, 24
    validate(config)


def test_no_warm_up_outlasts_the_run():
    refuse(
        "train.eta0_warmup=9 must be at most train.steps=8",
        train__eta0_warmup=9,
        train__steps=8,
        train__warmup=1,
    )


def test_prototypical_nets_are_for_classes():
    config = regression.get_config("prototypical/none")
    config.task.order = "independent"
    with pytest.raises(ConfigError, match="needs a few-shot task"):
        validate(config)


def test_local_losses_are_for_classes():
    config = regression.get_config("classifier/none")
    validate(config)
    config.model.credit = "counter_current"
    with pytest.raises(ConfigError, match="'counter_current' must be 'backprop' for this task"):
        validate(config)
    config.model.net = "conv4"
    with pytest.raises(ConfigError, match=r"model.net='conv4' must be 'feed_forward'"):
        validate(config)
    with pytest.raises(ConfigError, match=r"must be 'none' for model.name='classifier'"):
        validate(regression.get_config("classifier/hebbian"))


def test_a_missing_field_is_named():
    config = copying.get_config()
    del config.train.batch
    with pytest.raises(ConfigError, match=r"train\.batch is missing"):
        validate(config)
    for section in ("task", "model", "rule"):
        config = copying.get_config()
        del config[section]["name"]
        with pytest.raises(ConfigError, match=rf"^{section}\.name is missing"):
            validate(config)
    with pytest.raises(ConfigError, match=r"^task is missing"):
        validate(base.get_config())


def test_every_setting_is_described():
    for config in combinations():
        names = {section: config[section].name for section in base.alternatives()}
        kinds = [kind for kinds in base.sections(names).values() for kind in kinds]
        described = [pair for kind in kinds for pair in kind.describe()]
        assert [field for field, _ in described] == sorted(
            dict(flattened(config)), key=[field for field, _ in described].index
        )
    texts = dict(described)
    assert texts["train.steps"] == "updates of the slow weights (an integer, greater than 0)"


def test_a_task_is_built_once_for_a_launch():
    config = copying.get_config()
    task = build.make_task(config)
    assert build.make_task(ConfigDict(config)) is task
    config.task.delay = 3
    assert build.make_task(config) is not task


def test_a_registered_rule_is_a_valid_choice(monkeypatch):
    """Choices follow the registries: a rule that is added after the import counts too."""
    config = copying.get_config()
    config.rule.name = "mine"
    monkeypatch.setitem(RULES, "mine", RULES["hebbian"])
    validate(config)

"""What cannot be run is refused before anything is compiled, in words that help."""

import pytest
from ml_collections import ConfigDict

from configs import copying, cue_reward, duan, encoder, omniglot, paper, regression
from configs.sweeps import SWEEPS
from experiments.sweeps.points import Point
from experiments.validate import CONDITIONS, ConfigError, validate
from plasticity.rules import RULES


def refuse(message, **fields):
    config = copying.get_config()
    config.unlock()
    for field, value in fields.items():
        section, _, name = field.rpartition("__")
        target = config[section] if section else config
        with target.ignore_type():
            target[name] = value
    with pytest.raises(ConfigError, match=message):
        validate(config)


SYNTHETIC = {"copying": copying, "cue_reward": cue_reward, "regression": regression}


@pytest.mark.parametrize("rule", RULES)
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
    told = {(config.model.name, config.task.delay, config.rule.name) for config in configs}
    assert told == {("rnn", delay, rule) for delay in (0, 20, 40) for rule in RULES}


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_name_settings(name):
    """Each point is a change of a config, and no two points are the same."""
    points = SWEEPS[name]()
    assert len({tuple(sorted(point.items())) for point in points}) == len(points) > 1
    for point in points:
        assert point.keys() & {"rule.name", "model.name"}


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
        ("model__width", "64", "model.width='64' must be of type int"),
        ("model__width", True, "model.width=True must be of type int"),
        ("task__delay", -3, "task.delay=-3 must not be negative"),
        ("train__learning_rate", float("nan"), "train.learning_rate=nan must be greater than 0"),
        ("model__dropout", 1.0, "model.dropout=1.0 must be at least 0 and less than 1"),
        ("evaluate__episodes", 1, "evaluate.episodes=1 must be at least 2"),
        ("model", 3, "model=3 must be a section"),
        ("memory__chunk", 4, "memory.chunk=4 must be -1 for memory.engine='auto'"),
    ],
)
def test_what_is_wrong_is_named(field, value, message):
    refuse(message, **{field: value})


def test_microbatches_are_of_one_size():
    parts = {"mesh__data": 1, "train__batch": 62}
    refuse("train.microbatch=16 must divide the 62 .*: 2 and 31 do", train__microbatch=16, **parts)
    config = copying.get_config()
    for most in (0, 31, 64, 200):  # 64: all of it
        config.train.batch, config.mesh.data, config.train.microbatch = 62, 1, most
        validate(config)


def test_prototypical_nets_are_for_classes():
    config = regression.get_config("prototypical/none")
    config.task.order = "independent"
    with pytest.raises(ConfigError, match="needs a few-shot task"):
        validate(config)


@pytest.mark.parametrize("field", [f for f in CONDITIONS if f != "rule.alpha_scale"])
def test_every_number_has_a_bound(field):
    refuse(field, **{field.replace(".", "__"): -2})


def test_a_missing_field_is_named():
    config = copying.get_config()
    del config.train.batch
    with pytest.raises(ConfigError, match=r"train\.batch is missing"):
        validate(config)


def test_every_number_of_the_defaults_has_a_condition():
    config = copying.get_config()
    for section, fields in config.items():
        if section == "task":
            continue
        for name, value in {"": fields}.items() if section == "seed" else fields.items():
            field = f"{section}.{name}".rstrip(".")
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert field in CONDITIONS, field

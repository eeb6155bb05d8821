"""A setting that was given and has no effect is told, and no other is."""

import pytest

from plasticity.experiments import unread
from plasticity.experiments.configfile import load_config, set_field

MEMORY = {"model.mixer": "memory", "model.plastic": "none"}


@pytest.mark.parametrize(
    ("argument", "given", "said"),
    [
        ("hebbian", {"site.heads": "2"}, "no memory layer (model.mixer='attention')"),
        ("lstm/hebbian", {"site.heads": "2"}, "no memory layer"),
        ("gated_delta", {"site.segment": "4"}, "model.mixer='memory'"),
        ("gated_delta", {"model.mixer": "layer", "site.segment": "4"}, "model.mixer='layer'"),
        ("delta", {"model.mixer": "memory", "site.keep": "one"}, "the rule 'delta' has no keep"),
        ("rwkv7", {"site.rate_limit": "2"}, "the rule 'rwkv7' has no rate"),
        ("oja", {"site.value_norm": "unit"}, "the rule 'oja' reads no value"),
        ("delta", {"model.mixer": "memory", "site.value_norm": "unit"}, None),
        ("delta", MEMORY | {"rule.eta0": "7."}, "there is no plastic layer"),
        ("delta", {"rule.eta0": "7."}, None),
        ("delta", MEMORY | {"rule.meta_gradient": "truncated"}, None),
        ("titans", {"rule.hidden": "7"}, "rule.memory='linear'"),
        ("titans", {"rule.hidden": "7", "rule.memory": "mlp"}, None),
        ("moneta", {"rule.sharpness": "7"}, "rule.smooth=False"),
        ("gated_delta", {"site.rate": "one", "site.rate_limit": "2"}, "site.rate='one'"),
        ("gated_delta", {"site.keep": "one", "site.rate_limit": "2", "site.chunk": "8"}, None),
        ("gated_delta", {"model.mixer": "context", "site.segment": "4"}, None),
        ("hebbian", {"train.steps": "5"}, None),
        ("gated_delta", {"model.attention_window": "3"}, "model.mixer='memory'"),
        ("gated_delta", {"model.position": "rotary"}, "model.position='rotary'"),
        ("gated_delta", {"model.position": "learned"}, None),
        ("gated_delta", {"train.eta0_warmup": "5"}, "'gated_delta' has no eta0"),
        ("hebbian", {"train.eta0_warmup": "5"}, None),
        ("hebbian", {"optimizer.refresh_along": "random"}, "optimizer.refresh is 0"),
        ("hebbian", {"stream.strength": "5."}, "stream.method='plain' does not read it"),
        ("hebbian", {"stream.method": "ewc", "stream.strength": "5."}, None),
        (
            "gated_delta",
            {"model.mixer": "gate", "model.position": "rotary", "model.attention_window": "3"},
            None,
        ),
    ],
)
def test_it_is_told(argument, given, said):
    config = load_config("copying", argument)
    for field, text in given.items():
        set_field(config, field, text)
    notes = list(unread.notes(config, given))
    assert len(notes) == (said is not None)
    assert said is None or (said in notes[0] and notes[0].startswith("note: "))


def test_a_sweep_is_told_of_what_has_no_effect_anywhere():
    of_memory, plain = load_config("copying", "delta"), load_config("copying", "delta")
    for field, text in MEMORY.items():
        set_field(of_memory, field, text)
    everywhere = [(of_memory, {"rule.eta0": rate, "seed": 0}) for rate in (0.1, 0.2)]
    assert len([*unread.notes_of_all(everywhere)]) == 1
    assert not [*unread.notes_of_all([*everywhere, (plain, {"rule.eta0": 0.1})])]

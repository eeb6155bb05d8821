"""A setting that was given and has no effect is told, and no other is."""

import pytest

from plasticity.experiments import unread
from plasticity.experiments.configfile import load_config, set_field


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

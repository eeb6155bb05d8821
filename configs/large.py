"""A wide and deep plastic Transformer, to study scale without training it.

  python -m experiments.scaling --config=large:hebbian --out=FILE

6.4 billion slow weights; expected costs: docs/howto/compile.md. One machine cannot train it.
"""

from ml_collections import config_dict

from plasticity.configs import copying


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=large:RULE."""
    config = copying.get_config(which)
    config.task.delay = 117  # 128 steps
    config.model.width = 4096
    config.model.feed_forward = 16_384
    config.model.heads = 32
    config.model.layers = 32
    config.memory.engine = "factored"
    return config

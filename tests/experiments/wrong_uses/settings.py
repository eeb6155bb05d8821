"""Settings with a wrong type, value or range, or that do not go together."""

import pathlib

from tests.experiments.wrong_uses.case import Case


def launch(config: str, says: str, *overrides: str) -> Case:
    """A launch with overrides of the config, which must be refused before the workdir is made."""
    args = (f"--config={config}", "--workdir={tmp}/run", *(f"--config.{o}" for o in overrides))
    return Case("launch", args, says)


def fractions(tmp: pathlib.Path) -> None:
    """A config file that sets task.delay to a fraction."""
    (tmp / "mine.py").write_text(
        "from configs import copying\n"
        "def get_config():\n"
        "    config = copying.get_config()\n"
        "    with config.ignore_type():\n"
        "        config.task.delay = 2.5\n"
        "    return config\n"
    )


COPYING, REGRESSION = "configs/copying.py", "configs/regression.py"
CASES = [
    launch(COPYING, "train.learning_rate=1e-300 is 0 in float32", "train.learning_rate=1e-300"),
    launch(COPYING, "train.clip=.* is 0 in float32", "train.clip=1e-45"),
    launch(COPYING, r"rule.max_norm=1e\+39 is infinite in float32", "rule.max_norm=1e39"),
    launch(COPYING, "train.learning_rate=inf must be finite", "train.learning_rate=inf"),
    launch(COPYING, "rule.eta0=inf must be finite and at least 0", "rule.eta0=inf"),
    launch(COPYING, "rule.eta0=-0.1 must be at least 0", "rule.eta0=-0.1"),
    launch(REGRESSION, "task.weight_scale=nan must be finite", "task.weight_scale=nan"),
    launch(REGRESSION, "task.bias_scale=-inf must be finite", "task.bias_scale=-inf"),
    launch(REGRESSION, "task.noise=-1.0 must be at least 0", "task.noise=-1"),
    launch(REGRESSION, "task.k_support=0 must be at least 1", "task.k_support=0"),
    launch(REGRESSION, "task.input_dim=3 must be 1", "task.family=sinusoid"),
    launch(COPYING, "task.delay=1000000000 must be at most 1048576", "task.delay=1000000000"),
    launch(COPYING, "task.vocabulary=3 must be at least 4", "task.vocabulary=3"),
    launch(COPYING, "train.warmup=1000 must be at most train.steps=800", "train.warmup=1000"),
    launch(COPYING, "train.warmup=50 must be at most train.steps=5", "train.steps=5"),
    launch(COPYING, "model.name='rnn', but .* behind the colon", "model.name=rnn"),
    launch(COPYING, "task.name='regression', but .* config file", "task.name=regression"),
    launch(COPYING, "'' is not a part", "model.plastic=feed_forward,,head"),
    launch(COPYING, "model.plastic='head,head' names a part twice", "model.plastic=head,head"),
    launch(COPYING, "train.batch=4294967296 must be at most 1048576", "train.batch=4294967296"),
    launch(COPYING, "seed=2147483648 must be at most 2147483647", "seed=2147483648"),
    launch(COPYING, "evaluate.episodes=1 must be at least 2", "evaluate.episodes=1"),
    launch(COPYING, "rule.name='' is unknown: valid: comba, delta", "rule.name="),
    launch(
        COPYING, "rule.projection .* a setting of rule.name='gradient',", "rule.projection=fixed"
    ),
    launch(
        f"{COPYING}:none",
        "rule.eta0 .* of rule.name='hebbian' or 'gradient' or 'delta',",
        "rule.eta0=1",
    ),
    # Whichever comes first, the rule is chosen first.
    launch(COPYING, "rule.eta0 is not a field", "rule.eta0=1", "rule.name=none"),
    launch(
        "configs/cue_reward.py",
        "task.cue_dim=7 must be at least task.num_pairs=8",
        "task.cue_dim=7",
    ),
    launch("configs/omniglot.py", "task.split='bertineto' is unknown", "task.split=bertineto"),
    launch("configs/omniglot.py", "task.jitter=1.0 must be at least 0 and less", "task.jitter=1"),
    launch("configs/omniglot.py", "need more than the 20 images per class", "task.shots=16"),
    launch("configs/encoder.py:omniglt", "DATASET of .* did you mean 'omniglot'"),
    Case(
        "launch",
        ("--config={tmp}/mine.py", "--workdir={tmp}/run"),
        "task.delay=2.5 must be an integer, at least 0",
        setup=fractions,
    ),
]

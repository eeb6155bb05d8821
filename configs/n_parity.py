"""N-parity: of the last 2, 3 and 4 bits of a stream, three answers at its end.

Paper: Khajehabdollahi et al. 2023 (arXiv 2309.12927), with several heads.

  python -m experiments.launch --config=n_parity:lstm/none --workdir=runs/n_parity

Expected: accuracy 1.00 after half a minute on a core.

Chance level of accuracy: 1/2 (with --config.task.biased=True, as published, .589). Optimum: 1.
Longer memories: --config.task.largest=8. A curriculum, in which N grows at an accuracy of .98:

  python -m experiments.launch --config=n_parity:leaky_rnn/none --workdir=runs/n_parity_curriculum \
      --config.task.largest=30 --config.task.outputs_to=30 --config.curriculum.field=largest \
      --config.curriculum.stages=2..29 --config.curriculum.until=.98 \
      --config.curriculum.metrics=accuracy,largest_accuracy

This is the multi-head curriculum; --config.task.heads=1 is the single-head one, 3 a sliding one.
result.json has the largest N that was reached (`curriculum_reached`), metrics.jsonl N by step.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=n_parity:RULE, or :MODEL/RULE."""
    return tracking.start(which, "n_parity")

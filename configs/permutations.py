r"""The word problem of S5, or S3, S4: trained on up to 40 permutations, tested on up to 256.

Papers: Merrill et al. 2024 (arXiv 2404.08819), Grazzi et al. 2024 (arXiv 2411.12537).

  python -m experiments.launch --config=permutations:lstm/none --workdir=runs/permutations \
      --config.task.objects=3

Expected: accuracy 1.00 after one minute on a core. S4 comes to .52 in two minutes (lengths beyond
training are not yet right), and S5 is not learned (.006, at chance level).

Chance level of accuracy: 1/6 for S3, 1/24 for S4 (--config.task.objects=4), 1/120 for S5 (5, the
default). Optimum: 1. With --config.task.moved=2 each permutation swaps at most two objects, which
is what one write of the rule `delta` with --config.site.rate_limit=2 can do.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=permutations:RULE, or :MODEL/RULE."""
    return tracking.start(which, "permutations")

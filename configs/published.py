"""The numbers of the paper (Chaudhary 2025, arXiv 2510.21908, its tables and result files).

{study: {rule: {metric: (mean, deviation)}}}, over three unpaired seeds, deviations with ddof 0.
A metric with the prefix `paper_` is computed as in the paper: see `configs/studies.py:published`.
"""

Cells = dict[str, dict[str, tuple[float, float]]]


def _cells(metric: str, **rules: tuple[float, float]) -> Cells:
    return {rule: {metric: cell} for rule, cell in rules.items()}


def _with(*tables: Cells) -> Cells:
    return {rule: dict(item for t in tables for item in t[rule].items()) for rule in tables[0]}


TABLES: dict[str, Cells] = {
    "copying": _with(
        _cells("loss", none=(0.415, 0.105), hebbian=(0.345, 0.009), gradient=(0.352, 0.021)),
        _cells(
            "paper_recall_accuracy",
            none=(0.721, 0.025),
            hebbian=(0.727, 0.007),
            gradient=(0.745, 0.011),
        ),
    ),
    "cue_reward": _with(
        _cells("loss", none=(0.027, 0.010), hebbian=(0.037, 0.014), gradient=(0.035, 0.008)),
        _cells("query_mse", none=(0.053, 0.020), hebbian=(0.065, 0.036), gradient=(0.064, 0.020)),
    ),
    "regression": _with(
        _cells("loss", none=(1.031, 0.110), hebbian=(0.798, 0.036), gradient=(0.823, 0.019)),
        _cells("query_mse", none=(1.997, 0.266), hebbian=(1.546, 0.064), gradient=(1.589, 0.038)),
    ),
    "cifar_fs": _cells(
        "accuracy", none=(0.289, 0.028), hebbian=(0.319, 0.017), gradient=(0.274, 0.038)
    ),
    "omniglot": _cells(
        "accuracy", none=(0.192, 0.020), hebbian=(0.237, 0.028), gradient=(0.201, 0.012)
    ),
    "copying_no_auxiliary": {
        "gradient": {"loss": (0.362, 0.013), "paper_recall_accuracy": (0.7346, 0.0012)}
    },
    "cifar_fs_no_writes": {"hebbian": {"loss": (1.893, 0.324), "accuracy": (0.296, 0.032)}},
}
# Corrected metrics, shown beside the published ones.
CORRECTED = {"copying": ("recall_accuracy",), "copying_no_auxiliary": ("recall_accuracy",)}
# Mean rate of the writes; its deviation was not published.
ETA_MEAN = {
    "copying": {"none": 0.0, "hebbian": 4.3e-4, "gradient": 0.084},
    "cue_reward": {"none": 0.0, "hebbian": 2e-4, "gradient": 0.093},
    "regression": {"none": 0.0, "hebbian": 3e-4, "gradient": 0.115},
    "cifar_fs": {"none": 0.0, "hebbian": 7e-5, "gradient": 0.116},
    "omniglot": {"none": 0.0, "hebbian": 4e-6, "gradient": 0.061},
}

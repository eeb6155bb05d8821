"""Our claims about memory layers, which the preset `memories` tests."""

from plasticity.configs.claims import TWENTIETH, Claim, Comparison, Side
from plasticity.configs.memories import LINEAR, MEMORY, NONLINEAR


def memory_claims() -> list[Claim]:
    """All of them."""
    return [*_state_tracking(), *_bridges()]


def _state_tracking() -> list[Claim]:
    """Grazzi et al. 2024 (arXiv 2411.12537): negative eigenvalues unlock state tracking."""
    return [
        Claim(
            f"negative eigenvalues/{task}",
            f"The delta rule needs rates above 1 to track a state beyond the lengths that it was "
            f"trained on: {task}",
            "Grazzi et al. 2024",
            [
                Comparison(
                    task,
                    Side({"rule.name": "delta", "site.rate_limit": 2.0}, "accuracy"),
                    Side({"rule.name": "delta", "site.rate_limit": 1.0}, "accuracy"),
                    matters=TWENTIETH,
                )
            ],
        )
        for task in ("parity", "modular")
    ]


def _bridges() -> list[Claim]:
    """The same networks with their memories held as an episode starts."""
    return [
        Claim(
            f"bridges the gap/{rule}",
            f"A memory layer recalls what it read 26 steps before: copying, {rule}",
            "ours",
            [
                Comparison(
                    "rules_copying",
                    Side(where, "recall_accuracy"),
                    Side(where, "recall_accuracy_off"),
                    matters=TWENTIETH,
                )
            ],
        )
        for rule in (*LINEAR, *NONLINEAR)
        if (where := {"rule.name": rule} | PLAIN | MEMORY | OWN.get(rule, {}))
    ]


# Beside the points of a rule with settings of its own.
PLAIN = {"site.feature": "silu", "site.value_norm": "none"}
OWN = {"titans": {"rule.memory": "linear"}}

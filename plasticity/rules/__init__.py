"""Plasticity rules. A rule is one file here and one line in `RULES`: factory(settings) -> Rule."""

from plasticity.rules.delta import delta
from plasticity.rules.gradient import gradient
from plasticity.rules.hebbian import hebbian
from plasticity.rules.none import none
from plasticity.rules.settings import RuleSettings

RULES = {"none": none, "hebbian": hebbian, "gradient": gradient, "delta": delta}

__all__ = ["RULES", "RuleSettings", "delta", "gradient", "hebbian", "none"]
